"""What answers batches: model workers of this machine, or replicas elsewhere, behind one contract."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tunesmith.errors import TunesmithError

T = TypeVar("T")


class ServiceError(TunesmithError):
    """The service, or what it was given to serve, cannot go on as it was asked to."""


class WorkerLostError(ServiceError):
    """A worker ended while it had a batch; whether that was answered is not known, and it may be asked again."""


class UnanswerableError(ServiceError):
    """The model could not answer a batch; one of its inputs is to blame."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a batch was answered with.

    Attributes:
        rows: the answers as plain values, in the order of the questions.
        seconds: how long the model took.
        tokens: the tokens that were read, without padding.
        padding: the tokens of padding beside them.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: float
    tokens: int
    padding: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One version of one model, as engines know it.

    Attributes:
        name: unique among all that is loaded.
        folder: the artifact.
        backend: the form that answers; empty for the artifact's own.
        sha256: the digest of its manifest, by which other machines see that they hold the same; empty if unknown.
        base: the base model beside which its adapter is held, which other slots may share; empty holds it whole.
    """

    name: str
    folder: Path
    backend: str = ""
    sha256: str = ""
    base: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Slot:
        """The slot that `plain` told."""
        return cls(told["slot"], Path(told["folder"]), told["backend"], told["sha256"], told["base"])

    @property
    def plain(self) -> dict[str, str]:
        """What workers are told of it."""
        told = {"slot": self.name, "folder": str(self.folder), "backend": self.backend}
        return {**told, "sha256": self.sha256, "base": self.base}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer that is being written; the last one says what the whole took.

    Attributes:
        text: what was written since the part before.
        finished: "stop" or "length" with the last one, else empty.
        read, written: the tokens of question and answer, with the last one.
    """

    text: str
    finished: str = ""
    read: int = 0
    written: int = 0


class Place(Protocol):
    """The right to have one batch answered now."""

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        """Have a batch answered by what is loaded under this name.

        Raises:
            WorkerLostError: the worker ended before it answered.
            UnanswerableError: the model failed on the batch.
        """

    def write(self, slot: str, question: Mapping[str, Any]) -> AsyncGenerator[Part, None]:
        """Have an answer written, and hear of each part; closing the generator ends the writing.

        Raises:
            WorkerLostError, UnanswerableError: as above.
        """


class WorkerWatcher(Protocol):
    """What hears of workers."""

    def restarted(self, reason: str) -> None:
        """A worker ended and is started again."""

    def alive(self, workers: int) -> None:
        """So many workers are there."""


class Engine(Protocol):
    """Where models are held and batches answered."""

    @property
    def width(self) -> int:
        """How many batches can be answered at once."""

    @property
    def alive(self) -> int:
        """How many workers are there now."""

    @property
    def copies(self) -> int:
        """How many copies of each model this machine holds; 0 where that is not known."""

    async def start(self, watcher: WorkerWatcher) -> None:
        """Begin; returns once at least one worker is there. The watcher hears of workers that end."""

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        """Hold a model everywhere, beside what is held already, warmed and tried; what is known of it.

        Raises:
            ServiceError: it cannot be loaded, or its answers are no good; nothing is held of it then.
        """

    async def unload(self, name: str) -> None:
        """Let go of a model that nothing asks any more."""

    async def take(self) -> Place:
        """A place, as soon as one is free."""

    def give(self, place: Place) -> None:
        """Hand a place back."""

    def waits(self, texts: int) -> None:
        """So many texts wait for a place; an engine that grows and shrinks goes by it."""

    async def close(self) -> None:
        """End all workers."""


class Loading(Protocol):
    """A place of an engine that can be asked to load a model."""

    async def load(self, slot: Slot) -> Mapping[str, Any]:
        """Load it; what is known of it."""


async def loaded_by(places: Iterable[Loading], slot: Slot) -> Mapping[str, Any]:
    """Load a model in one place after the other; none of them stops answering meanwhile.

    A place that ends meanwhile is passed over: whatever takes its place loads what the others have.

    Raises:
        ArtifactError: one refuses it.
        ServiceError: none lived through it.
    """
    facts: Mapping[str, Any] = {}
    for place in places:
        with contextlib.suppress(WorkerLostError):
            facts = await place.load(slot)
    if not facts:
        raise ServiceError(
            "No model worker lived through loading the model.",
            where=str(slot.folder),
            to_do="See whether there is enough memory.",
        )
    return facts


async def on_thread(work: Callable[[], T]) -> T:
    """What some work on a thread returns; whoever gives it up waits for its end first, since it cannot be stopped."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait((working,))
        raise
