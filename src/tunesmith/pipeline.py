"""The whole story of a run, top to bottom: data, checks, model, training, artifact, proof, evaluation, report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from tunesmith import run_folder
from tunesmith.bodies import load_backbone
from tunesmith.data.records import Example, Finding
from tunesmith.data.splits import spread
from tunesmith.data.subgroups import Subgroups
from tunesmith.enlarging import without_judges
from tunesmith.errors import DataError, RecipeError, TunesmithError
from tunesmith.evaluation.report import Cost, RunReport
from tunesmith.experiment import Experiment
from tunesmith.inference.adapters import learnt_weights
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.parity import prove_reload
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.machine import EnergyMeter, has_bf16, peak_memory_bytes
from tunesmith.models.anatomy import enable_gradient_checkpointing
from tunesmith.models.model import Model, count_parameters
from tunesmith.models.quantization import dequantize, quantize
from tunesmith.preparation import Prepared, prepare, stop_at_errors
from tunesmith.redacted_data import redaction_of
from tunesmith.reporting import describe, history, judge, notes, summary, write_report
from tunesmith.scoring.subgroups import worst_names
from tunesmith.training.batching import StepPlan
from tunesmith.training.checkpoint import Progress
from tunesmith.training.dropout import use_bit_dropout
from tunesmith.training.fitting import Fitted, Fitting, Folders, Validation
from tunesmith.training.loop import Learner, Material, Scheduled
from tunesmith.training.objectives.memory import memory_of
from tunesmith.training.optimizer import Optimizer
from tunesmith.training.precision import MasterWeights
from tunesmith.training.range_test import RangeTest, range_test
from tunesmith.training.tracking import announce, check_trackers, make_accelerator
from tunesmith.unlabelled_texts import beside_of, see_texts, see_unused
from tunesmith.versions import versions
from tunesmith.writing import written


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its report."""

    folder: Path
    report: RunReport

    @property
    def artifact(self) -> Path:
        """The folder to load with `Predictor.load`."""
        return self.folder / "artifact"


def run(
    experiment: Experiment, folder: str | Path | None = None, *, overwrite: bool = False, quiet: bool = False
) -> Result:
    """Do everything that the recipe says, in a new folder (runs/<the recipe's name> if none is given).

    Raises:
        RecipeError: the folder is in use by an earlier run (and `overwrite` is not set) or by anything else; or the
            recipe uses texts without labels (see `promotion.run`).
        TunesmithError: whatever is wrong with the data, the model or the machine.
    """
    see_unused(experiment)
    place = run_folder.of(experiment.name, folder)
    run_folder.vet(place, overwrite=overwrite)
    prepared = prepare(experiment)
    stop_at_errors(prepared.findings)
    model = rehearse(experiment, prepared)
    size = run_folder.room_for(*count_parameters(model), experiment.compress)
    run_folder.begin(place, experiment.to_yaml(), size, overwrite=overwrite)
    if not quiet:
        announce(summary(experiment, prepared, *count_parameters(model), model.quantized))
    return finish(experiment, prepared, model, place, quiet=quiet)


def check(experiment: Experiment) -> tuple[Finding, ...]:
    """What is found before any training; what would stop the run before its first step is an error among it.

    Raises:
        TunesmithError: the data or the model cannot be read at all.
    """
    plain = without_judges(experiment)
    prepared = prepare(plain)
    if plain is not experiment:
        said = "Copies were not judged: the models of augmentation.judge: out_of_fold learn when the recipe is run."
        prepared = replace(prepared, findings=(*prepared.findings, Finding("not_judged", "note", said)))
    if any(finding.severity == "error" for finding in prepared.findings):
        return prepared.findings
    try:
        rehearse(experiment, prepared)
    except TunesmithError as error:
        said = f"The run cannot begin: {error.what} {error.to_do}".rstrip()
        return (*prepared.findings, Finding("cannot_begin", "error", said, 1, (error.where,) if error.where else ()))
    return prepared.findings


def resume(folder: str | Path, *, quiet: bool = False) -> Result:
    """Go on with a run that was interrupted, to the result that it would have had.

    Raises:
        CheckpointError: the folder holds no run, or its checkpoint belongs to other data.
    """
    place = run_folder.existing(folder)
    experiment = Experiment.from_yaml(place / run_folder.RECIPE)
    see_unused(experiment)
    prepared = prepare(experiment)
    stop_at_errors(prepared.findings)
    return finish(experiment, prepared, rehearse(experiment, prepared), place, quiet=quiet)


