"""The checklist and the table of parts, of a planted study, and their sections on the page."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import optuna

from ncf.protocol.metrics import Objective
from ncf.protocol.time_split import split_by_time
from ncf.report.checklist import checklist
from ncf.report.page import build_report
from ncf.report.parts import parts_note, parts_table
from ncf.study.breakdown import Breakdown, Part
from ncf.study.cost import Cost
from ncf.study.plan import Plan
from ncf.study.results import Reading
from tests.conftest import planted
from tests.report.test_contest import conclusion, result
from tests.study.planted import plan_of, study_with

PARTS = Breakdown(
    (
        Part("time", "the same second", 2, {"GMF": [0.5, 0.25], "ials": [0.125, 0.0625]}),
        Part("time", "under a minute", 0, {}),
        Part("time", "a day or more", 1, {"GMF": [0.5, 0.25], "ials": [1.0, 0.0]}),
    ),
    {"GMF": 0.5, "ials": 0.25},
    943,
)


def plan_by_time() -> Plan:
    data = planted(160, 80, seed=1)
    plan = plan_of(split_by_time(data, (0.6, 0.8)))
    candidates = np.zeros((3, 41), np.int32)
    return replace(plan, interactions=data, protocol="by time", test_candidates=candidates)


def test_each_question_is_answered_from_the_record() -> None:
    reading = Reading(0.0, "GMF trial 0", "the study's end", "d")
    ended = replace(conclusion(result("ials", (0.1, 0.0, 0.2, 0.01))), readings=(reading,))
    trials = study_with([0.3, 0.4]).get_trials()
    answers = checklist(plan_by_time(), trials, ended, Cost({"trials": 720.0}), "abc123", 0.625)
    text = "\n".join(answers.values())
    for part in (
        "planted: 160 users, 80 items",
        "by time. validation: ",
        "Everything that is trained on is earlier than what is asked for.",
        "among 40 items that the user never touched",
        "Validation nDCG@10 alone",
        "Readings of test: 1: 1970-01-01 00:00 UTC, GMF trial 0: the study's end",
        "iALS: ials, found",
        "3 trials: 2 finished, 0 stopped early, 1 failed; 18 epochs",
        "10,000 bootstrap resamples over users",
        "720 processor seconds of training and judging (trials 720), at 10 W for a busy core about "
        "2 watt-hours; the power was not measured",
        "commit abc123",
        "Of a list of 10, 62% is the same for two fresh seeds of the best trial",
    ):
        assert part in text
    old = checklist(plan_by_time(), trials, ended, Cost({}), "abc123")
    assert "Of a list" not in old["How many seeds?"]
    assert "before processor seconds were kept" in old["What did it cost?"]


def test_parts_without_items_are_left_out() -> None:
    assert parts_table(PARTS) == [
        ["by", "part", "test items", "GMF", "iALS"],
        ["time", "the same second", "2", "0.5000 / 0.2500", "0.1250 / 0.0625"],
        ["", "a day or more", "1", "0.5000 / 0.2500", "1.0000 / 0.0000"],
    ]
    note = parts_note(PARTS, Objective("full_mrr", 5))
    assert note.startswith("Test MRR@5 on the sampled candidates / over the full catalogue. ")
    assert note.endswith("the lists of 5 of 943 users hold at least once: GMF 50.0%, iALS 25.0%.")


def test_the_page_has_both_sections_where_there_is_something_to_say() -> None:
    study = optuna.create_study(study_name="planted", direction="maximize")
    page_of = partial(
        build_report, study, "Study planted", "", [], {}, "", "", "validation nDCG@10"
    )
    plain = page_of()
    assert "Checklist" not in plain
    assert "Where the results come from" not in plain
    page = page_of(checklist={"How?": "So <well>."}, parts=("A note.", parts_table(PARTS)))
    assert "<td>How?</td><td>So &lt;well&gt;.</td>" in page
    assert "<td>a day or more</td><td>1</td><td>0.5000 / 0.2500</td>" in page
