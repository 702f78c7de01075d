"""One study seed, spawned by purpose.

A trial's randomness depends on the study seed and the trial's number only, never on which worker
ran it, on what ran before, or on a global state.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a seed is for; the values are part of what makes a study repeatable."""

    VALIDATION_CANDIDATES = 0
    TEST_CANDIDATES = 1
    SAMPLER = 2
    TRIAL = 3
    REFIT = 4
    CONFIRMATION = 5
    BASELINE = 6
    BOOTSTRAP = 7
    FULL_USERS = 8


def spawn(study_seed: int, purpose: Purpose, number: int = 0) -> np.random.SeedSequence:
    """Returns the seed of a purpose, for `number` of it."""
    return np.random.SeedSequence(study_seed, spawn_key=(purpose, number))


def spawn_int(study_seed: int, purpose: Purpose, number: int = 0) -> int:
    """Returns the same as a 32-bit integer, for libraries that take one."""
    return int(spawn(study_seed, purpose, number).generate_state(1)[0])
