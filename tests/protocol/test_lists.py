"""Coverage of the catalogue against lists that are made one by one."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from ncf.protocol import lists
from ncf.protocol.lists import agreement, best_items, coverage
from tests.protocol.test_ranks import random_case


@pytest.mark.parametrize("k", [1, 3, 24, 30])
@pytest.mark.parametrize("seed", range(4))
def test_coverage_agrees_with_lists_by_hand(seed: int, k: int) -> None:
    case = random_case(seed)
    # no ties, of which either item could be listed
    rng = np.random.default_rng(seed)
    case.scorer.scores[:] = np.where(
        np.isfinite(case.scorer.scores), rng.random(case.scorer.scores.shape), math.nan
    )
    users = np.unique(case.held_out.users)
    listed = set()
    for user in users:
        known = {*case.seen.items[slice(*case.seen.indptr[user : user + 2])].tolist()}
        scores = case.scorer.scores[user]
        ranked = sorted(
            (i for i in range(25) if i not in known and not math.isnan(scores[i])),
            key=lambda i: -scores[i],
        )
        listed |= {*ranked[:k]}
    found = best_items(case.scorer, users, case.seen, k)
    assert coverage(found, 25) == pytest.approx(len(listed) / 25)
    assert agreement([found, found[:, ::-1], found]) == 1


def test_examples_in_the_docstrings() -> None:
    results = doctest.testmod(lists)
    assert results.attempted > 0
    assert results.failed == 0
