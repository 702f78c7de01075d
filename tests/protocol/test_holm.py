"""Holm's correction against a case worked by hand and against his procedure as he wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncf.protocol.intervals import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def rejected(p_values: list[float], level: float) -> set[int]:
    """Returns what Holm rejects: from the smallest on, until one is too large for those left."""
    found: set[int] = set()
    for index in sorted(range(len(p_values)), key=lambda one: p_values[one]):
        if p_values[index] * (len(p_values) - len(found)) > level:
            break
        found.add(index)
    return found


def test_a_case_worked_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 1 x 0.04, which is not below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.04]) == [0.04]
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@given(P_VALUES, st.floats(0, 0.99))
def test_what_is_at_most_the_level_is_what_he_rejects(p_values: list[float], level: float) -> None:
    corrected = holm(p_values)
    assert {index for index, p in enumerate(corrected) if p <= level} == rejected(p_values, level)


@given(P_VALUES)
def test_it_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, corrected, strict=True))
    pairs = sorted(zip(p_values, corrected, strict=True))
    assert [p for _, p in pairs] == sorted(corrected)
