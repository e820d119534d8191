"""Keys: `ts_<id>_<secret>`, what is kept of one, and whether a presented one is it.

A secret has 43 of 62 characters, 256 bits, so that a fast keyed hash is enough: there is nothing to guess, and a slow
hash (which passwords need) would only make a flood of wrong keys expensive to refuse.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, ConfigDict

from tunesmith.access.principal import Limits, Principal, known_scopes
from tunesmith.access.refusals import RefusedError

ID_LENGTH = 12
SECRET_LENGTH = 43
_KEY = re.compile(rf"ts_([a-z0-9]{{{ID_LENGTH}}})_([A-Za-z0-9]{{{SECRET_LENGTH}}})")
_NOBODY = "0" * 64
"""What a secret is compared with where the id is unknown, so that this takes as long as for a known one."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Former:
    """A secret that a rotation replaced: its digest, and until when it still holds."""

    digest: str
    until: AwareDatetime


@dataclass(frozen=True)
class Key:
    """What is kept of a key; of its secret nothing but HMAC-SHA-256 with the pepper, in hexadecimal.

    Attributes:
        id: the part between the underscores; no secret.
        name: what the key is for, in the words of who made it.
        expires: when it stops to hold, or None.
        former: earlier secrets, the latest first.
        revoked: since when it does not hold whatever else is said, or None.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    limits: Limits
    created: AwareDatetime
    expires: AwareDatetime | None = None
    former: tuple[Former, ...] = ()
    revoked: AwareDatetime | None = None

    def __post_init__(self) -> None:
        known_scopes(self.scopes, f"the key {self.id}")

    def admitted(self, digest: str, now: datetime) -> Principal:
        """Who presents a secret with this digest.

        Raises:
            RefusedError: it is another secret (`wrong_key`), or the right one of a key that no longer holds
                (`revoked_key`, `expired_key`). Only who has the secret is told which.
        """
        is_current = hmac.compare_digest(self.digest, digest)
        matching = [one for one in self.former if hmac.compare_digest(one.digest, digest)]
        if not is_current and not matching:
            raise RefusedError("wrong_key")
        if self.revoked is not None:
            raise RefusedError("revoked_key")
        ends = [self.expires, *(one.until for one in matching if not is_current)]
        if any(end is not None and end <= now for end in ends):
            raise RefusedError("expired_key")
        return Principal(self.id, frozenset(self.scopes), self.limits)

    def rotated(self, digest: str, now: datetime, overlap: timedelta) -> Key:
        """The key with another secret; the one before, and those before it, hold for `overlap` at most."""
        end = now + overlap
        kept = (Former(self.digest, end), *(Former(one.digest, min(one.until, end)) for one in self.former))
        return replace(self, digest=digest, former=tuple(one for one in kept if one.until > now))

    def told(self) -> dict[str, str | int | None]:
        """The key for lists and the audit log: all but digests."""
        return {
            "name": self.name,
            "scopes": ",".join(self.scopes),
            "tokens_per_minute": self.limits.tokens_per_minute,
            "requests_per_minute": self.limits.requests_per_minute,
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat() if self.expires else None,
            "former_until": max((one.until.isoformat() for one in self.former), default=None),
            "revoked": self.revoked.isoformat() if self.revoked else None,
        }


def new_id() -> str:
    """An id for a key."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(ID_LENGTH))


def new_secret(id: str) -> str:
    """A new key with this id, as it is handed out once."""
    return f"ts_{id}_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(SECRET_LENGTH))


def id_in(presented: str) -> str | None:
    """The id in a presented key, or None where it does not have the form of one."""
    found = _KEY.fullmatch(presented)
    return found[1] if found else None


def digest_of(presented: str, pepper: bytes) -> str:
    """HMAC-SHA-256 of a whole key, in hexadecimal; with the id in it a digest fits no other key."""
    return hmac.new(pepper, presented.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def compare_with_nobody(digest: str) -> None:
    """Take the time of a comparison."""
    hmac.compare_digest(_NOBODY, digest)
