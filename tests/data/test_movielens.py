"""Tests of `ncf.data.movielens`: where sets are found, and downloads with fake sources."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pooch
import pytest

from ncf.data import movielens
from ncf.data.movielens import ratings_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NCF_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NCF_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", no_network)
    monkeypatch.setattr(pooch, "retrieve", no_network)
    return tmp_path / "home"


def no_network(*args: object, **kwargs: object) -> Any:
    raise ConnectionError("no network in tests")


def serve(monkeypatch: pytest.MonkeyPatch, members: dict[str, str]) -> list[str]:
    """Lets pooch "download" an archive with these members; returns the list of requests."""
    requests: list[str] = []

    def retrieve(url: str, known_hash: str | None, fname: str, path: Path, **_: object) -> str:
        requests.append(f"{url} {known_hash}")
        with zipfile.ZipFile(path / fname, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return requests


def serve_wheel(monkeypatch: pytest.MonkeyPatch, inter: str, item: str) -> list[list[str]]:
    """Lets pip "download" a wheel with these files; returns the list of commands."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("recbole/dataset_example/ml-100k/ml-100k.inter", inter)
            wheel.writestr("recbole/dataset_example/ml-100k/ml-100k.item", item)
            wheel.writestr("recbole/other.py", "")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ml-100k", "ml-100k/u.data"),
        ("ml-100k", "ml-100k/ml-100k.inter"),
        ("ml-1m", "ml-1m/ratings.dat"),
        ("ml-10m", "ml-10M100K/ratings.dat"),
        ("ml-10m", "ml-10m/ratings.dat"),
        ("ml-latest", "ml-latest/ratings.csv"),
    ],
)
def test_a_set_in_the_data_home_is_used_as_it_is(home: Path, name: str, file: str) -> None:
    (home / file).parent.mkdir(parents=True)
    (home / file).write_text("")
    assert ratings_file(name) == home / file


def test_a_set_is_downloaded_and_unpacked_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = serve(
        monkeypatch, {"ml-10M100K/ratings.dat": "1::2", "ml-10M100K/more/README.html": ""}
    )
    assert ratings_file("ml-10m").read_text() == "1::2"
    assert ratings_file("ml-10m") == home / "ml-10M100K" / "ratings.dat"
    assert requests == [
        "https://files.grouplens.org/datasets/movielens/ml-10m.zip "
        "md5:ce571fd55effeba0271552578f2648bd"
    ]
    assert [path.name for path in home.iterdir()] == ["ml-10M100K"]


def test_the_latest_sets_have_no_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = serve(monkeypatch, {"ml-latest/ratings.csv": ""})
    ratings_file("ml-latest")
    assert requests == ["https://files.grouplens.org/datasets/movielens/ml-latest.zip None"]


@pytest.mark.parametrize(
    "member", ["../evil", "/evil", "ml-1m/../../evil", "evil", "ml-1m/..\\..\\evil"]
)
def test_an_archive_must_not_leave_its_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    serve(monkeypatch, {"ml-1m/ratings.dat": "", member: ""})
    with pytest.raises(ValueError, match=r"ml-1m.zip: not the known archive.*outside of ml-1m/"):
        ratings_file("ml-1m")
    assert list(home.iterdir()) == []
    assert not list(home.parent.rglob("evil"))


@pytest.mark.parametrize("how", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_download_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
) -> None:
    def interrupted(archive: zipfile.ZipFile, path: Path) -> None:
        (path / "ml-1m").mkdir()
        (path / "ml-1m" / "ratings.dat").write_text("1::2::3::4\n")
        raise how

    serve(monkeypatch, {"ml-1m/ratings.dat": "1::2::3::4\n1::3::3::4\n"})
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(how):
            ratings_file("ml-1m")
    assert list(home.iterdir()) == []
    assert ratings_file("ml-1m").read_text() == "1::2::3::4\n1::3::3::4\n"


def test_a_wrong_checksum_and_a_torn_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: object, **kwargs: object) -> str:
        raise ValueError("MD5 hash of downloaded file does not match")

    def torn(url: str, known_hash: str, fname: str, path: Path, **_: object) -> str:
        (path / fname).write_bytes(b"PK\3\4")
        return str(path / fname)

    for retrieve in (wrong, torn):
        monkeypatch.setattr(pooch, "retrieve", retrieve)
        with pytest.raises(ValueError, match=r"ml-latest.zip: not the known archive, try again"):
            ratings_file("ml-latest")


def test_without_a_network_the_message_says_what_to_put_where(home: Path) -> None:
    with pytest.raises(ConnectionError) as error:
        ratings_file("ml-20m")
    assert str(error.value) == (
        "https://files.grouplens.org/datasets/movielens/ml-20m.zip cannot be fetched "
        f"(ConnectionError); download it elsewhere and unpack it as {home}/ml-20m"
    )


def test_ml_100k_has_a_second_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = serve_wheel(monkeypatch, "ratings", "titles")
    known = {
        f"ml-100k.{kind}": hashlib.sha256(content).hexdigest()
        for kind, content in (("inter", b"ratings"), ("item", b"titles"))
    }
    monkeypatch.setattr(movielens, "WHEEL_SHA256", known)
    assert ratings_file("ml-100k").read_text() == "ratings"
    assert sorted(path.name for path in (home / "ml-100k").iterdir()) == sorted(known)
    assert commands[0][1:5] == ["-m", "pip", "download", "--no-deps"]
    assert commands[0][-1] == "recbole==1.2.1"
    ratings_file("ml-100k")
    assert len(commands) == 1
    assert [path.name for path in home.iterdir()] == ["ml-100k"]


def test_another_content_of_the_second_source_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_wheel(monkeypatch, "other ratings", "titles")
    with pytest.raises(ValueError, match=r"recbole==1.2.1: ml-100k.inter is not the known one"):
        ratings_file("ml-100k")
    assert list(home.iterdir()) == []


def test_no_source_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: No module pip\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConnectionError) as error:
        ratings_file("ml-100k")
    assert str(error.value) == (
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip cannot be fetched "
        "(ConnectionError) and neither can the package recbole==1.2.1 (ERROR: No module pip); "
        f"download it elsewhere and unpack it as {home}/ml-100k"
    )


def test_a_data_home_that_cannot_be_written(home: Path) -> None:
    home.write_text("a file, so that no folder can be made, even by root")
    with pytest.raises(PermissionError, match=r"cannot be written \(.*\); set NCF_DATA_HOME to a"):
        ratings_file("ml-1m")


def test_a_folder_without_ratings(home: Path) -> None:
    (home / "ml-1m").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"none of .* is there; remove the folder to have"):
        ratings_file("ml-1m")
