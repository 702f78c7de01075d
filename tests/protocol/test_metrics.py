"""Metrics of a rank against scikit-learn's, which sorts scores, and by hand."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (  # type: ignore[import-untyped]
    label_ranking_average_precision_score,
    ndcg_score,
    top_k_accuracy_score,
)

from ncf.protocol import metrics
from ncf.protocol.metrics import Objective, hit_ratio, ndcg, reciprocal_rank, summarize

N_CANDIDATES = 21


def scores_of(rank: int) -> tuple[NDArray[np.float64], int]:
    """Returns distinct scores of the candidates and the place of the positive, of this rank."""
    scores = np.random.default_rng(rank).permutation(N_CANDIDATES).astype(np.float64)
    return scores, int(np.flatnonzero(scores == N_CANDIDATES - rank)[0])


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_agrees_with_scikit_learn(k: int) -> None:
    for rank in range(1, N_CANDIDATES + 1):
        scores, positive = scores_of(rank)
        relevance = np.zeros(N_CANDIDATES)
        relevance[positive] = 1
        ranks = np.array([rank], np.int32)
        assert ndcg(ranks, k)[0] == pytest.approx(ndcg_score([relevance], [scores], k=k))
        assert hit_ratio(ranks, k)[0] == top_k_accuracy_score(
            [positive], [scores], k=k, labels=np.arange(N_CANDIDATES)
        )
        if rank <= k:  # with one positive, average precision is the reciprocal rank
            assert reciprocal_rank(ranks, k)[0] == pytest.approx(
                label_ranking_average_precision_score([relevance], [scores])
            )
        else:
            assert reciprocal_rank(ranks, k)[0] == 0


def test_by_hand() -> None:
    ranks = np.array([1, 2, 3, 10, 11], np.int32)
    assert hit_ratio(ranks, 10).tolist() == [1, 1, 1, 1, 0]
    assert ndcg(ranks, 10) == pytest.approx([1, 1 / math.log2(3), 0.5, 1 / math.log2(11), 0])
    assert reciprocal_rank(ranks, 10) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 10, 0])


def test_rank_eleven_is_no_hit_at_ten() -> None:
    assert summarize(np.array([11], np.int32), 10) == {
        "hit_ratio_10": 0.0,
        "ndcg_10": 0.0,
        "mrr_10": 0.0,
    }


def test_summary_is_the_mean_over_users_under_the_logged_names() -> None:
    ranks = np.array([1, 4, 2, 9], np.int32)
    summary = summarize(ranks, 3)
    assert summary == {
        "hit_ratio_3": pytest.approx(0.5),
        "ndcg_3": pytest.approx((1 + 1 / math.log2(3)) / 4),
        "mrr_3": pytest.approx(1.5 / 4),
    }
    assert all(type(value) is float for value in summary.values())  # as JSON and MLflow want them


def test_examples_in_the_docstrings() -> None:
    results = doctest.testmod(metrics)
    assert results.attempted > 0
    assert results.failed == 0


def test_an_objective_is_one_metric_of_either_kind() -> None:
    for metric in metrics.OBJECTIVES:
        objective = Objective(metric, 5)
        value = objective.value({f"{metric}_5": 0.25})
        assert (value, objective.is_full) == (0.25, metric.startswith("full_"))
        assert not objective.sampled.is_full
        assert objective.label.endswith(objective.sampled.label)
    with pytest.raises(ValueError, match="--objective recall: known are ndcg, hit_ratio, "):
        Objective("recall")
