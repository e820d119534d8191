"""`tunesmith serve` with faults built in: texts with certain words make front and workers fail, and libraries chatter.

python -m tests.service.planted serve ARTIFACT ...
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.cli import main
from tunesmith.service import answering, local, worker
from tunesmith.service.line import Line
from tunesmith.service.questions import texts_of

answered, measured = answering.answered, Line.measured


class Panic(BaseException):
    """What a library written in Rust raises: no Exception."""


def chatter(text: str) -> None:
    """Say a text in every way in which libraries do."""
    sys.stderr.write(f"{text}\n")
    os.write(2, f"thread panicked at 'byte index 1 is no boundary of `{text}`'\n".encode())
    warnings.warn(text, stacklevel=1)
    logging.getLogger("some.library").warning("It met %s", text)
    logging.getLogger("some.library").error("It met %r", ValueError(text))
    logging.getLogger("some.library").error(f"It met {text}")  # noqa: G004


def faulty_answered(predictor: Any, questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for question in questions:
        for text in texts_of(question):
            if "chatter" in text:
                chatter(text)
            if "fails" in text:
                raise ValueError(text)
            if "panics" in text:
                raise Panic(text)
            if "kills" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "aborts" in text:
                os.write(2, text.encode())
                os.abort()
    return answered(predictor, questions)


def faulty_measured(line: Line, version: Any, questions: Sequence[Mapping[str, Any]]) -> Any:
    for question in questions:
        for text in texts_of(question):
            if "chatter" in text:
                chatter(text)
            if "unhandled" in text:
                asyncio.get_running_loop().create_task(forgotten(text))
                raise KeyError(text) from ValueError(text)
            if "front panics" in text:
                raise Panic(text)
    return measured(line, version, questions)


async def forgotten(text: str) -> None:
    raise ValueError(text)


def faulty_work(channel: socket.socket, threads: int) -> None:
    vars(worker)["answered"] = faulty_answered
    worker.work(channel, threads)


if __name__ == "__main__":
    from tests.service import planted

    vars(local)["_work"] = planted.faulty_work
    Line.measured = faulty_measured  # type: ignore[method-assign, assignment]
    main()
