"""How often golden examples were looked at; each look may spend its share of the level, restarts or not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.access.audit import AuditLog

CANARY, PROMOTE, REFUSED = "model.canary", "model.promote", ".refused"
"""What the audit log calls what was done past golden examples, and how it ends where it was not."""

Pair = tuple[str, str]
"""The ids of a champion and of the version beside it."""


@dataclass(slots=True)
class _Seen:
    """What is known of some golden examples.

    Attributes:
        count: the number of the last look.
        kept: looks at a pair for a canary, which the promotion of the same version may still spend.
    """

    count: int = 0
    kept: dict[Pair, int] = field(default_factory=dict)


class Looks:
    """Numbers the looks at golden examples, which are named by the sha256 of their file, as the audit log has them.

    A canary's look and the promotion of the same version in the same champion's place are one: both read the same
    answers to the same examples, so it is one chance to get through by luck. A second promotion is a look of its own.
    """

    def __init__(self, audit: AuditLog | None) -> None:
        self._audit = audit
        self._seen: dict[str, _Seen] = {}

    async def count(self, sha256: str) -> int:
        """How often versions were judged by these examples, before the service began too."""
        return (await self._read(sha256)).count

    async def of_canary(self, sha256: str, pair: Pair) -> int:
        """The number of a look for a canary, which is kept for the promotion."""
        seen = await self._read(sha256)
        if pair not in seen.kept:
            seen.count += 1
            seen.kept[pair] = seen.count
        return seen.kept[pair]

    async def of_promotion(self, sha256: str, pair: Pair) -> int:
        """The number of a look for a promotion: the canary's, once, else the next."""
        seen = await self._read(sha256)
        if pair in seen.kept:
            return seen.kept.pop(pair)
        seen.count += 1
        return seen.count

    async def _read(self, sha256: str) -> _Seen:
        told = await asyncio.to_thread(_told, self._audit, sha256) if self._audit is not None else _Seen()
        seen = self._seen.setdefault(sha256, told)
        seen.count = max(seen.count, told.count)
        return seen


def _told(audit: AuditLog, sha256: str) -> _Seen:
    """What the audit log has of these examples."""
    found, spent = _Seen(), set()
    for record in audit.records():
        before, after, what = record.get("before"), record.get("after"), str(record.get("what"))
        if not isinstance(after, Mapping) or after.get("golden") != sha256:
            continue
        look = after.get("look")
        if not isinstance(look, int):
            continue
        found.count = max(found.count, look)
        if what.removesuffix(REFUSED) == PROMOTE:
            spent.add(look)
        elif what.removesuffix(REFUSED) == CANARY and isinstance(before, Mapping):
            found.kept[str(before.get("champion")), str(after.get("version"))] = look
    found.kept = {pair: look for pair, look in found.kept.items() if look not in spent}
    return found
