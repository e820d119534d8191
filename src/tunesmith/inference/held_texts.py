"""What of the data's own texts an artifact holds by design, said in its description, by `run` and by `serve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from tunesmith.models.scratch import SCRATCH
from tunesmith.tasks import Task
from tunesmith.tasks.ranges import HELD

HELD_TEXTS = "holds_texts"
"""The key of artifact.json; an artifact of an earlier version has none, and may hold a report that quotes texts."""
PIECES = "a tokenizer whose pieces were learnt from the training texts"


def held_texts(task: Task, model_name: str) -> list[str]:
    """What a prepared task, and a model of this name, hold of the texts that they were made of; empty for nothing.

    A field of a task that keeps texts says so in its metadata, under `HELD`.
    """
    held = [
        str(one.metadata[HELD]) for one in fields(cast("Any", task)) if HELD in one.metadata and task.__dict__[one.name]
    ]
    return held + [PIECES] * (model_name in (SCRATCH,))


def held_in(description: Mapping[str, object]) -> Sequence[str]:
    """What an artifact says of the texts that it holds."""
    return cast("Sequence[str]", description.get(HELD_TEXTS) or ())


def texts_in(description: Mapping[str, object]) -> str:
    """The same in a sentence; empty for none."""
    held = held_in(description)
    return f"The artifact holds texts of its data by design: {'; '.join(held)}." if held else ""
