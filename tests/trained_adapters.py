"""Artifacts of tiny models that keep an adapter."""

from __future__ import annotations

from pathlib import Path

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps
from tunesmith.inference.adapters import learnt_weights
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.methods import METHODS
from tunesmith.models.catalogue import locate


def trained(folder: Path, base: Path, method_name: str, case: str, *, steps: int = 5, name: str = "") -> Path:
    """The artifact of a few steps of a method; it keeps an adapter where that learnt a small share of the weights."""
    task, examples = TASK_CASES[case]
    method = METHODS[method_name]()
    model, task, encoder = build_model(base, task, examples, method)
    learner = build_learner(model)
    run_steps(learner, build_material(task, encoder, examples), steps=steps, rate=1e-2)
    learner.weights.finish()
    adapter = learnt_weights(model)
    method.merge(model)
    recipe = f"name: {name or folder.name}\ntask: any\n"
    origin = Origin(recipe, {}, locate(str(base)).identity, {}, 1, {"name": method_name}, str(base), adapter)
    save_artifact(folder, model.eval(), task, encoder, origin, "")
    return folder
