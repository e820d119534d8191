"""The story of a run with texts without labels: a supervised model, its students, and which of them is promoted.

A student takes the supervised model's place only where no alarm fired and it is not below it on validation.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tunesmith import pipeline, run_folder
from tunesmith.data.dataset import Loaded
from tunesmith.data.records import Example, Prediction, Splits
from tunesmith.errors import CheckpointError, TunesmithError
from tunesmith.evaluation.intervals import Comparison, compare
from tunesmith.evaluation.report import RunReport
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import add_file, read_description
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import count_parameters
from tunesmith.pipeline import Result, finish, rehearse
from tunesmith.preparation import Prepared, prepare_checked, stop_at_errors
from tunesmith.redacted_data import load_data
from tunesmith.reporting import summary, write_report
from tunesmith.scoring import Measure
from tunesmith.scoring.choosing import chosen_by
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.semi_supervision import Alarm, Judged, LabelledOnly, Survey, Teaching
from tunesmith.semi_supervision.pseudo_labels import class_of
from tunesmith.tasks import Task
from tunesmith.training.tracking import announce
from tunesmith.writing import refused, written

SUPERVISED = "supervised"
STUDENTS = "students"
TOLD = "semi_supervision.json"


@dataclass(frozen=True)
class Seen:
    """A trained model, its answers to the validation examples and to the texts without labels, and the signs."""

    name: str
    result: Result
    task: Task
    answers: Sequence[Prediction]
    survey: Survey
    alarms: tuple[Alarm, ...]

    @property
    def fired(self) -> list[Alarm]:
        """The signs that lie beyond their limits."""
        return [alarm for alarm in self.alarms if alarm.fired]

    def plain(self) -> dict[str, object]:
        """All of it as plain values."""
        return {"name": self.name, "folder": self.result.folder.name, **self.survey.plain()} | {
            "alarms": [asdict(alarm) for alarm in self.alarms]
        }


@dataclass(frozen=True)
class Verdict:
    """Which model is promoted, and why; `comparison` is of the student with the supervised model, if there was one."""

    promotes_student: bool
    sentence: str
    comparison: Comparison | None


def run(
    experiment: Experiment, folder: str | Path | None = None, *, overwrite: bool = False, quiet: bool = False
) -> Result:
    """Do everything that the recipe says, in a new folder; see `pipeline.run`.

    With texts without labels the folder holds the supervised run and those of the students beside the artifact of the
    model that was promoted. A supervised run that is there already from the same recipe and data is gone on with.

    Raises:
        RecipeError: the folder is in use by an earlier run (and `overwrite` is not set) or by anything else.
        TunesmithError: whatever is wrong with the data, the model or the machine.
    """
    use = experiment.semi_supervision
    if not isinstance(use, Teaching):
        return pipeline.run(experiment, folder, overwrite=overwrite, quiet=quiet)
    place = run_folder.of(experiment.name, folder)
    run_folder.vet(place, overwrite=overwrite)
    loaded = load(experiment)
    prepared = prepare_checked(experiment, loaded.splits, loaded.findings)
    stop_at_errors(prepared.findings)
    model = rehearse(experiment, prepared)
    kept = SUPERVISED if is_known(place / SUPERVISED, supervised(experiment), prepared) else ""
    parameters, learning = count_parameters(model)
    chain = run_folder.room_for_chain(parameters, experiment.compress)
    size = (2 + use.rounds) * run_folder.room_for(parameters, learning) + chain
    run_folder.begin(place, experiment.to_yaml(), size, overwrite=overwrite, keep=kept)
    return promoted(experiment, use, loaded, place, quiet=quiet)


def resume(folder: str | Path, *, quiet: bool = False) -> Result:
    """Go on with a run that was interrupted, to the result that it would have had.

    Raises:
        CheckpointError: the folder holds no run, a part of one, or its checkpoint belongs to other data.
    """
    place = run_folder.existing(folder)
    experiment = Experiment.from_yaml(place / run_folder.RECIPE)
    use = experiment.semi_supervision
    if not isinstance(use, Teaching):
        return pipeline.resume(folder, quiet=quiet)
    if place.absolute().parent.name == STUDENTS:
        raise CheckpointError(
            "This student is a part of a run.",
            where=str(place),
            to_do=f"Resume the whole: {place.absolute().parent.parent}",
        )
    return promoted(experiment, use, load(experiment), place, quiet=quiet)


def load(experiment: Experiment) -> Loaded:
    """Read the recipe's data."""
    return load_data(experiment.data, experiment.task, experiment.seed)


