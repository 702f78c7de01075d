"""The page: complete, offline, escaped, and made of any study."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
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
HEADINGS = ["Results", "What was searched", "Optimisation history", "Learning curves",
            "Which parameters mattered", "Parallel coordinates", "Parameter by parameter", "Data",
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
            "facts": {"users": "160"},
            "results": [{"model": "GMF", "nDCG@10": "0.41"}],
            "protocol": "Leave-one-out.\n\nTest read once.",
            "command": "python search.py --seed 3",
            "k": 10,
            **arguments,
        },
    )


def traces(html: str, figure: str) -> list[dict[str, Any]]:
    """Returns what the page tells plotly.js to draw."""
    call = re.search(rf'Plotly\.newPlot\(\s*"{figure}",\s*', html)
    assert call is not None, f"there is no figure {figure}"
    drawn: list[dict[str, Any]] = json.JSONDecoder().raw_decode(html, call.end())[0]
    return drawn


def headings(html: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", html)


@pytest.fixture(scope="module")
def page() -> str:
    return report(searched())


def test_has_every_section_in_order(page: str) -> None:
    assert headings(page) == HEADINGS
    for words in ("GMF on planted", "160", "0.41", "Leave-one-out.", "python search.py --seed 3"):
        assert words in page


def test_loads_nothing(page: str) -> None:
    class Loads(HTMLParser):
        found: list[str]  # what a tag names, or is there to load

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = {"src", "href", "srcset", "data", "action", "poster"}
            self.found += [f"{tag} {name}" for name, _ in attrs if name in names]
            if tag in {"link", "iframe", "object", "embed", "base", "img"}:
                self.found.append(tag)

    parser = Loads()
    parser.found = []
    parser.feed(page)
    assert parser.found == []
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page
    assert "://" not in page.replace(get_plotlyjs(), "")


def test_offers_no_upload(page: str) -> None:
    drawn = page.replace(get_plotlyjs(), "")
    n_figures = drawn.count("Plotly.newPlot(")
    assert n_figures == 5
    assert drawn.count('"showSendToCloud": false') == n_figures


def test_holds_plotly_once(page: str) -> None:
    assert page.count(get_plotlyjs()) == 1
    assert page.count("* plotly.js v") == 1


def test_the_same_study_makes_the_same_page(page: str) -> None:
    assert report(searched()) == page


def test_history_shows_how_trials_ended_and_the_best_so_far() -> None:
    study = study_of(
        complete([0.3, 0.2]), ended(TrialState.PRUNED, [0.1, math.nan, 0.15]),
        complete([0.25]), complete([0.1, 0.4]), ended(TrialState.FAIL, [0.9]),
    )  # fmt: skip
    drawn = {
        t["name"]: list(zip(t["x"], t["y"], strict=True)) for t in traces(report(study), "history")
    }
    assert drawn == {
        "best so far": [(0, 0.3), (2, 0.3), (3, 0.4)],
        "pruned": [(1, 0.15)],
        "finished": [(0, 0.3), (2, 0.25)],
        "best": [(3, 0.4)],
    }


def test_learning_curves_highlight_the_best_and_skip_nan() -> None:
    curves = [[0.1, 0.2], [0.2, math.nan, 0.5, 0.4], [0.3], [0.4]]
    study = study_of(
        *(create_trial(value=max(v for v in c if v == v), intermediate_values=dict(enumerate(c, 1)))
          for c in curves),
        ended(TrialState.PRUNED, [0.05, 0.06]),
    )  # fmt: skip
    drawn = traces(report(study), "curves")
    assert [(t["name"], t["x"], t["y"]) for t in drawn] == [
        ("pruned", [1, 2], [0.05, 0.06]),
        ("finished", [1, 2], [0.1, 0.2]),
        ("trial 1: 0.5000", [1, 3, 4], [0.2, 0.5, 0.4]),
        ("trial 3: 0.4000", [1], [0.4]),
        ("trial 2: 0.3000", [1], [0.3]),
    ]
    assert [t["line"]["width"] > 2 for t in drawn] == [False, False, True, True, True]
    assert drawn[2]["marker"]["size"] == [0, 8, 0]  # at the best epoch


def test_importance_finds_the_parameter_that_matters(page: str) -> None:
    (bars,) = traces(page, "importance")
    assert sum(bars["x"]) == pytest.approx(1)
    assert bars["y"][-1] == "learning_rate"
    assert bars["x"][-1] > 0.7


def test_large_studies_take_the_quicker_importance() -> None:
    html = report(searched(301))
    assert "PED-ANOVA over" in html
    assert traces(html, "importance")[0]["y"][-1] == "learning_rate"


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
    assert '"importance"' not in html.replace(get_plotlyjs(), "")


def test_parallel_coordinates_are_of_finished_trials_on_log_axes() -> None:
    study = study_of(
        complete([0.4], learning_rate=0.01, n_negatives=5),
        ended(TrialState.PRUNED, [0.1]),
        complete([0.2], learning_rate=0.1, n_negatives=12, embedding_dim=32),
    )
    (lines,) = traces(report(study), "parallel")
    dim, rate, negatives, ndcg = lines["dimensions"]
    assert [d["values"] for d in (dim, rate, negatives, ndcg)] == [
        [0, 1], [pytest.approx(-1), pytest.approx(-2)], [12, 5], [0.2, 0.4],
    ]  # fmt: skip
    assert dim["ticktext"] == ["32", "64"]
    assert rate["range"] == [pytest.approx(-3), pytest.approx(-1)]
    assert dict(zip(rate["ticktext"], rate["tickvals"], strict=True))["0.01"] == pytest.approx(-2)


def test_slices_show_each_parameter_and_how_trials_ended(page: str) -> None:
    drawn = traces(page, "slices")
    assert [t["name"] for t in drawn] == ["pruned", "finished", "best"] * 3
    assert [len(t["x"]) for t in drawn] == [2, 23, 1] * 3
    assert "trial 19</b>, finished, 0.3900<br>embedding_dim 32<br>" in drawn[2]["hovertext"][0]


def test_space_shows_ranges_defaults_and_what_is_fixed() -> None:
    study = searched()
    study.add_trial(
        create_trial(
            value=0.9,
            params={"learning_rate": 0.02},
            distributions={"learning_rate": FloatDistribution(1e-3, 1e-1, log=True)},
        )
    )
    html = report(study)
    row = "<td>learning_rate</td><td>0.001 to 0.1, log</td><td>0.001</td><td>0.02</td>"
    assert row in html
    assert "<td>embedding_dim</td><td>32, 64</td><td>64</td><td>-</td>" in html
    first = complete([0.3])
    first.user_attrs = {"hyperparameters": {"embedding_dim": 32, "optimizer": "sgd"}}
    assert "The same in every trial: optimizer sgd." in report(study_of(first))


def test_identity_is_shown_with_the_seed() -> None:
    study = searched()
    study.set_user_attr("identity", {"seed": 31, "space": {"n_negatives": ["hidden"]}})
    html = report(study)
    assert "<td>seed</td><td>31</td>" in html
    assert "hidden" not in html.replace(get_plotlyjs(), "")


def test_results_may_have_different_columns() -> None:
    html = report(searched(), results=[{"model": "a", "HR": "1"}, {"model": "b", "MRR": "2"}])
    assert "<th>model</th><th>HR</th><th>MRR</th>" in html
    assert "<td>b</td><td></td><td>2</td>" in html


def test_escapes_what_it_is_given() -> None:
    evil = "</script><script>alert('x')</script><b>&"
    name = create_trial(
        value=0.1,
        params={evil: evil},
        distributions={evil: CategoricalDistribution([evil, "b"])},
        intermediate_values={1: 0.1},
        user_attrs={"hyperparameters": {evil + "2": evil}},
    )
    study = study_of(name)
    study.set_user_attr("identity", {evil: evil})
    html = report(
        study,
        title=evil,
        facts={evil: evil},
        results=[{evil: evil}],
        protocol=evil,
        command=evil,
    )
    hover = traces(html, "slices")[-1]["hovertext"][0]  # plotly.js would make tags of it
    assert re.findall("<[^>]*>", hover) == ["<b>", "</b>", "<br>"]
    html = html.replace(get_plotlyjs(), "")
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
    assert "NaN" not in html.replace(get_plotlyjs(), "")


def test_conditional_parameters_have_a_place_where_they_are_not_set() -> None:
    trials = [
        complete([0.1 + n / 100], n) if n % 3 else create_trial(
            value=0.1 + n / 100,
            params={"learning_rate": 0.001 * (n + 1)},
            distributions={"learning_rate": SPACE["learning_rate"]},
        )
        for n in range(12)
    ]  # fmt: skip
    html = report(study_of(*trials))
    assert traces(html, "importance")[0]["y"] == ["learning_rate"]
    assert "Parameters that only some trials have are left out." in html
    dimensions = {d["label"]: d for d in traces(html, "parallel")[0]["dimensions"]}
    negatives = dimensions["n_negatives"]
    unset = dict(zip(negatives["ticktext"], negatives["tickvals"], strict=True))["none"]
    assert unset < 2
    assert negatives["values"].count(unset) == 4
    drawn = {t["xaxis"]: len(t["x"]) for t in traces(html, "slices") if t["name"] == "finished"}
    assert sorted(drawn.values()) == [7, 7, 11]  # and the best


def test_every_kind_of_point_is_named_once_in_the_legend_of_the_slices() -> None:
    rate = {"learning_rate": SPACE["learning_rate"]}
    study = study_of(
        create_trial(value=0.3, params={"learning_rate": 0.01}, distributions=rate),
        complete([0.2]),
        ended(TrialState.PRUNED, [0.1]),
    )
    drawn = traces(report(study), "slices")
    assert sorted(t["name"] for t in drawn if t["showlegend"]) == ["best", "finished", "pruned"]
    assert all(t["x"] for t in drawn if t["showlegend"])


def test_large_whole_numbers_are_written_out() -> None:
    trial = create_trial(
        value=0.1,
        params={"batch_size": 16384},
        distributions={"batch_size": IntDistribution(512, 65536, log=True)},
    )
    row = "<td>batch_size</td><td>512 to 65536, log</td><td>16384</td><td>16384</td>"
    assert row in report(study_of(trial))
