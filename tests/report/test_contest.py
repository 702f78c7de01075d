"""The verdict: each wording, with results that are planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import MODELS
from ncf.protocol.intervals import SMALLEST_P
from ncf.protocol.metrics import Objective
from ncf.report.contest import p_in_words, verdict
from ncf.report.words import headline, table_row
from ncf.study.results import Conclusion, Contestant, Reading, Result, readings_in_words

SURE = (0.05, 0.04, 0.06, SMALLEST_P)
LIKELY = (0.02, 0.01, 0.03, 0.002)
NOTHING = (0.001, -0.01, 0.012, 0.68)
WORSE = (-0.05, -0.06, -0.04, SMALLEST_P)
SEEDS = (0.5, 0.51, 0.52)
Four = tuple[float, float, float, float]


def result(name: str, sampled: Four | None = None, full: Four | None = None) -> Result:
    """Returns a result of a winner of .5 and .1 less the differences."""
    test, test_full = (
        {f"{metric}_10": best - (difference or [0])[0] for metric in ("hit_ratio", "ndcg")}
        for best, difference in ((0.5, sampled), (0.1, full))
    )
    ends = {name: [0.0, 1.0] for name in (*test, *(f"full_{name}" for name in test_full))}
    both = [None if each is None else [*each] for each in (sampled, full)]
    return Result(name, {}, f"{name}, found", {"ndcg_10": 0.6}, test, test_full, ends, *both)


def conclusion(*baselines: Result, seeds: tuple[float, ...] = SEEDS) -> Conclusion:
    results = (result("GMF"), *baselines)
    winner = Contestant(
        "GMF", 0, Hyperparameters(), {}, 3, {"ndcg_10": 0.6}, "GMF, found", 20, seed_values=seeds
    )
    others = (
        Contestant(
            one.name, 0, MODELS[one.name].defaults, {}, 0, {"ndcg_10": 0.4}, one.note, n, (), False
        )
        for n, one in enumerate(baselines, start=21)
    )
    return Conclusion("d", (winner, *others), results, 0.0, Path())


def words(*baselines: Result, seeds: tuple[float, ...] = SEEDS) -> str:
    """Returns the verdict without its first sentence, which says why the winner was chosen."""
    sentences = verdict(conclusion(*baselines, seeds=seeds), Objective())
    return "\n".join(sentences[1:] if baselines else sentences)


def test_it_tells_better_from_what_cannot_be_told() -> None:
    lines = words(
        result("popularity", SURE, SURE),
        result("itemknn", NOTHING, LIKELY),
        result("ials", LIKELY, NOTHING),
    ).splitlines()
    assert lines[0] == (
        "By test nDCG@10 on the sampled candidates, with p after Holm's correction, GMF is better "
        "than popularity (p <= 0.0003) and iALS (p 0.004); it cannot be told from item-kNN "
        "(p 0.68)."
    )
    assert lines[1] == (
        "Over the full catalogue, with the lead, its 95% interval, and p after Holm's correction "
        "over these comparisons alone, GMF is better than popularity (+0.0500 [+0.0400, "
        "+0.0600], p <= 0.0003) and item-kNN (+0.0200 [+0.0100, +0.0300], p 0.004); it cannot be "
        "told from iALS (+0.0010 [-0.0100, +0.0120], p 0.68)."
    )


def test_holms_correction_may_take_a_difference_away() -> None:
    nearly = (0.02, 0.001, 0.04, 0.03)
    assert "GMF is better than iALS (p 0.03)" in words(result("ials", nearly))
    both = words(result("ials", nearly), result("ease", nearly))
    assert "GMF cannot be told from iALS or EASE (each p 0.06)." in both


def test_a_winner_that_a_baseline_beats_is_called_what_it_is() -> None:
    against = (
        result("ease", WORSE, NOTHING), result("markov", WORSE, WORSE), result("ials", SURE, SURE)
    )  # fmt: skip
    first, second, *_ = words(*against).splitlines()
    beaten = (
        "EASE and Markov beat it on the sampled candidates; Markov beats it on the full catalogue."
    )
    assert first == f"GMF was the best on validation, and is not the best on test: {beaten}"
    asked_for = conclusion(*against)  # --register-best gmf
    gmf, ease, *others = asked_for.contestants
    better = replace(ease, validation={"ndcg_10": 0.7})
    why, what, *_ = verdict(replace(asked_for, contestants=(gmf, better, *others)), Objective())
    assert why == (
        "GMF is the winner, the best of the study's trials, as --register-best gmf asks, by "
        "validation nDCG@10: 0.5100 (mean of 3 fresh seeds, sd 0.0100); the best of all is EASE: "
        "0.7000 (deterministic)."
    )
    assert what == (
        f"The winner is the best of the GMF trials, and not the best model here: {beaten}"
    )
    assert (
        "GMF is better than iALS (p <= 0.0003); it is worse than EASE and Markov (each p <= 0.0003)"
        in second
    )
    assert "not the best model" not in words(result("ease", NOTHING, NOTHING))


def test_a_winner_that_is_no_trial_is_called_by_its_name() -> None:
    known = conclusion(result("ease", SURE, SURE))
    gmf, ease = known.contestants
    first, second = known.results
    won = replace(
        known,
        contestants=(replace(ease, validation={"ndcg_10": 0.7}), gmf),
        results=(replace(first, name="ease"), replace(second, name="GMF")),
    )
    text = "\n".join(verdict(won, Objective()))
    assert text.startswith(
        "EASE is the winner, the best of all by validation nDCG@10: 0.7000 (deterministic); the "
        "next best is GMF: 0.5100 (mean of 3 fresh seeds, sd 0.0100)."
    )
    assert "with p after Holm's correction, EASE is better than GMF (p <= 0.0001)" in text
    assert "Nothing in the winner is random" in text
    assert headline(won, 10).startswith("Winner: EASE (")


def test_it_says_where_sampled_and_full_disagree_about_the_order() -> None:
    agreeing = words(result("ease", SURE, SURE), result("ials", LIKELY, LIKELY))
    assert "different orders" not in agreeing
    text = words(result("ease", SURE, WORSE), result("itemknn", NOTHING, NOTHING))
    assert "sampled candidates and the full catalogue put the models into different orders" in text


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        (SEEDS, "Over 3 fresh seeds the winner's validation nDCG@10 is 0.5100 with a standard"
                " deviation of 0.0100; "),
        ((0.5,), "one fresh seed only, which tells no variance: validation nDCG@10 0.5000."),
        ((), "was not trained again with fresh seeds: its validation is the best of many"),
    ],
    ids=["several", "one", "none"],
)  # fmt: skip
def test_it_states_the_variance_over_seeds(seeds: tuple[float, ...], sentence: str) -> None:
    assert sentence in words(result("ials", SURE, SURE), seeds=seeds)


def test_it_states_how_many_settings_were_tried() -> None:
    assert words(result("ials", SURE, SURE)).endswith("Settings that were tried: GMF 20, iALS 21.")
    known = conclusion(result("ials", SURE, SURE))
    winner, ials = known.contestants
    old = replace(known, contestants=(winner, replace(ials, n_settings=0)))
    assert "Settings" not in " ".join(verdict(old, Objective()))


def test_an_old_record_and_a_search_without_baselines_have_a_verdict_too() -> None:
    old = words(result("ials", SURE))
    assert "GMF is better than iALS" in old
    assert "full catalogue" not in old
    alone = words()
    assert alone.startswith("Over 3 fresh seeds")
    assert "better" not in alone


def test_a_second_reading_of_test_is_told_and_the_first_is_the_only_one_else() -> None:
    first = Reading(0.0, "GMF trial 3", "the study's end", "a")
    second = Reading(90000.0, "GMF trial 8", "the study was continued", "b")
    once = replace(conclusion(), readings=(first,))
    assert "On test, read once: HR@10" in headline(once, 10)
    assert "read before" not in " ".join(verdict(once, Objective()))
    twice = replace(conclusion(), readings=(first, second))
    assert "On test, reading 2: HR@10" in headline(twice, 10)
    assert verdict(twice, Objective())[0] == (
        "Test was read before, on 1970-01-01 00:00 UTC; this is reading 2 (the study was "
        "continued)."
    )
    assert readings_in_words(twice.readings) == (
        "1: 1970-01-01 00:00 UTC, GMF trial 3: the study's end; "
        "2: 1970-01-02 01:00 UTC, GMF trial 8: the study was continued"
    )


def test_a_p_value_at_the_floor_says_that_it_may_be_smaller() -> None:
    assert p_in_words(SMALLEST_P) == "<= 0.0001"
    assert p_in_words(2 * SMALLEST_P) == "0.0002"
    assert p_in_words(5 * SMALLEST_P, SMALLEST_P) == "<= 0.0005"
    row = table_row(result("ials", SURE, NOTHING), 0.5, Objective())
    assert row["winner's lead"] == "+0.0500 [+0.0400, +0.0600], p <= 0.0001"
    assert row["winner's lead, full"] == "+0.0010 [-0.0100, +0.0120], p 0.68"
    assert table_row(result("GMF"), 0.5, Objective())["winner's lead"] == ""


def test_the_headline_tells_who_won_and_what_came_of_it() -> None:
    text = headline(conclusion(), 10)
    assert text.startswith("Winner: GMF (GMF, found). On test, read once: HR@10 0.5000, nDCG@10 ")
    assert "Its setting: " in text
