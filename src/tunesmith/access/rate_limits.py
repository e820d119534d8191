"""How much may be asked: buckets of tokens and of requests per key, and of wrong keys per source.

A bucket holds a minute's worth, is filled evenly, and is emptied by what is asked. It is a number and a time, and is
made when it is first needed; only so many are remembered, and how many were forgotten is counted.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tunesmith.access.principal import Principal
from tunesmith.access.refusals import RefusedError

MOST_REMEMBERED = 20_000
WRONG_KEYS_PER_MINUTE = 20
_MINUTE = 60.0

Seconds = Callable[[], float]


@dataclass
class _Bucket:
    level: float
    at: float


class Buckets:
    """Levels by name, each filled evenly up to its size within a minute.

    The one that was used longest ago is forgotten where there are more than `most`. A forgotten bucket is a full one,
    so `most` should exceed the number of keys; names must not be free for whoever asks to choose.
    """

    def __init__(self, now: Seconds = time.monotonic, most: int = MOST_REMEMBERED) -> None:
        self._now = now
        self._most = most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.forgotten = 0

    def level(self, name: str, size: float) -> float:
        """What is in a bucket now; below 0 where more was taken than there was."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return size
        passed = max(0.0, self._now() - bucket.at)
        return min(size, bucket.level + passed * size / _MINUTE)

    def take(self, name: str, size: float, amount: float) -> None:
        """Take an amount out, whether it is there or not."""
        level = self.level(name, size) - amount
        self._buckets[name] = _Bucket(level, self._now())
        self._buckets.move_to_end(name)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
            self.forgotten += 1

    def wait(self, name: str, size: float, amount: float) -> float:
        """Seconds until an amount is there; 0 where it is."""
        return max(0.0, amount - self.level(name, size)) * _MINUTE / size

    def __len__(self) -> int:
        return len(self._buckets)


@dataclass(frozen=True)
class Quota:
    """One limit of a key after a request: what it is per minute, what is left, and seconds until all is there again."""

    limit: int
    remaining: int
    reset: int


@dataclass(frozen=True)
class Allowance:
    """What is left to a key."""

    requests: Quota
    tokens: Quota

    def headers(self) -> dict[str, str]:
        """The fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
        both = (("requests", self.requests), ("tokens", self.tokens))
        return {
            "RateLimit-Policy": ", ".join(f'"{name}";q={quota.limit};w=60' for name, quota in both),
            "RateLimit": ", ".join(f'"{name}";r={quota.remaining};t={quota.reset}' for name, quota in both),
        }


class RateLimiter:
    """Limits of keys, by the tokens and the number of their requests."""

    def __init__(self, now: Seconds = time.monotonic, most: int = MOST_REMEMBERED) -> None:
        self._requests = Buckets(now, most)
        self._tokens = Buckets(now, most)

    def take(self, principal: Principal, tokens: int) -> Allowance:
        """Count one request of so many tokens; one that is refused costs nothing.

        Raises:
            RefusedError: `request_above_limit` (never possible), `too_many_requests` or `too_many_tokens`, the latter
                two with the seconds to wait (`retry_after`).
        """
        limits = principal.limits
        if tokens > limits.tokens_per_minute:
            raise RefusedError("request_above_limit", {"given": tokens, "limit": limits.tokens_per_minute})
        for_request = self._requests.wait(principal.id, limits.requests_per_minute, 1)
        for_tokens = self._tokens.wait(principal.id, limits.tokens_per_minute, tokens)
        wait = _whole_seconds(max(for_request, for_tokens))
        if wait and for_request >= for_tokens:
            raise RefusedError("too_many_requests", {"limit": limits.requests_per_minute, "retry_after": wait})
        if wait:
            numbers = {"limit": limits.tokens_per_minute, "given": tokens, "retry_after": wait}
            raise RefusedError("too_many_tokens", numbers)
        self._requests.take(principal.id, limits.requests_per_minute, 1)
        self._tokens.take(principal.id, limits.tokens_per_minute, tokens)
        return self.left(principal)

    def settle(self, principal: Principal, tokens: int) -> None:
        """Count tokens that became known afterwards, such as those written; below 0 gives some back.

        The bucket may fall below empty: the next requests then wait for it.
        """
        self._tokens.take(principal.id, principal.limits.tokens_per_minute, tokens)

    def left(self, principal: Principal) -> Allowance:
        """What is left to a key."""
        limits = principal.limits
        return Allowance(
            _quota(self._requests, principal.id, limits.requests_per_minute),
            _quota(self._tokens, principal.id, limits.tokens_per_minute),
        )


class FailureLimiter:
    """Wrong keys per source: a source that sent too many is refused unheard.

    It goes by where a request comes from and not by the key's id, since otherwise whoever knows an id could lock its
    owner out.
    """

    def __init__(
        self, now: Seconds = time.monotonic, limit: int = WRONG_KEYS_PER_MINUTE, most: int = MOST_REMEMBERED
    ) -> None:
        self._failures = Buckets(now, most)
        self._limit = limit

    def check(self, source: str) -> None:
        """Go on only with a source that may still fail.

        Raises:
            RefusedError: it may not (`too_many_failures`).
        """
        wait = _whole_seconds(self._failures.wait(source_of(source), self._limit, 1))
        if wait:
            raise RefusedError("too_many_failures", {"limit": self._limit, "retry_after": wait})

    def note(self, source: str) -> None:
        """Count a wrong key."""
        self._failures.take(source_of(source), self._limit, 1)

    def __len__(self) -> int:
        return len(self._failures)


@lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """The network that stands for an address: IPv6 by its first 64 bits, which one customer has, IPv4 by all of it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _quota(buckets: Buckets, name: str, limit: int) -> Quota:
    level = buckets.level(name, limit)
    return Quota(limit, max(0, math.floor(level)), _whole_seconds((limit - level) * _MINUTE / limit))


def _whole_seconds(seconds: float) -> int:
    # A rounding error of the buckets is no reason to wait a second.
    return math.ceil(seconds - 1e-9) if seconds > 1e-9 else 0
