"""Random numbers of compiled code: the same from the same seed, on any machine.

They are SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), 32 bits of each mapped to [0, bound) by
multiply and shift (Lemire, TOMACS 2019); a value's probability is off by less than one part in
2^32 / bound. A kernel holds a state, adds `GOLDEN` to it before each draw, and maps it to a number.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def shuffle(values: NDArray[np.int64], seed: int) -> None:
    """Puts values in a uniformly random order, in place (Fisher-Yates, faster than numpy's).

    Args:
        values: (E,) contiguous.
        seed: Any 64-bit integer; equal seeds give equal orders.
    """
    _shuffle(values, splitmix_state(seed))


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Returns a contiguous view that cannot be written.

    Numba compiles once per argument type, and a read-only array, such as a memory map, is a type
    of its own. Seen through this, all arrays are one type.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def splitmix_state(seed: int) -> np.uint64:
    """Returns a seed, any integer, as the first state of the compiled random numbers."""
    return np.uint64(seed & 0xFFFFFFFFFFFFFFFF)


@njit(cache=True)
def random_bits(state: np.uint64) -> Any:
    """Maps a SplitMix64 state to 64 random bits."""
    z = (state ^ (state >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def random_below(state: np.uint64, bound: int) -> Any:
    """Maps a SplitMix64 state to [0, bound)."""
    return np.int64(((random_bits(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True)
def _shuffle(values: NDArray[np.int64], state: np.uint64) -> None:
    for k in range(len(values) - 1, 0, -1):
        state += GOLDEN
        j = random_below(state, k + 1)
        values[k], values[j] = values[j], values[k]
