"""A consultation: the project looked at, ailments the worst first, remedies as recipes that run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from tunesmith.advice import AILMENTS, Ailment, Project, Remedy, Symptom
from tunesmith.advice.probe import make_probe, why_none
from tunesmith.advice.rehearsal import try_recipe
from tunesmith.components import build
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Finding
from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.evaluation.results import example_row
from tunesmith.experiment import Experiment
from tunesmith.preparation import prepare
from tunesmith.recipes import changed_at
from tunesmith.writing import refused, written


@dataclass(frozen=True)
class Diagnosis:
    """An ailment with its symptom, and its remedies in the order of expected effect (empty where it is not named)."""

    ailment: str
    symptom: Symptom
    remedies: tuple[Remedy, ...] = ()
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """All that was looked at, the worst first; what could not be measured; and how long it took.

    `findings` are the check's errors and warnings.
    """

    experiment: Experiment
    diagnoses: tuple[Diagnosis, ...]
    unmeasured: tuple[str, ...]
    without_probe: str
    findings: tuple[Finding, ...]
    seconds: float
    cpu_seconds: float
    splits: Mapping[str, Sequence[Example]]

    @property
    def named(self) -> tuple[Diagnosis, ...]:
        """What ails the project."""
        return tuple(one for one in self.diagnoses if one.symptom.is_named)


def advise(experiment: Experiment, ailments: Mapping[str, Ailment] | None = None) -> Advice:
    """Look at a project.

    Raises:
        TunesmithError: the data or the model cannot be read at all.
    """
    began, worked = time.monotonic(), time.process_time()
    # Copies say nothing of the project: they would stand in for labels, and confirm their sources.
    prepared = prepare(replace(experiment, augmenters=()))
    reason = why_none(prepared)
    probe, pace = (None, None) if reason else make_probe(prepared, experiment.seed)
    project = Project(experiment, prepared, probe, pace, reason)
    found, unmeasured = [], []
    for name, ailment in (ailments if ailments is not None else chosen_ailments(())).items():
        symptom = ailment.look(project)
        if symptom is None:
            unmeasured.append(name)
        elif symptom.is_named:
            found.append(_with_remedies(name, ailment, project, symptom))
        else:
            found.append(Diagnosis(name, symptom))
    found.sort(key=lambda one: -one.symptom.severity)  # stable: equal ones keep the family's order
    warnings = tuple(finding for finding in prepared.findings if finding.severity != "note")
    spent = time.monotonic() - began, time.process_time() - worked
    return Advice(experiment, tuple(found), tuple(unmeasured), reason, warnings, *spent, prepared.splits.named())


def chosen_ailments(changes: Sequence[str]) -> dict[str, Ailment]:
    """All ailments, with settings changed as by "leakage.threshold=0.02".

    Raises:
        RecipeError: an ailment or a setting is unknown, or a value is wrong.
    """
    settings: dict[str, dict[str, object]] = {name: {} for name in AILMENTS}
    for change in changes:
        path, _, value = change.partition("=")
        name, _, key = path.strip().partition(".")
        if name not in settings or not key or not value:
            raise RecipeError(
                f"'{change}' sets nothing of an ailment.",
                where="--ailment",
                to_do=f"Write NAME.threshold=NUMBER, with one of {', '.join(AILMENTS)}.",
            )
        settings[name][key] = yaml.safe_load(value)
    return {name: build(AILMENTS, {"name": name, **given}, f"--ailment {name}") for name, given in settings.items()}


def _with_remedies(name: str, ailment: Ailment, project: Project, symptom: Symptom) -> Diagnosis:
    """The remedies whose recipes can run, and why others cannot."""
    fit, unfit = [], []
    data = project.experiment.data
    lost = [key for key in ("weight", "chances", "subgroups", "unlabelled") if data.__dict__[key]]
    for remedy in sorted(ailment.remedies(project, symptom), key=lambda one: one.rank):
        if remedy.train is not None and lost:
            unfit.append(f"{remedy.name}: the training file that it needs would lose data.{lost[0]}.")
            continue
        try:
            recipe = changed(project.experiment, name, remedy)
            if remedy.changes:
                try_recipe(recipe, project)
        except TunesmithError as error:
            unfit.append(f"{remedy.name}: {error.what}")
        else:
            fit.append(remedy)
    return Diagnosis(name, symptom, tuple(fit), tuple(unfit))


def changed(experiment: Experiment, ailment: str, remedy: Remedy) -> Experiment:
    """The recipe with a remedy's changes.

    Raises:
        RecipeError: they do not fit it.
    """
    recipe = experiment.to_mapping()
    name = f"{experiment.name}-{ailment}-{remedy.name}"
    for key, value in {**remedy.changes, "name": name}.items():
        recipe = changed_at(recipe, key.split("."), value)
    return Experiment.from_mapping(recipe)


def write_recipes(advice: Advice, folder: Path) -> list[Path]:
    """Write each remedy that is a recipe, with the training examples where these change.

    The other splits are then written as they are, so that every run is judged by the same examples.

    Raises:
        ResourceError: the folder cannot be written.
    """
    with refused(folder, to_do="Choose another --out."):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    kind = advice.experiment.task.label_kind
    number = 0
    for diagnosis in advice.named:
        for remedy in diagnosis.remedies:
            if not remedy.changes and remedy.train is None:
                continue
            number += 1
            stem = f"{number:02}-{diagnosis.ailment}-{remedy.name}"
            experiment = changed(advice.experiment, diagnosis.ailment, remedy)
            if remedy.train is not None:
                files = {name: folder / f"{name}.jsonl" for name in advice.splits if name != "train"}
                for name, path in files.items():
                    _write_rows(advice.splits[name], path, kind)
                files["train"] = folder / f"{stem}.train.jsonl"
                _write_rows(remedy.train, files["train"], kind)
                experiment = replace(experiment, data=_data_of(experiment, files))
            path = folder / f"{stem}.yaml"
            with written(path) as file:
                file.write(f"# {remedy.why}\n# {remedy.basis}: {remedy.evidence}.\n{experiment.to_yaml()}")
            paths.append(path)
    return paths


def _data_of(experiment: Experiment, files: Mapping[str, Path]) -> Data:
    """The data section that names these files and draws nothing further."""
    given = {name: str(files[name].resolve()) if name in files else "none" for name in ("train", "validation", "test")}
    recipe = {**experiment.to_mapping(), "data": {**given, "accept": list(experiment.data.accept)}}
    return Experiment.from_mapping(recipe).data


def _write_rows(examples: Sequence[Example], path: Path, kind: str) -> None:
    with written(path) as file:
        file.writelines(json.dumps(example_row(example, kind), ensure_ascii=False) + "\n" for example in examples)
