"""Whether a version is known to be better than the champion, of versions that are planted."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from ncf.protocol.intervals import Difference
from ncf.tracking import comparison
from ncf.tracking.gate import Judgement, judge

NO_CLIENT = cast(MlflowClient, None)
BETTER = Difference(0.02, 0.01, 0.03, 0.0002)
NOTHING = Difference(0.001, -0.004, 0.006, 0.7)
WORSE = Difference(-0.02, -0.03, -0.01, 0.0002)


def version(number: int, value: float, **tags: str) -> ModelVersion:
    known = {
        "validation_ndcg_10": f"{value}",
        "fitted_on": "train + validation",
        "fingerprint": "f",
        "protocol": "p",
        **tags,
    }
    tags_of = [ModelVersionTag(*tag) for tag in known.items()]  # type: ignore[no-untyped-call]
    return ModelVersion("m", str(number), 0, tags=tags_of)


def judged(
    monkeypatch: pytest.MonkeyPatch, found: Difference | Exception, new: ModelVersion
) -> tuple[Judgement, list[Any]]:
    """Returns what comes of version 1, of .5, and what was asked of the comparison."""
    asked: list[Any] = []

    def difference(_: MlflowClient, *arguments: Any) -> tuple[Difference, int]:
        asked.extend(arguments[2:])
        if isinstance(found, Exception):
            raise found
        return found, 943

    monkeypatch.setattr(comparison, "difference", difference)
    old = version(1, 0.5, **({"fitted_on": "train"} if new.tags["fitted_on"] == "train" else {}))
    return judge(NO_CLIENT, old, new), asked


def test_validation_decides_and_test_may_only_object(monkeypatch: pytest.MonkeyPatch) -> None:
    better, worse = version(2, 0.51), version(2, 0.49)
    judgement, asked = judged(monkeypatch, NOTHING, better)
    assert asked == ["test", "ndcg_10"]
    assert judgement == Judgement(
        "",
        "validation nDCG@10 of version 1 is 0.5000, of version 2 0.5100; on test, over the "
        "same 943 users and candidates, nDCG@10 of version 2 less that of version 1 is +0.0010 "
        "[-0.0040, +0.0060], which establishes no difference",
    )
    judgement, _ = judged(monkeypatch, BETTER, better)
    assert judgement.objection == ""
    assert judgement.in_words.endswith("so that version 2 is better there")
    judgement, _ = judged(monkeypatch, WORSE, better)
    assert judgement.objection == "test finds version 1 better"
    assert judgement.in_words.endswith("[-0.0300, -0.0100], so that version 1 is better there")
    judgement, _ = judged(monkeypatch, BETTER, worse)  # test makes nothing better
    assert judgement.objection == "validation nDCG@10 of version 1 is 0.5000, of version 2 0.4900"


def test_models_of_trials_are_scored_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = judged(monkeypatch, NOTHING, version(2, 0.51, fitted_on="train"))
    assert asked == ["validation", "ndcg_10"]


def test_what_cannot_be_scored_is_said_and_validation_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judgement, _ = judged(monkeypatch, ValueError("its study is old"), version(2, 0.51))
    assert judgement.objection == ""
    assert judgement.evidence == (
        "both could not be scored on the same candidates (its study is old)"
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (
            {"fitted_on": "train"},
            "version 1 was fitted on train + validation, version 2 on train, so that to",
        ),
        (
            {"protocol": "seed 1"},
            "protocol of version 1 is 'p', of version 2 'seed 1', so that the two",
        ),
        (
            {"fingerprint": "g"},
            "fingerprint of version 1 is 'f', of version 2 'g', so that the two",
        ),
    ],
    ids=["fitted on", "protocol", "data"],
)
def test_what_is_unfair_or_of_other_data_is_refused(tags: dict[str, str], reason: str) -> None:
    judgement = judge(NO_CLIENT, version(1, 0.5), version(2, 0.6, **tags))
    assert reason in judgement.objection
    assert judgement.evidence == ""
