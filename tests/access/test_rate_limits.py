"""Limits of keys and of wrong keys: never more than a minute's worth and its refill, exact waits, bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.makers import Watch
from tunesmith.access.principal import Limits, Principal
from tunesmith.access.rate_limits import Buckets, FailureLimiter, RateLimiter, source_of
from tunesmith.access.refusals import RefusedError
from tunesmith.errors import TunesmithError


def asking(tokens: int = 600, requests: int = 60, id: str = "a") -> Principal:
    return Principal(id, frozenset({"predict"}), Limits(tokens, requests))


def refusal(limiter: RateLimiter, principal: Principal, tokens: int) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        limiter.take(principal, tokens)
    return caught.value


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 400)), max_size=60))
def test_no_stretch_of_time_grants_more_than_a_full_bucket_and_its_refill(asked: list[tuple[float, int]]) -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    granted: list[tuple[float, int]] = []
    for pause, tokens in asked:
        watch.at += pause
        try:
            limiter.take(asking(), tokens)
        except RefusedError:
            continue
        granted.append((watch.at, tokens))
    for first, (begin, _) in enumerate(granted):
        used = 0
        for end, tokens in granted[first:]:
            used += tokens
            assert used <= 600 + (end - begin) * 10 + 1e-6


def test_after_the_seconds_that_were_said_the_same_request_is_granted_and_not_before() -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    limiter.take(asking(), 500)
    refused = refusal(limiter, asking(), 350)
    assert (refused.code, refused.status) == ("too_many_tokens", 429)
    assert refused.numbers == {"limit": 600, "given": 350, "retry_after": 25}
    watch.at += 24.9
    assert refusal(limiter, asking(), 350).numbers["retry_after"] == 1
    watch.at += 0.1
    limiter.take(asking(), 350)


def test_requests_count_however_small_and_refused_ones_cost_nothing() -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    for _ in range(3):
        limiter.take(asking(requests=3), 0)
    for _ in range(50):
        refused = refusal(limiter, asking(requests=3), 1)
        assert (refused.code, refused.numbers) == ("too_many_requests", {"limit": 3, "retry_after": 20})
    watch.at += 20
    assert limiter.take(asking(requests=3), 0).tokens.remaining == 600, "no tokens were lost"


def test_a_request_above_the_limit_is_not_told_to_wait() -> None:
    refused = refusal(RateLimiter(Watch()), asking(), 601)
    assert (refused.code, refused.status) == ("request_above_limit", 413)
    assert "retry_after" not in refused.numbers


def test_what_is_left_stands_in_the_headers() -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    left = limiter.take(asking(), 100)
    assert (left.tokens.limit, left.tokens.remaining, left.tokens.reset) == (600, 500, 10)
    assert left.headers() == {
        "RateLimit-Policy": '"requests";q=60;w=60, "tokens";q=600;w=60',
        "RateLimit": '"requests";r=59;t=1, "tokens";r=500;t=10',
    }
    watch.at += 10
    assert limiter.left(asking()).tokens.remaining == 600


def test_tokens_that_are_written_are_paid_by_the_next_requests() -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    limiter.take(asking(), 600)
    limiter.settle(asking(), 300)
    assert limiter.left(asking()).tokens.remaining == 0
    assert refusal(limiter, asking(), 10).numbers["retry_after"] == 31
    limiter.settle(asking(), -310)
    limiter.take(asking(), 10)


def test_keys_do_not_share_and_a_clock_that_goes_back_gives_nothing() -> None:
    watch = Watch()
    limiter = RateLimiter(watch)
    limiter.take(asking(), 600)
    limiter.take(asking(id="b"), 600)
    watch.at -= 500
    assert (limiter.left(asking()).tokens.remaining, limiter.left(asking()).tokens.reset) == (0, 60)


def test_a_lower_limit_holds_at_once() -> None:
    limiter = RateLimiter(Watch())
    limiter.take(asking(tokens=600), 0)
    assert limiter.left(asking(tokens=60)).tokens.remaining == 60
    for bad in ({"tokens_per_minute": 0}, {"requests_per_minute": -1}):
        with pytest.raises(TunesmithError, match="above 0"):
            Limits(**bad)


def test_memory_is_bounded_and_what_is_forgotten_is_counted() -> None:
    buckets = Buckets(Watch(), most=100)
    for number in range(1000):
        buckets.take("first", 10, 0)
        buckets.take(str(number), 10, 1)
    assert len(buckets) == 100
    assert buckets.forgotten == 901
    assert buckets.level("999", 10) == 9
    assert buckets.level("0", 10) == 10


def test_wrong_keys_of_one_source_are_limited_and_others_are_not() -> None:
    watch = Watch()
    failures = FailureLimiter(watch, limit=5, most=50)
    for _ in range(5):
        failures.check("203.0.113.5")
        failures.note("203.0.113.5")
    with pytest.raises(RefusedError) as caught:
        failures.check("203.0.113.5")
    assert (caught.value.code, caught.value.numbers) == ("too_many_failures", {"limit": 5, "retry_after": 12})
    failures.check("203.0.113.6")
    watch.at += 12
    failures.check("203.0.113.5")
    for number in range(500):
        failures.note(f"198.51.100.{number % 250}:{number}")
    assert len(failures) == 50


def test_a_source_may_send_20_wrong_keys_in_a_minute_where_nothing_else_is_said() -> None:
    failures = FailureLimiter(Watch())
    for _ in range(20):
        failures.check("203.0.113.5")
        failures.note("203.0.113.5")
    with pytest.raises(RefusedError):
        failures.check("203.0.113.5")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix" + "x" * 100, "unix" + "x" * 60),
    ],
)
def test_a_network_that_one_customer_has_is_one_source(address: str, source: str) -> None:
    assert source_of(address) == source
