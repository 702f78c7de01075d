"""The MovieLens sets by name: where they are kept, and how they are downloaded.

A set is a folder of the data home, as its zip file unpacks: `HOME/ml-1m`. The data home is
`NCF_DATA_HOME`, else the cache folder; the cache folder is `NCF_CACHE_HOME`, else the platform's
for `ncf-search`. Sets are from F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and
Context", ACM TiiS 2015; their README files say how they may be used.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import platformdirs

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
_WHEEL_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}

NAMES = tuple(_MD5)


def cache_folder() -> Path:
    """Returns the folder of what can be made again."""
    own = os.environ.get("NCF_CACHE_HOME")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("ncf-search")


def data_home() -> Path:
    """Returns the folder of the unpacked sets."""
    own = os.environ.get("NCF_DATA_HOME")
    return Path(own).expanduser() if own else cache_folder()


def ratings_file(name: str) -> Path:
    """Returns the file of ratings of a named set, which is downloaded if need be.

    Raises:
        FileNotFoundError: Where the set's folder has no ratings.
        ConnectionError: Where the set must be downloaded, and no source can be reached.
        PermissionError: Where it must be downloaded, and the data home cannot be written.
        ValueError: Where what was downloaded is not what is known.
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
        ConnectionError: Where no source can be reached.
        PermissionError: Where the data home cannot be written.
        ValueError: Where what was fetched is not what is known.
    """
    url = _URL.format(name=name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.")
    except OSError as error:
        raise PermissionError(
            f"{folder.parent}: the data home cannot be written ({error.strerror}); set "
            f"NCF_DATA_HOME to a folder that can, or have {url} unpacked as {folder}"
        ) from error
    with temporary as place:
        try:
            draft = _fetch_archive(name, Path(place))
        except OSError as error:  # requests has its own errors of this kind
            reason = f"{url} cannot be fetched ({error.strerror or type(error).__name__})"
            remedy = f"download it elsewhere and unpack it as {folder}"
            if name != "ml-100k":
                raise ConnectionError(f"{reason}; {remedy}") from error
            _log.info("%s; taking the same ratings from the package %s", reason, _WHEEL)
            try:
                draft = _fetch_wheel(Path(place))
            except OSError as second:
                raise ConnectionError(f"{reason} and {second}; {remedy}") from second
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, and its folder is whole
                raise


def _fetch_archive(name: str, place: Path) -> Path:
    """Downloads and unpacks a set's zip file under `place`, and returns the folder of the set."""
    import pooch  # it and requests take long to import

    url, md5 = _URL.format(name=name), _MD5[name]
    # pooch downloads under a temporary name; a cut-short download never gets the name.
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(5, 60))
    try:
        file = pooch.retrieve(
            url, md5 and f"md5:{md5}", f"{name}.zip", place, downloader=downloader
        )
        with zipfile.ZipFile(file) as archive:
            inside = _UNPACKS_TO.get(name, name)
            for member in archive.namelist():
                parts = PurePosixPath(member).parts
                if parts[:1] != (inside,) or ".." in parts or "\\" in member:
                    raise ValueError(f"{member!r} would be unpacked outside of {inside}/")
            archive.extractall(place)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{url}: not the known archive, try again: {error}") from error
    return place / inside


def _fetch_wheel(place: Path) -> Path:
    """Takes ml-100k out of a package that has it, and returns its folder; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--retries", "1", "--timeout", "10", "--dest", f"{place}", _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(place.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        why = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise ConnectionError(f"neither can the package {_WHEEL} ({why})")
    draft = place / "ml-100k"
    draft.mkdir()
    with zipfile.ZipFile(wheels[0]) as wheel:
        for file, sha256 in _WHEEL_SHA256.items():
            content = wheel.read(f"{_WHEEL_FOLDER}/{file}")
            if hashlib.sha256(content).hexdigest() != sha256:
                url = _URL.format(name="ml-100k")
                raise ValueError(f"{_WHEEL}: {file} is not the known one; unpack {url} instead")
            (draft / file).write_bytes(content)
    return draft
