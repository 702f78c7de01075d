"""Facts of small files, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ncf.commands.facts import Facts, gather, in_words, warnings
from ncf.data.columns import Columns
from ncf.protocol.choice import SplitChoice

# Users a, b, c and d have 4, 3, 3 and 1 items. The two latest of a and c have equal times, and so
# have b's first two, the time of a's latest. Item 9 is c's latest and nobody else's. a has item 1
# twice, and counts it once.
TOY = """user,item,timestamp
a,1,1000013600
a,2,1000113600
a,3,1000213600
a,4,1000213600
a,1,1000313600
b,1,1000213600
b,2,1000213600
b,3,1000313600
c,2,1000013600
c,3,1000213600
c,9,1000213600
d,2,1000000000
"""


def facts_of(folder: Path, text: str) -> Facts:
    (folder / "toy.csv").write_text(text)
    return gather(str(folder / "toy.csv"), Columns())


def test_rows_with_an_empty_cell_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "toy.csv"
    path.write_text(TOY.replace("c,9", "c,") + "a,1,\n")
    found = gather(str(path), Columns(), drop_empty=True)
    assert (found.counts["rows"], found.counts["empty"], found.counts["kept"]) == (13, 2, 11)
    assert "13 rows in the file; 2 have an empty cell and are left out; 1 repeat" in in_words(found)


@pytest.mark.parametrize(
    "asked",
    [
        {"columns": Columns(user="2", item="1")},
        {"min_rating": 4.0},
        {"drop_empty": True},
        {"choice": SplitChoice((0.8, 0.9))},
    ],
)
def test_a_ready_made_split_is_not_looked_at_in_another_way(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    file = tmp_path / "toy.train.rating"
    file.write_text("0\t0\t1\n")
    with pytest.raises(ValueError, match=r"taken as it is; leave out --columns, .* and --split"):
        gather(str(file), **{"columns": Columns(), **asked})


def test_a_file_counted_by_hand(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, TOY)
    assert facts.counts == {
        "rows": 12, "empty": 0, "kept": 12, "users": 4, "items": 5, "interactions": 11,
        "evaluated": 3, "train": 5,
    }  # fmt: skip
    assert facts.per_user.tolist() == [4, 3, 3, 1]
    assert facts.per_item.tolist() == [2, 4, 3, 1, 1]
    assert facts.period == ("2001-09-09", "2001-09-12")
    assert facts.sequence is not None
    assert facts.sequence.tied_test == pytest.approx(2 / 3)  # a and c
    assert facts.rising == 1.0  # a's 3 and 4, b's 1 and 2, c's 3 and 9
    assert facts.cold == pytest.approx(2 / 3)  # a's 4 and c's 9
    assert facts.n_untouched == 1
    assert facts.repeated == pytest.approx(1 / 12)


def test_the_page_says_it(tmp_path: Path) -> None:
    page = in_words(facts_of(tmp_path, TOY))
    for part in (
        "toy: 4 users, 5 items, 11 interactions; 45.00% of all pairs are empty",
        "12 rows in the file; 1 repeat",
        "user: column 1 'user', such as a and b",
        "timestamp: column 3 'timestamp', such as 1000013600 (2001-09-09 05:33:20) and ",
        "2001-09-09 to 2001-09-12",
        "users by interactions: 1 to 4, median 3",
        "leave-one-out by time",
        "3 of 4 users are evaluated (75.0%)",
        "WARNING: 67% of the evaluated users have several interactions at their latest time",
        "100% of equal times are in the order of item ids",
        "sessions: 33% of the validation items came within 60 seconds",  # b's 2, at 1's time
        "decides the test item of 67% of the users and the validation item of 33%",
        "leak: 0% of the train interactions are later than a user's test item",
    ):
        assert part in page
    bars = [line.split() for line in page.splitlines() if " # " in line or "##" in line]
    assert [bar[-1] for bar in bars if bar[0] in ("1", "2", "4")] == ["1", "2", "1", "2", "2", "1"]
    page.encode("ascii")  # shown by any terminal, and whole in a log


def warned(folder: Path, text: str) -> str:
    return "\n".join(warnings(facts_of(folder, text)))


def test_each_pitfall_is_named(tmp_path: Path) -> None:
    without_times = "\n".join(line.rpartition(",")[0] for line in TOY.splitlines())
    assert "there is no time" in warned(tmp_path, without_times)
    text = warned(tmp_path, TOY)
    assert "3 evaluated users are few" in text
    assert "67% of the test items, on average over users, are new" in text
    assert "all but 1 items" in text
    assert "8% of the rows repeat a pair" in text
    many_short = TOY + "".join(f"e{n},2,100000\n" for n in range(10))
    assert "only 21% of the users have the 3 items" in warned(tmp_path, many_short)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (86_400, "on the same day as the user's item before: the times are dates alone, and do "),
        (60, "in the same minute as, or the minute after, the user's item before; leave-one-out "),
        (1, "within 60 seconds of the user's item before; leave-one-out rewards continuing "),
    ],
)
def test_times_are_told_as_finely_as_the_file_has_them(
    tmp_path: Path, step: int, said: str
) -> None:
    start = 86_400 * 12_000
    rows = [f"{user},{item},{start + step * (item // 3)}" for user in "abcd" for item in range(6)]
    facts = facts_of(tmp_path, "\n".join(["user,item,timestamp", *rows]))
    assert facts.resolution == step
    assert f"  sessions: 100% of the validation items came {said}" in in_words(facts)
    is_warned = any("results tell more of continuing a session" in one for one in warnings(facts))
    assert is_warned == (step < 86_400)


def test_the_period_is_that_of_repeats_too(tmp_path: Path) -> None:
    assert facts_of(tmp_path, TOY + "a,1,1000400000\n").period == ("2001-09-09", "2001-09-13")
    again = TOY.replace("b,3,1000313600\n", "b,3,1000313600\nb,3,1000000\n")
    assert facts_of(tmp_path, again).period == ("1970-01-12", "2001-09-12")


def test_good_data_have_no_warning(tmp_path: Path) -> None:
    lines = ["user,item,timestamp"]
    for user in range(600):
        for place in range(4):
            item = (user * 7 + place * 31) % 300
            lines.append(f"{user},{item},{10**9 + 1000 * place + (user * 13) % 997}")
    facts = facts_of(tmp_path, "\n".join(lines))
    assert warnings(facts) == []
    assert "Nothing here would mislead" in in_words(facts)
