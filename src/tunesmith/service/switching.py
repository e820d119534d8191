"""Versions that come and go under traffic: loaded beside, tried, switched to between two requests, drained, let go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.access.names import path_below
from tunesmith.errors import ArtifactError, TunesmithError, UntrustedError
from tunesmith.inference.signed import see_signed
from tunesmith.service.engine import Engine
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.room import MOST_VERSIONS, see_room
from tunesmith.service.sharing import Sharing
from tunesmith.service.versions import Registry, Served, Version, read_version

DRAIN_SECONDS = 60.0
"""How long a version that nobody comes to any more is held for the requests that it has."""


class SwitchWatcher(Protocol):
    """What hears of versions that come and go."""

    def loaded(self, version: Version) -> None:
        """A version can be asked from now on, by its id."""

    def switched(self, served: Served, seconds: float) -> None:
        """Who answers what is so from now on."""

    def released(self, version: Version) -> None:
        """A version was let go."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Which versions may be loaded by request.

    Attributes:
        root: the folder that holds them, as ROOT/MODEL/VERSION; None lets nothing be loaded.
        most: versions of one model that may be loaded at once.
        trusted: the keys of which one must have signed a version; None asks for no signature.
    """

    root: Path | None = None
    most: int = MOST_VERSIONS
    trusted: TrustedKeys | None = None


class Switch:
    """What changes who answers.

    Attributes:
        admission: which versions may be loaded by request.
        sharing: which versions are held beside a base model that others share.
    """

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        watcher: SwitchWatcher,
        admission: Admission | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.admission = admission or Admission()
        self.sharing = sharing or Sharing()
        self._engine = engine
        self._registry = registry
        self._watcher = watcher
        self._lock = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    async def begin(self, versions: Sequence[Version], beside: Sequence[Version] = ()) -> None:
        """Load what is served from the start, and the models that guards ask."""
        for version in map(self.sharing.placed, beside):
            await self._engine.load(version.slot)
            self._registry.beside.append(version)
        for version in map(self.sharing.placed, versions):
            began = time.monotonic()
            await self._engine.load(version.slot)
            self._registry.add(version)
            self._watcher.switched(self._registry[version.model], time.monotonic() - began)

    async def load(self, name: str, folder: str) -> Version:
        """Load a version from ROOT/NAME/FOLDER beside what answers; nobody is answered by it yet.

        Raises:
            NoAnswerError: there is no root, no such version, it is refused, or has no room; the traffic is as before.
        """
        served, rules = self._registry[name], self.admission
        if rules.root is None:
            raise NoAnswerError("no_root")
        place = path_below(rules.root, name, folder, kind="version")
        async with self._lock:
            try:
                found = await asyncio.to_thread(read_version, place, name=name, trusted=rules.trusted)
                version = self.sharing.placed(found)
                if version.id in served.held:
                    return served.held[version.id]
                if version.schema != served.champion.schema:
                    raise NoAnswerError(
                        "not_loaded", detail="its answers mean something else (another task or labels)."
                    )
                see_room(version, served, rules.most, self._engine.copies)
                await self._engine.load(version.slot)
            except NoAnswerError:
                raise
            except UntrustedError as error:
                raise NoAnswerError("untrusted", detail=error.what) from error
            except TunesmithError as error:
                raise NoAnswerError("not_loaded", detail=error.what) from error
            served.held[version.id] = version
            self._watcher.loaded(version)
            return version

    async def promote(self, name: str, version: str, instead_of: str = "") -> Version:
        """Let a loaded version answer all requests from now on.

        The one before is kept for rolling back; the one before that is let go once its requests are answered.

        Raises:
            NoAnswerError: it is not loaded, the champion is not the one in whose place it shall be put, or no trusted
                key has signed what now lies in its folder, from which a worker that ends would load it again; the
                traffic is as before.
        """
        if self.admission.trusted is not None:
            loaded = held(self._registry[name], version)
            await asyncio.to_thread(_see_signed_still, loaded, self.admission.trusted)
        return await self._changed(name, lambda served: _promote(served, held(served, version), instead_of))

    async def roll_back(self, name: str, version: str = "") -> Version:
        """Let the version before answer again; nothing changes where the one that is named answers already.

        Raises:
            NoAnswerError: there is none, or another one is named.
        """
        return await self._changed(name, lambda served: _roll_back(served, version))

    async def canary(self, name: str, version: str, share: float, beside: str = "") -> Version:
        """Let a loaded version answer a share of the requests; none with a share of 0, which needs no version.

        Raises:
            NoAnswerError: it is not loaded, or the champion is not the one beside which it shall answer.
        """
        return await self._changed(name, lambda served: _canary(served, version, share, beside))

    async def shadow(self, name: str, version: str) -> Version:
        """Ask a loaded version beside the one that answers; none with an empty version."""
        return await self._changed(name, lambda served: _shadow(served, version))

    async def unload(self, name: str, version: str) -> Version:
        """Let go of a loaded version that has no part, once its requests are answered.

        Raises:
            NoAnswerError: it is not loaded, or has a part, or was given one before its requests were answered.
        """
        served = self._registry[name]
        loaded = held(served, version)
        if loaded.id in served.used:
            raise NoAnswerError("in_use")
        await self._drain(served, loaded)
        if loaded.id in served.used:
            raise NoAnswerError("in_use")
        return served.champion

    async def _changed(self, name: str, change: Callable[[Served], None]) -> Version:
        began = time.monotonic()
        async with self._lock:
            served = self._registry[name]
            before = served.roles
            change(served)
            self._watcher.switched(served, time.monotonic() - began)
            gone = {before["champion"], before["previous"]} - served.used
            for version in [one for one in served.held.values() if one.id in gone]:
                task = asyncio.create_task(self._drain(served, version))
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)
            return served.champion

    async def _drain(self, served: Served, version: Version) -> None:
        """Let go of a version once its requests are answered, or have had their time; not if it is called back."""
        until = time.monotonic() + DRAIN_SECONDS
        while version.id not in served.used:
            if not _is_busy(served, version, until):
                async with self._lock:
                    if version.id in served.used or served.held.get(version.id) is not version:
                        return
                    if not _is_busy(served, version, until):
                        del served.held[version.id]
                        await self._engine.unload(version.slot.name)
                        self._watcher.released(version)
                        return
            await asyncio.sleep(0.02)


def _is_busy(served: Served, version: Version, until: float) -> bool:
    return served.asked.get(version.id, 0) > 0 and time.monotonic() < until


def held(served: Served, version: str) -> Version:
    """A version that is loaded.

    Raises:
        NoAnswerError: it is not.
    """
    if version not in served.held:
        raise NoAnswerError("unknown_version")
    return served.held[version]


def _see_signed_still(version: Version, trusted: TrustedKeys) -> None:
    try:
        sha256, _ = see_signed(version.slot.folder, trusted)
    except ArtifactError as error:
        raise NoAnswerError("untrusted", detail=error.what) from error
    if sha256 != version.sha256:
        raise NoAnswerError("untrusted", detail="The artifact was replaced after it was loaded.")


def _see_champion(served: Served, champion: str) -> None:
    if champion and served.champion.id != champion:
        raise NoAnswerError("champion_changed")


def _promote(served: Served, version: Version, instead_of: str) -> None:
    _see_champion(served, instead_of)
    if version is served.champion:
        return
    served.previous, served.champion = served.champion, version
    if served.canary is version:
        served.canary, served.share = None, 0.0
    if served.shadow is version:
        served.shadow = None


def _roll_back(served: Served, version: str) -> None:
    if version and version == served.champion.id:
        return
    if served.previous is None:
        raise NoAnswerError("no_previous")
    if version and version != served.previous.id:
        raise NoAnswerError("not_previous")
    served.champion, served.previous = served.previous, served.champion


def _canary(served: Served, version: str, share: float, beside: str) -> None:
    _see_champion(served, beside)
    named = held(served, version) if version or share > 0 else None
    served.canary, served.share = (named, share) if share > 0 else (None, 0.0)


def _shadow(served: Served, version: str) -> None:
    served.shadow = held(served, version) if version else None
