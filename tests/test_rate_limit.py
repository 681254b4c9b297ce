"""A limit of so many a minute, with a clock that the test turns."""

from lemma_train.llm.rate_limit import RateLimit


def sent_within(limit: RateLimit, seconds: float, amount: float) -> int:
    """How many requests of `amount` start in that time, each as soon as it may."""
    now, sent = 0.0, 0
    while (now := now + limit.wait(amount, now)) < seconds:
        limit.take(amount, now)
        sent += 1
    return sent


def test_a_minute_gets_its_allowance_and_no_burst():
    assert sent_within(RateLimit(600, now=0.0), 60.0, 1) in (600, 601)
    assert sent_within(RateLimit(600, now=0.0), 0.05, 1) == 1
    assert sent_within(RateLimit(60_000, now=0.0), 0.01, 1) < 120


def test_a_request_larger_than_the_bucket_is_let_through_and_paid_off():
    limit = RateLimit(6000, now=0.0)  # 100 a second
    assert limit.wait(500, 0.0) == 0.0
    limit.take(500, 0.0)
    assert 4.9 < limit.wait(500, 0.0) <= 5.0
    assert sent_within(RateLimit(6000, now=0.0), 60.0, 500) in (12, 13)


def test_what_was_taken_too_much_is_given_back():
    limit = RateLimit(6000, now=0.0)
    limit.take(500, 0.0)
    limit.take(-495, 0.0)
    assert limit.wait(1, 0.0) == 0.0
    limit.take(-10_000, 0.0)
    limit.take(10, 0.0)
    assert limit.wait(1, 0.0) > 0.0, "more was given back than the bucket holds"


def test_no_limit_never_waits():
    limit = RateLimit(None, now=0.0)
    limit.take(10**9, 0.0)
    assert limit.wait(10**9, 0.0) == 0.0