def rehearse(experiment: Experiment, prepared: Prepared) -> Model:
    """Make the model and try what a run will need at its end, before anything is written.

    Raises:
        RecipeError: the method does not fit the model, or the metric is not one of this task.
        DataError: weights shall learn, and there is nothing to learn from.
        ModelError: layers shall learn at different rates, and the model's are not known.
        MissingExtraError: a tracker is not installed.
    """
    check_trackers(experiment.trackers)
    model = make_model(experiment, prepared)
    learns = any(parameter.requires_grad for parameter in model.parameters())
    if learns and not len(prepared.splits.train):
        raise DataError(
            "There are no training examples.",
            where="data.train",
            to_do="Give data.train, or set method: none with a task that needs no training (zero-shot, prompts).",
        )
    few = samples(prepared, 4)
    Predictor(model, prepared.task, prepared.encoder).predict(few)
    if prepared.splits.named():
        choosing = prepared.task.for_choosing()
        measures = choosing.measures(few, Predictor(model, choosing, prepared.encoder).predict(few))
        if experiment.training.metric not in worst_names(choosing.metric, prepared.splits.validation):
            Validation((), (), experiment.training.metric, 0, 0).chosen(measures, choosing)
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if learning:
        experiment.training.grouping().groups(model, learning)
    elif experiment.averaging.first(1) is not None:
        raise RecipeError(
            "There are no steps to average over: no weight of this model learns.",
            where="averaging",
            to_do="Use averaging: none, or a method that learns.",
        )
    experiment.objective.check(model, prepared.task)
    see_texts(experiment, prepared)
    memory_of(experiment.objective, model, prepared.task, Subgroups.of(prepared.learning) if learning else None)
    prepared.task.settle(model, ())  # what cannot be settled is refused before anything is written
    return model


def finish(experiment: Experiment, prepared: Prepared, model: Model, folder: Path, *, quiet: bool) -> Result:
    """Train from the newest checkpoint on, save, prove, evaluate and report."""
    began, energy = time.monotonic(), EnergyMeter()
    parameters = count_parameters(model)
    fitted, tested = fit(experiment, prepared, model, folder, quiet=quiet)
    adapter = learnt_weights(model)
    experiment.method.merge(model)
    model.eval()
    predictor = calibrated(
        Predictor(model, prepared.task, prepared.encoder), prepared, enabled=experiment.evaluation.calibrate
    )
    origin = Origin(
        experiment.to_yaml(),
        prepared.fingerprints,
        prepared.backbone.identity,
        versions(),
        experiment.seed,
        cast("dict[str, object]", experiment.to_mapping()["method"]),
        experiment.model.name,
        adapter,
        experiment.model.quantize or "",
        redaction_of(experiment.data),
    )
    save_artifact(folder / "artifact", model, predictor.task, prepared.encoder, origin, prepared.backbone.prefix)
    proof = prove_reload(predictor, folder / "artifact", samples(prepared, 32))
    served = Predictor.load(folder / "artifact")
    splits = judge(served, prepared, folder, experiment)
    choosing = prepared.task.for_choosing().metric
    report = RunReport(
        name=experiment.name,
        created=time.strftime("%Y-%m-%d %H:%M:%S"),
        task_name=str(experiment.to_mapping()["task"]["name"]),  # type: ignore[index]
        main_metric=prepared.task.metric,
        splits=splits,
        history=history(folder / "log.jsonl", choosing),
        findings=prepared.findings,
        cost=Cost(
            fitted.progress.seconds,
            prepared.seconds + time.monotonic() - began,
            energy.watt_hours(),
            *parameters,
            peak_memory_bytes(),
            fitted.examples_per_second,
            prepared.seconds,
        ),
        settings=experiment.to_yaml(),
        versions=versions(),
        seed=experiment.seed,
        model_identity=prepared.backbone.identity,
        fingerprints=prepared.fingerprints,
        sizes=prepared.sizes,
        parity=describe(proof),
        learning_rate_test=tested.points if tested else (),
        notes=notes(fitted, served.task, prepared.splits, model.quantized, judges_test=experiment.evaluation.test),
        choosing_metric=choosing,
    )
    write_report(report, folder)
    return Result(folder, report)


def make_model(experiment: Experiment, prepared: Prepared) -> Model:
    """Backbone and head, the method's weights open, what stays frozen quantised where the recipe says so."""
    torch.manual_seed(experiment.seed)
    model = Model(prepared.backbone, prepared.task, experiment.model.dropout)
    if experiment.training.gradient_checkpointing:
        enable_gradient_checkpointing(model.body)
    if experiment.model.quantize:
        lacking = {name.removeprefix("body.") for name in model.lacking}
        model.quantized = quantize(model.body, experiment.model.quantize, lacking)
    model.rule = experiment.method.apply(model)
    return model


