"""Tests of `datasets.py`: names and paths, titles, prepared data, and the real MovieLens sets."""

import os
from pathlib import Path

import numpy as np
import pytest

from ncf.data import cache, datasets, movielens
from ncf.data.cache import sha256_of
from ncf.data.columns import Columns
from ncf.data.datasets import load_interactions
from ncf.data.files import data_home

REAL_HOME = data_home()  # read before the tests move it
ROWS = "7\t30\t4\t1000000100\n3\t10\t2\t1000000300\n7\t10\t5\t1000000200\n"
U_ITEM = "10|Café (1999) |01-Jan-1999||\n30|Brazil (1985)|||\n99|Unseen|||\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NCF_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NCF_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def always_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keeps small files prepared, too; returns the folder of the prepared data."""
    monkeypatch.setattr(cache, "CACHED_FROM_BYTES", 0)
    return tmp_path / "cache" / "prepared"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def titles_of(data: str) -> list[str] | None:
    titles = load_interactions(data).titles
    return None if titles is None else list(titles)


def test_a_known_name_and_its_titles(home: Path) -> None:
    write(home / "ml-100k", {"u.data": ROWS, "u.item": U_ITEM.encode("latin-1")})
    interactions = load_interactions("ml-100k")
    assert interactions.name == "ml-100k"
    assert interactions.items.tolist() == [0, 1, 0]
    assert titles_of("ml-100k") == ["Café (1999)", "Brazil (1985)"]


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ROWS
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "10\tCafé\t1999\tDrama\n30\tBrazil\t1985\tDrama\n99\tunknown\tunknown\tunknown\n"
)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("ratings", "titles"),
    [
        (("ml-100k.inter", INTER), ("ml-100k.item", ITEM)),
        (("u.data", ROWS), ("u.item", U_ITEM)),
        (("ratings.dat", ROWS.replace("\t", "::")),
         ("movies.dat", "10::Café (1999)::A|B\n30::Brazil (1985)::C\n")),
        (("ratings.csv", "userId,movieId,rating,timestamp\n" + ROWS.replace("\t", ",")),
         ("movies.csv", 'movieId,title,genres\n10,Café (1999),A\n30,"Brazil (1985)",B\n')),
    ],
)  # fmt: skip
def test_titles_beside_an_own_file(
    tmp_path: Path, ratings: tuple[str, str], titles: tuple[str, str], newline: str
) -> None:
    (ratings_name, ratings_text), (titles_name, titles_text) = ratings, titles
    folder = write(
        tmp_path / "own",
        {ratings_name: ratings_text, titles_name: titles_text.replace("\n", newline)},
    )
    assert titles_of(str(folder / ratings_name)) == ["Café (1999)", "Brazil (1985)"]
    (folder / titles_name).unlink()
    assert titles_of(str(folder / ratings_name)) is None


def test_own_files(tmp_path: Path) -> None:
    csv = "who,what,stars\na,x,5\nb,x,1\nb,y,4\nc,y,4\n"
    folder = write(tmp_path, {"my.plays.csv": csv, "movies.csv": "id\n1\n", "u.item": U_ITEM})
    columns = Columns(user="who", item="what", rating="stars")
    interactions = load_interactions(str(folder / "my.plays.csv"), columns, min_rating=4)
    assert interactions.name == "my.plays"
    assert interactions.user_ids.tolist() == ["a", "b", "c"]
    assert interactions.item_ids.tolist() == ["x", "y"]
    assert interactions.items.tolist() == [0, 1, 1]
    assert interactions.titles is None


def test_titles_of_another_kind_are_left_out(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "ratings.csv": "user,item\n1,2\n3,4\n",
        "movies.csv": "id\n1\n",
    }
    assert titles_of(str(write(tmp_path, files) / "ratings.csv")) is None


def test_one_user_is_too_few(tmp_path: Path) -> None:
    path = write(tmp_path, {"r.csv": "user,item\n1,2\n1,3\n"}) / "r.csv"
    with pytest.raises(ValueError, match=r"r: at least 2 users and 2 items are needed, got 1 and"):
        load_interactions(str(path))


