"""Data that several test files share: made from a seed, with tastes planted in it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads cost more than such small steps

import numpy as np
import pytest
from hypothesis import settings

from ncf.interactions import Interactions, from_columns
from ncf.messages import TrialData
from ncf.sampling import draw_candidates
from ncf.splitting import Split, leave_one_out

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
settings.load_profile("quick")

N_GROUPS = 4


def planted(n_users: int, n_items: int, seed: int) -> Interactions:
    """Returns interactions of users in four taste groups, nine in ten with their group's items.

    User u and item i are of groups u % 4 and i % 4. Items of a group are equally popular, so that
    only the taste tells them apart. About a quarter of each group's items are touched by a user.
    Timestamps are random and often equal.
    """
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(n_users):
        is_own = np.arange(n_items) % N_GROUPS == user % N_GROUPS
        weights = np.where(is_own, 0.9 / is_own.sum(), 0.1 / (~is_own).sum())
        n = max(4, n_items // 10)
        users.append(np.full(n, user))
        items.append(rng.choice(n_items, n, replace=False, p=weights))
    timestamps = rng.integers(0, 50, sum(map(len, items)))
    return from_columns("planted", np.concatenate(users), np.concatenate(items), timestamps)


@pytest.fixture(scope="session")
def split() -> Split:
    """Planted tastes of 160 users and 80 items, split."""
    return leave_one_out(planted(160, 80, seed=1))


@pytest.fixture(scope="session")
def trial_data(split: Split) -> TrialData:
    """What a trial is handed of `split`, with 40 negatives a user."""
    whole, held_out = split.whole, split.validation
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 40, seed=2
    )
    return TrialData(split.train, held_out, candidates)
