"""The MovieLens sets by name: where they are kept, and how they are downloaded.

A set is a folder of the data home (see `files`), as its zip file unpacks: `HOME/ml-1m`. The sets
are from F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
2015; their README files say how they may be used.
"""

import hashlib
import logging
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from ncf.data.files import data_home, whole

_log = logging.getLogger(__name__)

_URL = "https://files.grouplens.org/datasets/movielens/{name}.zip"
_MD5 = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-10m": "ce571fd55effeba0271552578f2648bd",
    "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    "ml-32m": "d472be332d4daa821edc399621853b57",
    "ml-latest-small": None,  # these two change from time to time
    "ml-latest": None,
}
_UNPACKS_TO = {"ml-10m": "ml-10M100K"}  # where it is not the name
_RATINGS_FILES = ("u.data", "ratings.dat", "ratings.csv")

# The second source of ml-100k: the same rows and, but for one misspelt title, the same titles.
_WHEEL = "recbole==1.2.1"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
WHEEL_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}

NAMES = tuple(_MD5)


def ratings_file(name: str) -> Path:
    """Returns the file of ratings of a named set, which is downloaded if need be.

    Raises:
        FileNotFoundError: The set's folder has no ratings.
        ConnectionError: The set must be downloaded, and no source can be reached.
        PermissionError: The set must be downloaded, and the data home cannot be written.
        ValueError: What was downloaded is not what is known.
    """
    folder = data_home() / _UNPACKS_TO.get(name, name)
    if not folder.exists() and (data_home() / name).exists():
        folder = data_home() / name
    if not folder.exists():
        _download(name, folder)
    for file in (*_RATINGS_FILES, f"{name}.inter"):
        if (folder / file).is_file():
            return folder / file
    raise FileNotFoundError(
        f"{folder}: none of {', '.join(_RATINGS_FILES)} is there; remove the folder to have "
        f"{name} downloaded again, or put the content of {name}.zip there"
    )


def _download(name: str, folder: Path) -> None:
    """Makes the folder of a named set; whole or not at all.

    Raises:
        ConnectionError: No source can be reached.
        PermissionError: The data home cannot be written.
        ValueError: What was fetched is not what is known.
    """
    url = _URL.format(name=name)
    with whole(folder) as draft:
        try:
            draft.mkdir(parents=True)
        except OSError as error:
            raise PermissionError(
                f"{folder.parent}: the data home cannot be written ({error.strerror}); set "
                f"NCF_DATA_HOME to a folder that can, or have {url} unpacked as {folder}"
            ) from error
        try:
            _fetch_archive(name, draft)
        except OSError as error:  # requests has its own errors of this kind
            reason = f"{url} cannot be fetched ({error.strerror or type(error).__name__})"
            remedy = f"download it elsewhere and unpack it as {folder}"
            if name != "ml-100k":
                raise ConnectionError(f"{reason}; {remedy}") from error
            _log.info("%s; taking the same ratings from the package %s", reason, _WHEEL)
            try:
                _fetch_wheel(draft)
            except OSError as second:
                raise ConnectionError(f"{reason} and {second}; {remedy}") from second


def _fetch_archive(name: str, folder: Path) -> None:
    """Downloads a set's zip file and unpacks it, so that the set's files are in `folder`."""
    import pooch  # it and requests take long to import

    url = _URL.format(name=name)
    md5 = _MD5[name]
    inside = _UNPACKS_TO.get(name, name)
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(5, 60))
    try:
        file = pooch.retrieve(
            url, md5 and f"md5:{md5}", f"{name}.zip", folder, downloader=downloader
        )
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                parts = PurePosixPath(member).parts
                if parts[:1] != (inside,) or ".." in parts or "\\" in member:
                    raise ValueError(f"{member!r} would be unpacked outside of {inside}/")
            archive.extractall(folder)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{url}: not the known archive, try again: {error}") from error
    Path(file).unlink()
    for unpacked in (folder / inside).iterdir():
        unpacked.rename(folder / unpacked.name)
    (folder / inside).rmdir()


def _fetch_wheel(folder: Path) -> None:
    """Takes ml-100k out of a package that has it into `folder`; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--retries", "1", "--timeout", "10", "--dest", f"{folder}", _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        why = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise ConnectionError(f"neither can the package {_WHEEL} ({why})")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for file, sha256 in WHEEL_SHA256.items():
            content = wheel.read(f"{_WHEEL_FOLDER}/{file}")
            if hashlib.sha256(content).hexdigest() != sha256:
                url = _URL.format(name="ml-100k")
                raise ValueError(f"{_WHEEL}: {file} is not the known one; unpack {url} instead")
            (folder / file).write_bytes(content)
    wheels[0].unlink()
