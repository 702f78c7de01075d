"""The page: complete, offline, escaped, and made of any study."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from plotly.offline import get_plotlyjs

from ncf.report.page import build_report

SPACE: dict[str, BaseDistribution] = {
    "embedding_dim": CategoricalDistribution([32, 64]),
    "learning_rate": FloatDistribution(1e-3, 1e-1, log=True),
    "n_negatives": IntDistribution(2, 12),
}
HEADINGS = ["Results", "Data", "What was searched", "Optimisation history", "Learning curves",
            "Which parameters mattered", "Parallel coordinates", "Parameter by parameter",
            "Protocol", "Repeat it"]  # fmt: skip


def complete(curve: list[float], number: int = 0, **params: Any) -> FrozenTrial:
    """Returns a finished trial; its learning rate and negatives follow from the number."""
    params = {
        "embedding_dim": 32 if number % 2 else 64,
        "learning_rate": 10 ** (-3 + number % 20 / 10),
        "n_negatives": 2 + number % 11,
    } | params
    return create_trial(
        value=max(curve),
        params=params,
        distributions={name: SPACE[name] for name in params},
        intermediate_values=dict(enumerate(curve, start=1)),
    )


def ended(state: TrialState, curve: list[float]) -> FrozenTrial:
    """Returns a trial without a value."""
    return create_trial(
        state=state,
        params={"embedding_dim": 32, "learning_rate": 0.01, "n_negatives": 3},
        distributions=SPACE,
        intermediate_values=dict(enumerate(curve, start=1)),
    )


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(study_name="planted", direction="maximize")
    study.add_trials(trials)
    return study


def searched(n: int = 24) -> optuna.Study:
    """Returns a study in which only the learning rate matters, with two pruned and a failed one."""
    trials = [complete([0.2, 0.2 + n_th % 20 / 100], n_th) for n_th in range(n)]
    return study_of(
        *trials,
        ended(TrialState.PRUNED, [0.31, 0.25]),
        ended(TrialState.PRUNED, [0.1]),
        ended(TrialState.FAIL, []),
    )


def report(study: optuna.Study, **arguments: Any) -> str:
    return build_report(
        study,
        **{
            "title": "GMF on planted",
            "verdict": "GMF is better than popularity.",
            "results": [{"model": "GMF", "nDCG@10": "0.41 [0.40, 0.42]"}],
            "facts": {"users": "160"},
            "protocol": "Leave-one-out.\n\nTest read once.",
            "command": "python search.py --seed 3",
            "objective": "validation nDCG@10",
            **arguments,
        },
    )


def without_plotly(html: str) -> str:
    return html.replace(get_plotlyjs(), "")


def traces(html: str, figure: str) -> list[dict[str, Any]]:
    """Returns what the page tells plotly.js to draw."""
    call = re.search(rf'Plotly\.newPlot\(\s*"{figure}",\s*', html)
    assert call is not None, f"there is no figure {figure}"
    drawn: list[dict[str, Any]] = json.JSONDecoder().raw_decode(html, call.end())[0]
    return drawn


def points(trace: dict[str, Any]) -> list[tuple[Any, Any]]:
    return list(zip(trace["x"], trace["y"], strict=True))


def headings(html: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", html)


@pytest.fixture(scope="module")
def page() -> str:
    return report(searched(), winner=18)


def test_has_every_section_in_order_after_title_and_verdict(page: str) -> None:
    assert headings(page) == HEADINGS
    order = ["<h1>GMF on planted", "GMF is better", "0.41", "160", "Leave-one-out.", "--seed 3"]
    places = [without_plotly(page).index(words) for words in order]
    assert places == sorted(places)


def test_loads_nothing(page: str) -> None:
    html = without_plotly(page)
    loads = r"<(?:link|iframe|object|embed|base|img)\b|\b(?:src|href|srcset|data|action|poster)="
    assert re.findall(loads, html) == []
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in html
    assert "://" not in html


def test_holds_plotly_once_and_offers_no_upload(page: str) -> None:
    assert page.count(get_plotlyjs()) == 1
    assert page.count("* plotly.js v") == 1
    figures = without_plotly(page)
    assert figures.count("Plotly.newPlot(") == figures.count('"showSendToCloud": false') == 5


def test_the_same_study_makes_the_same_page(page: str) -> None:
    assert report(searched(), winner=18) == page


def test_history_shows_how_trials_ended_the_best_so_far_and_the_winner() -> None:
    study = study_of(
        complete([0.3, 0.2]), ended(TrialState.PRUNED, [0.1, math.nan, 0.15]),
        complete([0.25]), complete([0.1, 0.4]), ended(TrialState.FAIL, [0.9]),
    )  # fmt: skip
    drawn = {t["name"]: points(t) for t in traces(report(study, winner=0), "history")}
    assert drawn["validation nDCG@10"] == [(0, 0.3), (2, 0.25), (3, 0.4)]
    assert drawn["Best Value"] == [(0, 0.3), (1, 0.3), (2, 0.3), (3, 0.4), (4, 0.4)]
    assert drawn["pruned"] == [(1, 0.15)]
    assert drawn["winner"] == [(0, 0.3)]


def test_learning_curves_end_with_the_winner_and_have_a_gap_for_nan() -> None:
    study = study_of(
        complete([0.1, 0.2]),
        create_trial(value=0.5, intermediate_values={1: 0.2, 2: math.nan, 3: 0.5}),
        complete([0.3]),
        ended(TrialState.PRUNED, [0.05, 0.06]),
        ended(TrialState.RUNNING, [0.07]),
    )
    drawn = traces(report(study, winner=1), "curves")
    assert [t["name"] for t in drawn] == ["Trial3", "Trial0", "Trial2", "Trial1"]
    assert points(drawn[-1]) == [(1, 0.2), (2, None), (3, 0.5)]
    assert [t["mode"] for t in drawn] == ["lines", "lines", "markers", "lines"]
    assert [t["line"]["width"] > 2 for t in drawn] == [False, False, False, True]


@pytest.mark.parametrize(("n_trials", "method"), [(24, "fANOVA"), (301, "PED-ANOVA")])
def test_importance_finds_the_parameter_that_matters(n_trials: int, method: str) -> None:
    html = report(searched(n_trials))
    (bars,) = traces(html, "importance")
    assert bars["y"][-1] == "learning_rate"
    assert bars["x"][-1] > 0.7
    assert f"{method} over" in html


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([complete([0.1 + n / 100], n) for n in range(9)], "it takes 10 finished trials"),
        ([complete([0.1 + n / 100]) for n in range(12)], "no parameter of all finished trials"),
        ([complete([0.3], n) for n in range(12)], "have the same validation nDCG@10"),
    ],
    ids=["few", "one setting", "one value"],
)
def test_importance_is_left_out_with_a_reason(trials: list[FrozenTrial], reason: str) -> None:
    html = report(study_of(*trials))
    assert reason in html
    assert '"importance"' not in without_plotly(html)


def test_parallel_coordinates_mark_the_line_of_the_winner() -> None:
    study = study_of(*(complete([0.3 + n / 100], n) for n in (9, 4, 6, 1, 12)))
    drawn = traces(report(study, winner=1), "parallel")
    assert len(drawn) == 5
    assert drawn[-1]["line"]["width"] == 3
    shown = dict(drawn[-1]["customdata"])
    assert {"embedding_dim": "64", "n_negatives": "6"}.items() <= shown.items()
    assert float(shown["validation nDCG@10"]) == 0.34


def test_parallel_coordinates_mark_no_line_where_two_are_as_good() -> None:
    study = study_of(*(complete([value], n) for n, value in enumerate([0.3, 0.4, 0.4])))
    drawn = traces(report(study, winner=1), "parallel")
    assert [t["line"]["width"] > 2 for t in drawn] == [False, False, False]


def test_slices_show_each_parameter_with_pruned_trials_and_the_winner(page: str) -> None:
    drawn = traces(page, "slices0")
    assert len(drawn) == 3
    for trace in drawn:
        assert len(trace["x"]) == 26
        assert trace["customdata"][-1] == 18
        assert trace["marker"]["size"] == [7] * 25 + [11]
    pruned = [y for y, n in zip(drawn[0]["y"], drawn[0]["customdata"], strict=True) if n >= 24]
    assert pruned == [0.31, 0.1]


def test_many_parameters_take_several_rows() -> None:
    names = [f"p{n}" for n in range(9)]
    trial = create_trial(
        value=0.1,
        params=dict.fromkeys(names, 3),
        distributions=dict.fromkeys(names, IntDistribution(1, 5)),
    )
    html = report(study_of(trial))
    assert [len(traces(html, f"slices{n}")) for n in range(3)] == [4, 4, 1]


def test_space_shows_ranges_defaults_the_winner_and_what_is_fixed() -> None:
    first = complete([0.3])
    first.user_attrs = {"hyperparameters": {"embedding_dim": 64, "optimizer": "sgd"}}
    winner = create_trial(
        value=0.9,
        params={"learning_rate": 0.02, "batch_size": 16384},
        distributions={
            "learning_rate": SPACE["learning_rate"],
            "batch_size": IntDistribution(512, 65536, log=True),
        },
    )
    html = report(study_of(first, winner), winner=1)
    for row in (
        "<th>parameter</th><th>searched</th><th>trial 0</th><th>best trial (1)</th>",
        "<td>embedding_dim</td><td>32, 64</td><td>64</td><td>-</td>",
        "<td>learning_rate</td><td>0.001 to 0.1, log</td><td>0.001</td><td>0.02</td>",
        "<td>batch_size</td><td>512 to 65536, log</td><td>-</td><td>16384</td>",
        "<dt>best trial (1), validation nDCG@10</dt><dd>0.9000</dd>",
        "The same in every trial: optimizer sgd.",
    ):
        assert row in html


def test_identity_is_shown_with_the_seed() -> None:
    study = searched()
    study.set_user_attr("identity", {"seed": 31, "space": {"n_negatives": ["hidden"]}})
    html = report(study)
    assert "<td>seed</td><td>31</td>" in html
    assert "hidden" not in without_plotly(html)


def test_results_may_have_different_columns_and_keep_intervals_whole() -> None:
    html = report(
        searched(), results=[{"model": "a", "HR": "1 [0, 2], p 3"}, {"model": "b", "MRR": "2"}]
    )
    assert "<th>model</th><th>HR</th><th>MRR</th>" in html
    assert "<td>1\N{NO-BREAK SPACE}p\N{NO-BREAK SPACE}3\n[0,\N{NO-BREAK SPACE}2]</td>" in html
    assert "<td>b</td><td></td><td>2</td>" in html


def test_escapes_what_it_is_given() -> None:
    evil = "</script><script>alert('x')</script><b>&"
    trials = [
        create_trial(
            value=0.1 + n / 100,
            params={evil: (evil, "b")[n % 2]},
            distributions={evil: CategoricalDistribution([evil, "b"])},
            intermediate_values={1: 0.1},
            user_attrs={"hyperparameters": {evil + "2": evil}},
        )
        for n in range(12)
    ]
    study = optuna.create_study(study_name=evil, direction="maximize")
    study.add_trials(trials)
    study.set_user_attr("identity", {evil: evil})
    html = report(
        study,
        title=evil,
        verdict=evil,
        results=[{evil: evil}],
        facts={evil: evil},
        protocol=evil,
        command=evil,
        objective=evil,
    )
    for figure in (
        "history",
        "curves",
        "importance",
        "parallel",
        "slices0",
    ):  # plotly.js reads tags
        tags = set(re.findall("<[^>]*>", str(traces(html, figure))))
        assert tags <= {"<extra>", "</extra>"}, figure
    html = without_plotly(html)
    assert "alert(" in html
    assert "<script>alert" not in html
    assert not re.search(r"<b>(?!trial)", html)


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [ended(TrialState.FAIL, [])],
        [ended(TrialState.PRUNED, [math.nan])],
        [ended(TrialState.PRUNED, [0.1])],
        [create_trial(value=0.0)],
        [complete([0.0])],
        [ended(TrialState.RUNNING, [0.2]), ended(TrialState.WAITING, [])],
        [ended(TrialState.PRUNED, [0.1]), complete([0.3]), ended(TrialState.FAIL, [0.2])],
        [complete([0.3, math.nan], n) for n in range(2)],
        [complete([0.3], n) for n in range(8)] + [complete([0.4], n) for n in range(4)],
    ],
    ids=["none", "failed", "pruned NaN", "pruned", "no parameter", "one", "running", "one of each",
         "NaN last", "ties"],
)  # fmt: skip
def test_any_study_makes_a_page(trials: list[FrozenTrial]) -> None:
    html = report(study_of(*trials))
    assert {"Results", "What was searched", "Data", "Protocol", "Repeat it"} <= set(headings(html))
    assert "NaN" not in without_plotly(html)


def test_without_a_search_space_the_page_says_so() -> None:
    html = report(study_of(create_trial(value=0.1, intermediate_values={1: 0.1})), winner=0)
    assert "No parameter was searched." in html
    assert not {"Which parameters mattered", *HEADINGS[6:8]} & set(headings(html))


def test_conditional_parameters_have_a_place_where_they_are_not_set() -> None:
    trials = [
        complete([0.1 + n / 100], n) if n % 3 else create_trial(
            value=0.1 + n / 100,
            params={"learning_rate": 0.001 * (n + 1)},
            distributions={"learning_rate": SPACE["learning_rate"]},
        )
        for n in range(12)
    ]  # fmt: skip
    html = report(study_of(*trials), winner=11)
    assert traces(html, "importance")[0]["y"] == ["learning_rate"]
    assert "Parameters that only some trials have are left out." in html
    shown = [dict(line["customdata"])["n_negatives"] for line in traces(html, "parallel")]
    assert shown.count("None") == 4
    assert sorted(len(t["x"]) for t in traces(html, "slices0")) == [8, 8, 12]