def test_neither_a_name_nor_a_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"ml-2m: no such file, nor a known data set; .*"):
        load_interactions("ml-2m")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"pipe\.csv: not a file, and it is read more than once"):
        load_interactions(str(tmp_path / "pipe.csv"))


def test_the_second_call_reads_what_is_prepared(
    home: Path, always_prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "ml-100k", {"u.data": ROWS, "u.item": U_ITEM})
    first = load_interactions("ml-100k")
    monkeypatch.setattr(datasets, "_read", None)  # a second reading would fail
    second = load_interactions("ml-100k")
    assert second.columns_read == first.columns_read != ()
    assert isinstance(second.items, np.memmap)
    assert second.fingerprint == first.fingerprint
    assert (second.name, titles_of("ml-100k")) == ("ml-100k", ["Café (1999)", "Brazil (1985)"])


def test_what_is_prepared_is_never_mixed_up(tmp_path: Path, always_prepared: Path) -> None:
    one = write(tmp_path / "one", {"u.data": ROWS, "u.item": U_ITEM}) / "u.data"
    two = write(tmp_path / "two", {"u.data": ROWS, "u.item": "10|Other|\n"}) / "u.data"
    bare = write(tmp_path / "bare", {"u.data": ROWS}) / "u.data"
    named = write(tmp_path / "bare", {"v.data": ROWS}) / "v.data"
    for _ in range(2):
        assert titles_of(str(one)) == ["Café (1999)", "Brazil (1985)"]
        assert titles_of(str(two)) == ["Other", ""]
        assert titles_of(str(bare)) is None
        assert load_interactions(str(named)).name == "v"
    assert len(list(always_prepared.iterdir())) == 4
    one.write_text(ROWS + "3\t30\t5\t1000000400\n")
    assert load_interactions(str(one)).n_interactions == 4
    assert load_interactions(str(one), min_rating=4).n_interactions == 3


def test_torn_prepared_data_are_made_again(home: Path, always_prepared: Path) -> None:
    write(home / "ml-100k", {"u.data": ROWS})
    whole = load_interactions("ml-100k").fingerprint
    (folder,) = always_prepared.iterdir()
    (folder / "items.npy").write_bytes(b"")
    assert load_interactions("ml-100k").fingerprint == whole
    assert (folder / "items.npy").stat().st_size > 0


def test_a_cache_that_cannot_be_written_only_costs_time(home: Path, always_prepared: Path) -> None:
    write(home / "ml-100k", {"u.data": ROWS})
    always_prepared.parent.write_text("a file, so that no folder can be made, even by root")
    assert load_interactions("ml-100k").n_interactions == 3


def real(name: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (REAL_HOME / name / file).is_file():
        pytest.skip(f"needs {name}/{file} in the data home (NCF_DATA_HOME)")
    monkeypatch.setenv("NCF_DATA_HOME", str(REAL_HOME))


@pytest.mark.parametrize(
    ("name", "file", "sizes", "first_title"),
    [
        ("ml-100k", "u.data", (943, 1682, 100_000), "Toy Story (1995)"),
        ("ml-1m", "ratings.dat", (6040, 3706, 1_000_209), "Toy Story (1995)"),
    ],
)
def test_real_sets(
    name: str,
    file: str,
    sizes: tuple[int, int, int],
    first_title: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real(name, file, monkeypatch)
    interactions = load_interactions(name)
    assert (interactions.n_users, interactions.n_items, interactions.n_interactions) == sizes
    assert interactions.titles is not None
    assert interactions.titles[0] == first_title
    assert "" not in interactions.titles
    for user in range(0, sizes[0], 97):
        times = interactions.timestamps[interactions.indptr[user] : interactions.indptr[user + 1]]
        assert (np.diff(times) >= 0).all()


def test_both_sources_of_ml_100k_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real("ml-100k", "u.data", monkeypatch)
    # The known checksum of the second source tells that it is a header and then u.data.
    header = INTER.partition("\n")[0].encode() + b"\n"
    inter = tmp_path / "ml-100k.inter"
    inter.write_bytes(header + (REAL_HOME / "ml-100k" / "u.data").read_bytes())
    assert sha256_of(inter) == movielens.WHEEL_SHA256["ml-100k.inter"]
    assert load_interactions(str(inter)).fingerprint == load_interactions("ml-100k").fingerprint