def fit(
    experiment: Experiment, prepared: Prepared, model: Model, folder: Path, *, quiet: bool
) -> tuple[Fitted, RangeTest | None]:
    """Train the model and leave the best weights in it."""
    settings = experiment.training
    accelerator = make_accelerator(experiment.trackers, folder, experiment.name, experiment.to_mapping())
    model.to(accelerator.device)
    material = Material(
        prepared.task,
        prepared.learning,
        prepared.encoded_learning,
        prepared.encoder.tokenizer.pad_token_id or 0,
        prepared.memory,
        prepared.encoder.special_ids,
        beside_of(experiment, prepared),
    )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        dequantize(model.body)
        material.settle(model)
        accelerator.end_training()
        return Fitted(Progress(finished=True), 0.0, 0.0), None
    plan = StepPlan(
        prepared.encoded_learning,
        settings.epochs,
        settings.batch_size,
        settings.accumulate,
        settings.max_tokens,
        experiment.seed,
        by_length=len(prepared.learning) <= len(prepared.splits.train),  # more than were read: pairs of a few texts
        members=material.members if settings.balance_subgroups else (),
    )
    tested = None
    peak = settings.learning_rate or experiment.method.learning_rate
    if peak == "auto":
        tested = remembered_range_test(experiment, prepared, material, plan, folder)
        peak = tested.suggestion
    learner = make_learner(experiment, model, plan.total)
    validation = Validation(
        prepared.splits.validation,
        prepared.encoded.get("validation", []),
        settings.metric,
        settings.validate_every,
        settings.patience,
    )
    folders = Folders(folder / "checkpoints", folder / "log.jsonl", run_folder.run_id(experiment, prepared))
    rate = Scheduled(float(peak), settings.rise_and_fall(), plan.total)
    fitting = Fitting(learner, material, plan, validation, prepared.encoder)
    fitted = fitting.run(rate, folders, accelerator, checkpoint_every=settings.checkpoint_every, quiet=quiet)
    accelerator.end_training()
    return fitted, tested


def make_learner(experiment: Experiment, model: Model, total: int) -> Learner:
    """The optimiser over the model's learning weights, in the precision that the recipe or the machine says."""
    settings = experiment.training
    if model.device.type == "cpu":
        use_bit_dropout(model)
    low = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16(best_device()))
    weights = MasterWeights(model, enabled=low)
    optimizer = Optimizer(model, weights.learning(), experiment.optimizer, settings.grouping())
    return Learner(
        model,
        weights,
        optimizer,
        experiment.objective,
        settings.clip,
        experiment.seed,
        total,
        experiment.averaging,
    )


def remembered_range_test(
    experiment: Experiment, prepared: Prepared, material: Material, plan: StepPlan, folder: Path
) -> RangeTest:
    """The learning-rate range test on a fresh model, done once per run and kept in learning_rate.json."""
    kept = folder / "learning_rate.json"
    if kept.is_file():
        values = json.loads(kept.read_text(encoding="utf-8"))
        return RangeTest(tuple((rate, loss) for rate, loss in values["points"]), values["suggestion"])
    throwaway = replace(prepared, findings=(), backbone=load_backbone(experiment, prepared.splits.train))
    accelerator = make_accelerator((), folder, experiment.name, {})
    model = make_model(experiment, throwaway).to(accelerator.device)
    material.settle(model)
    found = range_test(make_learner(experiment, model, plan.total), material, plan, accelerator)
    with written(kept) as file:
        json.dump({"points": found.points, "suggestion": found.suggestion}, file)
    return found


def calibrated(predictor: Predictor, prepared: Prepared, *, enabled: bool) -> Predictor:
    """The predictor with a temperature fitted on the validation split."""
    encoded = prepared.encoded.get("validation", [])
    if not enabled or not encoded:
        return predictor
    # What is fitted are probabilities, which need no text to be written.
    asked = Predictor(predictor.model, predictor.task.for_choosing(), predictor.encoder)
    task = predictor.task.calibrated(encoded, asked.logits(encoded))
    return Predictor(predictor.model, task, predictor.encoder)


def samples(prepared: Prepared, size: int) -> list[Example]:
    """Up to `size` examples to try the model on; where there is no data, the names of the labels as texts."""
    splits = prepared.splits
    named = [Example(str(number), label) for number, label in enumerate(prepared.task.labels, 1)]
    return spread(splits.validation or splits.test or splits.train or named, size)
