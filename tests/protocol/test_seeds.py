"""Seeds against `SeedSequence.spawn`, which defines them."""

from __future__ import annotations

import numpy as np
import pytest

from ncf.protocol.seeds import Purpose, spawn, spawn_int


def state(seed: np.random.SeedSequence) -> tuple[int, ...]:
    return tuple(seed.generate_state(4).tolist())


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("number", [0, 1, 49])
def test_a_seed_is_the_child_that_numpy_would_spawn(purpose: Purpose, number: int) -> None:
    child = np.random.SeedSequence(42).spawn(len(Purpose))[purpose].spawn(number + 1)[number]
    assert state(spawn(42, purpose, number)) == state(child)


def test_study_seed_purpose_and_number_each_make_another_seed() -> None:
    seeds = {
        state(spawn(study_seed, purpose, number))
        for study_seed in range(3)
        for purpose in Purpose
        for number in range(20)
    }
    assert len(seeds) == 3 * len(Purpose) * 20


def test_integers_have_32_bits_and_differ_as_the_seeds_do() -> None:
    integers = [spawn_int(0, purpose, n) for purpose in Purpose for n in range(40)]
    assert all(type(integer) is int and 0 <= integer < 2**32 for integer in integers)
    assert len(set(integers)) == len(integers)
    assert max(integers) >= 2**31  # all of the bits are used


def test_seeds_outlive_the_process() -> None:
    """A study that is continued by another version must find the same seeds."""
    assert [purpose.value for purpose in Purpose] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert spawn_int(0, Purpose.TRIAL, 0) == 2377455350
    assert spawn_int(7, Purpose.SAMPLER, 12) == 2658954647
