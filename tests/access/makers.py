"""Key stores, clocks and tokens for the tests of access."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tunesmith.access.key_store import KeyStore
from tunesmith.access.keys import Key
from tunesmith.access.principal import Limits


@dataclass
class Time:
    """A clock that is moved by hand."""

    at: datetime = field(default_factory=lambda: datetime(2026, 1, 1, 12, 30, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.at

    def move(self, **amount: float) -> None:
        self.at += timedelta(**amount)


@dataclass
class Watch:
    """A monotonic clock that is moved by hand."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


def store(folder: Path, now: Time | None = None) -> KeyStore:
    return KeyStore(folder / "state", now or Time())


def key_in(keys: KeyStore, *scopes: str, hours: float | None = 24) -> tuple[Key, str]:
    lifetime = None if hours is None else timedelta(hours=hours)
    return keys.create(scopes or ("predict",), Limits(1000, 10), name="test", by="ana", lifetime=lifetime)


def unsigned(header: dict, claims: dict, signature: str = "") -> str:
    """A token by hand, for what no library signs."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims)]
    return ".".join([*parts, signature])
