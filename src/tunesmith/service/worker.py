"""A model worker: a process that holds predictors and answers whole batches, one at a time.

It hears of everything over one socket and ends when that is closed, so no worker outlives its front. One thread reads
the socket, and models are loaded beside the answering, on threads of their own; only one asks them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import ArtifactError, TunesmithError
from tunesmith.inference.adapters import Bases
from tunesmith.inference.artifact import MANIFEST, file_hash
from tunesmith.inference.predictor import Predictor
from tunesmith.service.answering import StoppedError, answered, written
from tunesmith.service.engine import Slot
from tunesmith.service.frames import packed, receive
from tunesmith.service.spare_memory import SpareMemory
from tunesmith.service.trial import see_alike, tried

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TunesmithError,
    TypeError,
    ValueError,
)
"""What an input can make a model fail with. Each is told by its name alone, since messages may hold what was read."""


class Worker:
    """Predictors by the name of their slot, and the socket over which they are asked."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._predictors: dict[str, Predictor] = {}
        self._bases = Bases(fetch=False)
        self._changing = threading.Lock()
        self._asked: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._unwanted: set[int] = set()
        self._spare = SpareMemory()

    def run(self) -> None:
        """Answer until the front is gone."""
        threading.Thread(target=self._read, daemon=True).start()
        while (message := self._asked.get()) is not None:
            try:
                if message["do"] == "write":
                    self._write(message)
                else:
                    predictor = self._predictors[message["slot"]]
                    self._send({"id": message["id"], **answered(predictor, message["questions"])})
            except FAILURES as error:
                self._send({"id": message["id"], "failure": told(error)})
            self._spare.hand_back()  # the answer is out

    def end(self, error: BaseException | None) -> bool:
        """End at once, for a reason that no input should be; the front is told what and where, and no message."""
        self._send({"id": -1, "ends": told(error) if error is not None else "unknown"})
        os._exit(70)

    def _read(self) -> None:
        while (message := receive(self._channel)) is not None:
            kind = message["do"]
            if kind == "load":
                threading.Thread(target=self._load, args=(message,), daemon=True).start()
            elif kind == "unload":
                threading.Thread(target=self._unload, args=(message,), daemon=True).start()
            elif kind == "stop":
                self._unwanted.add(message["of"])
            else:
                self._asked.put(message)
        self._asked.put(None)

    def _write(self, message: Mapping[str, Any]) -> None:
        number = message["id"]
        try:
            done = written(
                self._predictors[message["slot"]],
                message["question"],
                lambda part: self._send({"id": number, "part": part}),
                lambda: number not in self._unwanted,
            )
        except StoppedError:
            done = {"failure": "stopped"}
        self._unwanted.discard(number)
        self._send({"id": number, **done})

    def _load(self, message: Mapping[str, Any]) -> None:
        slot = Slot.of(message)
        try:
            _check_same(slot.folder, slot.sha256)
            with self._changing:
                self._predictors[slot.name], facts = self._tried(slot)
        except TunesmithError as error:
            self._send({"id": message["id"], "refused": [error.what, error.where, error.to_do]})
            return
        except FAILURES as error:
            what = f"The model could not be loaded, or fails on plain text: {told(error)}."
            self._send({"id": message["id"], "refused": [what, message["folder"], "Train or export it again."]})
            return
        self._send({"id": message["id"], "facts": facts})

    def _tried(self, slot: Slot) -> tuple[Predictor, Mapping[str, Any]]:
        """What answers for a slot, and what is known of it; nothing is held of it where it is refused."""
        if not slot.base:
            predictor = Predictor.load(slot.folder, backend=slot.backend)
            return predictor, tried(predictor)
        try:
            predictor = self._bases.load(slot.name, slot.folder)
            facts = tried(predictor)
            see_alike(predictor, Predictor.load(slot.folder))
        except FAILURES:
            self._bases.let_go(slot.name)
            raise
        return predictor, facts

    def _unload(self, message: Mapping[str, Any]) -> None:
        with self._changing:
            self._predictors.pop(message["slot"], None)
            self._bases.let_go(message["slot"])
        self._send({"id": message["id"]})

    def _send(self, message: Mapping[str, object]) -> None:
        with self._sending, contextlib.suppress(ConnectionError):
            self._channel.sendall(packed(message))


def _check_same(folder: Path, sha256: str) -> None:
    """Refuse an artifact that is not the one that the front read: changed since, or another one on this machine.

    Raises:
        ArtifactError: it is missing, or its manifest is another one.
    """
    found = file_hash(folder / MANIFEST) if (folder / MANIFEST).is_file() else "none"
    if sha256 and found != sha256:
        raise ArtifactError(
            f"The worker finds another artifact than the front: {found[:12]} instead of {sha256[:12]}.",
            where=str(folder),
            to_do="Put the same artifact at the same path of every machine: a shared volume, or a part of the image.",
        )


def told(error: BaseException) -> str:
    """What an error is and where it rose; its message may hold what was read, and is left out."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    return f"{type(error).__name__}{where}"


def work(channel: socket.socket, threads: int) -> None:
    """Be a model worker with so many threads; the program of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the front ends its workers once the last answer is out
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(2, 1)  # the front counts what is written to standard error, and shows none of it
    torch.set_num_threads(threads)
    channel.setblocking(True)
    worker = Worker(channel)
    threading.excepthook = lambda told_of: worker.end(told_of.exc_value)
    with contextlib.ExitStack() as stack:
        stack.push(lambda _, error, __: worker.end(error) if error is not None else False)
        worker.run()