def supervised(experiment: Experiment) -> Experiment:
    """The same recipe without the texts that have no labels."""
    data = replace(experiment.data, unlabelled="", unlabelled_limit=0)
    return replace(experiment, data=data, semi_supervision=LabelledOnly())


def is_known(place: Path, experiment: Experiment, prepared: Prepared) -> bool:
    """Whether a folder holds a finished run of this very recipe on the same data."""
    try:
        written_there = Experiment.from_yaml(place / run_folder.RECIPE).to_mapping()
        fingerprints = read_description(place / "artifact")["data_fingerprints"]
    except TunesmithError:
        return False
    known = {name: value for name, value in prepared.fingerprints.items() if name != "unlabelled"}
    return written_there == experiment.to_mapping() and fingerprints == known


def promoted(experiment: Experiment, use: Teaching, loaded: Loaded, place: Path, *, quiet: bool) -> Result:
    """Train the supervised model and its students, promote one of them, and report."""
    splits = loaded.splits
    labels_only = replace(loaded, splits=replace(splits, unlabelled=()))
    first = trained(supervised(experiment), labels_only, place / SUPERVISED, quiet=quiet)
    seen = [look(SUPERVISED, first, experiment, use, splits, ())]
    tell(seen[-1], quiet=quiet)
    for number in range(1, use.rounds + 1):
        examples = seen[-1].survey.examples
        if seen[-1].fired or (use.learns_from_answers and not examples):
            break
        taught = replace(loaded, splits=replace(splits, train=[*splits.train, *examples]))
        name = f"student-{number}"
        student = trained(experiment, taught, place / STUDENTS / name, quiet=quiet)
        seen.append(look(name, student, experiment, use, splits, seen[0].answers))
        tell(seen[-1], quiet=quiet)
    verdict = judged(seen, splits.validation, experiment.seed, experiment.training.metric)
    chosen = seen[-1] if verdict.promotes_student else seen[0]
    report = told(experiment, seen, chosen.result.report, verdict)
    put(chosen, place)
    write_report(report, place)
    plain = json.dumps(
        {
            "promoted": chosen.name,
            "verdict": verdict.sentence,
            "validation": None if verdict.comparison is None else asdict(verdict.comparison),
            "models": [one.plain() for one in seen],
        },
        indent=2,
        ensure_ascii=False,
    ).replace("NaN", "null")
    with written(place / TOLD) as file:
        file.write(plain)
    add_file(place / "artifact", TOLD, plain)
    return Result(place, report)


def trained(experiment: Experiment, loaded: Loaded, place: Path, *, quiet: bool) -> Result:
    """A run in a folder of its own: made, or gone on with."""
    prepared = prepare_checked(experiment, loaded.splits, loaded.findings)
    stop_at_errors(prepared.findings)
    model = rehearse(experiment, prepared)
    if not (place / run_folder.RECIPE).is_file():
        run_folder.begin(place, experiment.to_yaml(), run_folder.room_for(*count_parameters(model)), overwrite=False)
    if not quiet:
        line, *_ = summary(experiment, prepared, *count_parameters(model), model.quantized)
        announce([f"{place.name}: {line}"])
    return finish(experiment, prepared, model, place, quiet=quiet)


def look(
    name: str,
    result: Result,
    experiment: Experiment,
    use: Teaching,
    splits: Splits,
    before: Sequence[Prediction],
) -> Seen:
    """Ask a trained model about the validation examples and the texts without labels.

    `before` are the supervised model's answers to the validation examples, for its students. What the supervised model
    makes of the texts is a sign only where its answers become labels.
    """
    predictor = Predictor.load(result.artifact)
    answers = predictor.predict(splits.validation)
    right = [predictor.task.is_correct(*pair) for pair in zip(splits.validation, answers, strict=True)]
    texts = Judged(splits.unlabelled, predictor.predict(splits.unlabelled))
    survey = use.surveyed(splits.train, texts, Judged(splits.validation, answers, right), name)
    labelled: dict[str, int] = {}
    for example in splits.train:
        labelled[class_of(example.label)] = labelled.get(class_of(example.label), 0) + 1
    alarms: list[Alarm] = []
    if before or use.learns_from_answers:
        limits = experiment.alarms
        alarms += limits.on_share(sum(survey.confident.values()), survey.texts, survey.right)
        alarms += limits.on_classes(labelled, survey.confident)
        if before:
            alarms.append(limits.on_agreement([one.label for one in answers], [one.label for one in before]))
    return Seen(name, result, predictor.task, answers, survey, tuple(alarms))


