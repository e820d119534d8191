"""A workshop over tiny models: examples, and a teacher that makes a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.builders import build_learner, build_material, build_model, run_steps
from tunesmith.compression import Lesson, Trained, Workshop
from tunesmith.data.records import Example
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.tasks import Task

ORIGIN = Origin("{}", {}, "tiny", {}, 1, {"name": "full"})


def trained_model(folder: Path, task: Task, examples: Sequence[Example], steps: int = 3) -> Trained:
    """A tiny model after a few steps."""
    model, prepared, encoder = build_model(folder, task, examples)
    run_steps(build_learner(model), build_material(prepared, encoder, examples), steps=steps, rate=1e-3)
    return Trained(model.eval(), prepared, encoder)


def save(trained: Trained, folder: Path) -> Path:
    """The model as an artifact."""
    save_artifact(folder, trained.model, trained.task, trained.encoder, ORIGIN, trained.prefix)
    return folder


def workshop_of(trained: Trained, examples: Sequence[Example], folder: Path, steps: int = 2) -> Workshop:
    """A workshop whose teacher makes `steps` steps for each lesson, and in whose lessons every weight learns."""

    def teach(taught: Trained, lesson: Lesson) -> None:
        lesson.objective.check(taught.model, taught.task)
        learner = replace(build_learner(taught.model, lesson.objective), total=steps)
        run_steps(learner, build_material(taught.task, taught.encoder, examples), steps=steps, rate=1e-3)
        taught.model.eval()

    original = save(trained, folder / "original")
    return Workshop(examples, examples, original, original, teach, 1)
