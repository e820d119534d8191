"""Who answers under a name, changed by those who may: by a verb, past the golden examples, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool, with_config

from tunesmith.access.audit import AuditLog
from tunesmith.access.principal import Principal
from tunesmith.service.promotion_gate import Figures, PromotionGate
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.switching import Switch, held
from tunesmith.service.versions import Registry, Served, Version

VERBS = ("load", "promote", "rollback", "canary", "shadow", "unload")
"""What can be changed."""
BODILESS = frozenset({"rollback"})
"""Verbs that need nothing, so that their body may be empty."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Change:
    """What is to change about who answers under a name.

    Attributes:
        version: for `load` the folder ROOT/MODEL/version; for all others the id that `load` answered. `rollback` needs
            none; one that it names must be the version before, or answer already.
        share: for `canary` the share of requests, in [0, 1]; 0 ends it.
        force: for `promote` and `canary`: do not ask the golden examples; the audit log says so.
    """

    version: str = ""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    force: StrictBool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of it: the version that was changed, and what it showed on golden examples, where it was asked."""

    version: Version
    figures: Figures = field(default_factory=dict)


_Way = Callable[[Principal, str, str, Change], Awaitable[Changed]]
"""A way to change something: by whom, under which name, by which verb."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes who answers.

    Attributes:
        audit: where it is written down; None for nowhere.
    """

    switch: Switch
    registry: Registry
    gate: PromotionGate
    audit: AuditLog | None = None

    async def make(self, who: Principal, name: str, verb: str, change: Change) -> Changed:
        """Change who answers under a name; the audit log says who did, and who was refused by golden examples.

        What changes nothing, as a request that is sent again, has no line there.

        Raises:
            NoAnswerError: there is no such verb, model or version; or golden examples speak against the version.
        """
        served = self.registry[name]
        asked = name in self.gate.goldens and (verb == "promote" or (verb == "canary" and _gains(served, change)))
        if not asked:
            return await self._noted(who, name, verb, change, self._plainly)
        held(served, change.version)  # what is not there waits for nobody
        if change.force:
            return await self._noted(who, name, verb, change, self._by_force)
        async with self.gate.turn(name):
            return await self._noted(who, name, verb, change, self._past_gate)

    async def _noted(self, who: Principal, name: str, verb: str, change: Change, way: _Way) -> Changed:
        """Change it in some way; what was changed is compared with what was there when its turn came."""
        served = self.registry[name]
        before, loaded = served.roles, dict(served.held)
        changed = await way(who, name, verb, change)
        named = loaded.get(change.version or str(before.get(verb)))
        version = changed.version if verb in {"load", "rollback"} else named
        if verb not in {"load", "unload"}:
            is_change = served.roles != before
        else:
            is_change = version is not None and (version.id in loaded) != (version.id in served.held)
        if is_change:
            told = {"version": version.id, "folder": version.slot.folder.name} if version else {}
            await self._record(who, f"model.{verb}", name, before, {**served.roles, **told, **changed.figures})
        return changed

    async def told(self, name: str) -> Mapping[str, object]:
        """What is told of a model's golden examples; nothing where it has none."""
        if name not in self.gate.goldens:
            return {}
        return {"golden": {**self.gate.goldens[name].plain, "looks": await self.gate.looks(name)}}

    async def _plainly(self, _: Principal, name: str, verb: str, change: Change) -> Changed:
        return Changed(await self._done(name, verb, change))

    async def _by_force(self, _: Principal, name: str, verb: str, change: Change) -> Changed:
        return Changed(await self._done(name, verb, change), {"golden": self.gate.goldens[name].sha256, "forced": True})

    async def _past_gate(self, who: Principal, name: str, verb: str, change: Change) -> Changed:
        served = self.registry[name]
        version, champion = held(served, change.version), served.champion
        figures: Figures = {"golden": self.gate.goldens[name].sha256}
        if version is champion:
            return Changed(await self._done(name, verb, change))
        judge = self.gate.figures if verb == "promote" else self.gate.canary_figures
        try:
            figures = await judge(name, served, champion, version)
            return Changed(await self._done(name, verb, change, champion.id), figures)
        except NoAnswerError as error:
            tried = {**figures, **error.figures, "version": version.id, "refused": error.code}
            await self._record(who, f"model.{verb}.refused", name, {"champion": champion.id}, tried)
            raise

    async def _record(self, who: Principal, what: str, name: str, before: Figures, after: Figures) -> None:
        if self.audit is not None:
            await asyncio.to_thread(self.audit.append, who.id, what, name, before=before, after=after)

    async def _done(self, name: str, verb: str, change: Change, beside: str = "") -> Version:
        """Change it; where the champion is named beside which it was judged, only beside that one."""
        switch = self.switch
        if verb == "load":
            return await switch.load(name, change.version)
        if verb == "promote":
            return await switch.promote(name, change.version, beside)
        if verb == "rollback":
            return await switch.roll_back(name, change.version)
        if verb == "canary":
            if change.share is None:
                detail = "a canary needs 'share', above 0 and at most 1; 0 ends it"
                raise NoAnswerError("bad_request", where="share", detail=detail)
            return await switch.canary(name, change.version, change.share, beside)
        if verb == "unload":
            return await switch.unload(name, change.version)
        if verb == "shadow":
            return await switch.shadow(name, change.version)
        raise NoAnswerError("unknown_verb", given=", ".join(VERBS))


def _gains(served: Served, change: Change) -> bool:
    """Whether a canary would answer more requests than now: then golden examples are asked."""
    is_canary = served.canary is not None and served.canary.id == change.version
    return change.share is not None and change.share > (served.share if is_canary else 0.0)
