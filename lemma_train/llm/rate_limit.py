"""A limit of so many a minute, kept smoothly.

Enters: how many a minute, and what is taken when. Leaves: how long to wait. It does not sleep, and knows no clock but
the times that it is given.
"""


class RateLimit:
    """A bucket that fills evenly and holds at most a tenth of a second's worth, so that nothing goes in a burst.

    It may go below zero: one request larger than what it holds is let through when the bucket is full, and its debt is
    waited off by the next.

    Args:
        per_minute: the allowance; None is no limit. now: any clock in seconds, the same for all calls.

    Example:
        >>> limit = RateLimit(60, now=0.0)
        >>> limit.take(1, now=0.0)
        >>> limit.wait(1, now=0.25)
        0.75
    """

    def __init__(self, per_minute: float | None, now: float):
        self._per_second = per_minute / 60 if per_minute else 0.0
        self._holds = max(1.0, self._per_second / 10)
        self._level = self._holds
        self._filled_at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 is at once."""
        if not self._per_second:
            return 0.0
        self._fill(now)
        return max(0.0, min(amount, self._holds) - self._level) / self._per_second

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, which may be negative: what was taken too much before is given back."""
        if self._per_second:
            self._fill(now)
            self._level = min(self._holds, self._level - amount)

    def _fill(self, now: float) -> None:
        self._level = min(self._holds, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
