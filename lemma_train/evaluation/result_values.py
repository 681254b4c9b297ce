"""Values of a results.json, taken so that a damaged one counts as missing.

Enters: whatever stands in a JSON file. Leaves: plain numbers, or None. It reads no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LARGEST = 1e12  # no figure of an evaluation comes near it, and a picture with such a figure has no scale


@dataclass(frozen=True)
class Proportion:
    """A share between 0 and 1 with its interval; None where it could not be formed. n: trials, k: successes."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    k: float | None = None

    def __str__(self) -> str:
        """In percent, for a terminal: "36.7 [29.4, 44.6] of 150"; a dash where it has no value."""
        if self.value is None:
            return "-"
        interval = "" if self.low is None or self.high is None else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.value:.1f}{interval}" + ("" if self.n is None else f" of {self.n:,}")


def at(values: Any, *keys: str) -> Any:
    """What stands under these keys, one inside the other; None as soon as one is missing.

    Example:
        >>> at({"a": {"b": 1}}, "a", "b"), at({"a": 2}, "a", "b")
        (1, None)
    """
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def number(value: Any) -> float | None:
    """A number of a size that occurs, or None for anything else.

    Example:
        >>> number(3), number(True), number(float("nan"))
        (3.0, None, None)
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and -_LARGEST < value < _LARGEST else None


def proportion(value: Any) -> Proportion:
    """A proportion of results.json; a bare number is one without an interval. What is no share has no value.

    Example:
        >>> proportion({"value": 0.75, "low": 0.3, "high": "x", "n": 4, "k": 3})
        Proportion(value=0.75, low=None, high=None, n=4, k=3.0)
    """
    if not isinstance(value, Mapping):
        return Proportion(_share(value))
    share, low, high = (_share(value.get(key)) for key in ("value", "low", "high"))
    n, k = (number(value.get(key)) for key in ("n", "k"))
    if share is None or low is None or high is None:
        low = high = None
    return Proportion(share, low, high, int(n) if n is not None and n >= 0 else None, k)


def _share(value: Any) -> float | None:
    plain = number(value)
    return plain if plain is not None and 0 <= plain <= 1 else None
