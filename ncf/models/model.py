"""What every model keeps to."""

from __future__ import annotations


def require(holds: bool, rule: str, value: object) -> None:
    """Raises a ValueError that states the rule and the value, where the rule does not hold."""
    if not holds:
        raise ValueError(f"`{rule}` must hold, but got {value!r}")
