"""When to come back, as servers say it."""

import email.utils
import time

import pytest

from lemma_train.llm.api_errors import retry_after


def test_the_finer_header_wins():
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert retry_after({"retry-after": " 7 "}) == 7.0


def test_a_date_counts_from_now_and_a_past_one_is_no_wait():
    assert 55 < (retry_after({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)}) or 0) <= 60
    assert retry_after({"retry-after": email.utils.formatdate(time.time() - 60, usegmt=True)}) == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "-3", "nan", "1e9"])
def test_what_is_no_time_is_left_out_of_account(text):
    assert retry_after({} if text is None else {"retry-after": text}) is None


def test_a_date_beyond_all_zones_is_no_time():
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 +99999999999999999"}) is None