def tell(seen: Seen, *, quiet: bool) -> None:
    """Say what a model makes of the texts, on standard error."""
    if not quiet:
        announce(said_of(seen))


def said_of(seen: Seen) -> list[str]:
    """What a model makes of the texts, and every sign, with the numbers."""
    survey = seen.survey
    confident = sum(survey.confident.values())
    limits = ", ".join(
        f"{name} {'none' if math.isinf(value) else f'{value:.3f}'}" for name, value in survey.thresholds.items()
    )
    counted = f"{_counted(survey.confident)}; thresholds: {limits}"
    lines = [f"{seen.name}: {confident:,} of {survey.texts:,} texts without labels are answered surely ({counted})."]
    if survey.examples:
        lines.append(f"{seen.name}: {len(survey.examples):,} of them become examples ({_counted(survey.kept)}).")
    signs = [("ALARM" if alarm.fired else "no alarm", alarm.message) for alarm in seen.alarms]
    return [*lines, *(f"{seen.name}: {sign}: {message}" for sign, message in signs)]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def judged(seen: Sequence[Seen], validation: Sequence[Example], seed: int, metric: str = "") -> Verdict:
    """Whether the last student is promoted: no alarm fired, and it is not below the supervised model.

    `metric` is what the recipe chooses by; empty for the task's own.
    """
    first, last = seen[0], seen[-1]
    comparison = None
    if last is not first:
        comparison = compare(measure(last, validation, metric), measure(first, validation, metric), seed=seed)
    fired = [(one.name, alarm) for one in seen for alarm in one.fired]
    if fired:
        name, alarm = fired[0]
        more = f" (and {len(fired) - 1} more)" if len(fired) > 1 else ""
        return Verdict(
            False, f"The supervised model stays, since an alarm fired. {name}: {alarm.message}{more}", comparison
        )
    if comparison is None:
        return Verdict(False, "The supervised model stays, since none of its answers became a label.", None)
    gap = comparison.difference
    numbers = (
        f"on {len(validation):,} validation examples its {comparison.name} is {comparison.a:.4f}, the supervised "
        f"model's {comparison.b:.4f}; paired difference {gap.value:+.4f}, 95 % interval {gap.low:+.4f} to "
        f"{gap.high:+.4f} ({comparison.verdict})."
    )
    better = gap.value if measure(first, validation, metric).higher_is_better else -gap.value
    if not better >= 0:  # nor where it is not a number
        return Verdict(False, f"The supervised model stays, since the student is below it: {numbers}", comparison)
    return Verdict(True, f"The student is promoted, since it is not below the supervised model: {numbers}", comparison)


def measure(seen: Seen, validation: Sequence[Example], metric: str) -> Measure:
    """What models are chosen by on the validation examples; that there is such a metric was seen before training."""
    task = seen.task
    measures = with_worst_subgroup(task.measures(validation, seen.answers), task.metric, validation)
    return chosen_by(measures, metric, task.metric)


def told(experiment: Experiment, seen: Sequence[Seen], report: RunReport, verdict: Verdict) -> RunReport:
    """The report of the promoted model as that of the whole run, with the cost of all models."""
    costs = [one.result.report.cost for one in seen]
    energies = [cost.energy_wh for cost in costs if cost.energy_wh is not None]
    cost = replace(
        report.cost,
        seconds_training=sum(cost.seconds_training for cost in costs),
        seconds_total=sum(cost.seconds_total for cost in costs),
        seconds_preparing=sum(cost.seconds_preparing for cost in costs),
        energy_wh=sum(energies) if energies else None,
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs),
    )
    said = (verdict.sentence, *(line for one in seen for line in said_of(one)))
    return replace(report, name=experiment.name, settings=experiment.to_yaml(), cost=cost, promotion=said)


def put(chosen: Seen, place: Path) -> None:
    """Copy what the chosen model left into the folder of the whole run.

    Raises:
        ResourceError: the disk is full.
    """
    source, artifact = chosen.result.folder, place / "artifact"
    with refused(place, to_do="Free disk space and run: tunesmith resume."):
        draft = place / ".artifact-draft"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source / "artifact", draft)
        shutil.rmtree(artifact, ignore_errors=True)
        draft.rename(artifact)
        for name in ("predictions.jsonl", "log.jsonl"):
            if (source / name).is_file():
                shutil.copyfile(source / name, place / name)
