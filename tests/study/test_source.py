"""A plan of each kind of split, and the source that a study's run tells again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.choice import parse_split
from ncf.protocol.metrics import Objective
from ncf.study.experiment import Experiment
from ncf.study.identity import objective_of
from ncf.study.plan import Plan, Settings, assemble
from ncf.study.source import Source, source_of
from tests.conftest import COLUMNS, planted, write_interactions


@pytest.fixture
def shop(tmp_path: Path) -> str:
    file = tmp_path / "shop.csv"
    write_interactions(planted(160, 80, seed=1), file)
    return str(file)


def plan_of(source: Source) -> Plan:
    experiment = Experiment("x", "x", Hyperparameters(), lambda _: Hyperparameters())
    return assemble("x", experiment, Settings(4, seed=0), source)


def test_a_run_tells_its_source_again(shop: str) -> None:
    for source in (
        Source(shop, COLUMNS),
        Source(shop, COLUMNS, 3.5, parse_split("time:0.7,0.85", "all"), drop_empty=True),
    ):
        assert source_of({name: str(value) for name, value in source.params.items()}) == source
    assert Source("ml-100k").params == {"data_source": "ml-100k"}  # as before there was a choice


def test_a_split_by_time_is_another_study_and_hands_trials_what_is_before_test(shop: str) -> None:
    by_time, last = (
        plan_of(Source(shop, COLUMNS, split=parse_split(*given)))
        for given in (("time:0.6,0.8", "all"), ("time:0.6,0.8",))
    )
    left_out = plan_of(Source(shop, COLUMNS))
    assert left_out.identity["split"] == "leave-one-out by time"
    assert len({plan.identity["split"] for plan in (by_time, last, left_out)}) == 3
    assert by_time.identity.keys() == left_out.identity.keys()  # old studies go on
    assert by_time.facts.counts["evaluated"] == len(np.unique(by_time.split.test.users))
    assert by_time.test_candidates.shape == (len(by_time.split.test.users), 101)
    data, whole = by_time.trial_data, by_time.split.whole
    assert data.seen.items.tolist() == by_time.split.train_and_validation.items.tolist()
    for row, user in zip(by_time.test_candidates, by_time.split.test.users, strict=True):
        touched = whole.items[slice(*whole.indptr[user : user + 2])]
        assert row[0] in touched
        assert not np.isin(row[1:], touched).any()


def test_ready_made_data_refuse_another_split(tmp_path: Path) -> None:
    file = tmp_path / "toy.train.rating"
    file.write_text("0\t0\t1\n")
    with pytest.raises(ValueError, match=r"taken as it is; leave out --columns, .* and --split"):
        plan_of(Source(str(file), split=parse_split("time")))


def test_another_objective_is_another_study_and_ndcg_is_that_of_old_ones(shop: str) -> None:
    plan = plan_of(Source(shop, COLUMNS))
    assert "objective" not in plan.identity
    assert objective_of(plan.identity) == Objective()
    other = replace(plan, settings=replace(plan.settings, objective=Objective("full_mrr", 10)))
    assert {**plan.identity, "objective": "full_mrr"} == other.identity
    assert objective_of(other.identity) == Objective("full_mrr")


def test_large_sets_have_a_sample_in_their_identity_and_old_studies_none(shop: str) -> None:
    plan = plan_of(Source(shop, COLUMNS))
    assert plan.sample is None
    assert "full_users" not in plan.identity
    few = replace(plan, settings=replace(plan.settings, full_users=10))
    assert few.n_judges > 10
    assert few.sample is not None
    assert few.sample.n_users == 10
    assert few.identity == {**plan.identity, "full_users": 10}
    other_seed = replace(few, settings=replace(few.settings, seed=1))
    assert other_seed.sample != few.sample
    assert few.begun_as(None).settings == few.settings
    unrounded = {key: value for key, value in few.identity.items() if key != "digits"}
    assert plan.identity["digits"] == 3
    assert few.begun_as(unrounded).identity == unrounded
    assert few.begun_as(few.identity).sample == few.sample
    old = few.begun_as(plan.identity)
    assert old.sample is None
    assert old.identity == plan.identity
    task = few.task(0, plan.experiment.defaults, np.random.SeedSequence(0))
    assert task.sample == few.sample
