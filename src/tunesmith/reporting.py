"""What a run says of itself: before training what it will do, afterwards every split judged and the report written."""

from __future__ import annotations

import json
from pathlib import Path

from tunesmith.data.records import Splits
from tunesmith.evaluation.page import render
from tunesmith.evaluation.report import (
    HistoryPoint,
    RunReport,
    SplitReport,
    evaluate_split,
    metrics_json,
    without_texts,
)
from tunesmith.evaluation.results import write_predictions
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import add_file
from tunesmith.inference.parity import Parity
from tunesmith.inference.predictor import Predictor
from tunesmith.models.quantization import NAMES, Quantized
from tunesmith.preparation import Prepared
from tunesmith.scoring.calibration import is_limit
from tunesmith.tasks import Task
from tunesmith.training.fitting import Fitted
from tunesmith.training.run_log import read_log
from tunesmith.writing import written

FEW = 50
"""Validation examples below which a fitted temperature says little."""


def summary(
    experiment: Experiment, prepared: Prepared, parameters: int, learning: int, quantized: Quantized | None = None
) -> list[str]:
    """What is about to be done, an example of what a language model learns, and every warning about the data."""
    sizes = ", ".join(f"{len(examples):,} {name}" for name, examples in prepared.splits.named().items())
    done = f"{experiment.name}: {sizes or 'no examples'}; {learning:,} of {parameters:,} parameters learn."
    warnings = [finding.message for finding in prepared.findings if finding.severity == "warning"]
    shown = [
        " ".join((finding.message, *finding.examples))
        for finding in prepared.findings
        if finding.code == "example_shown"
    ]
    held = [described(quantized)] if quantized else []
    return [done, *held, *shown, *(f"warning: {message}" for message in warnings)]


def described(quantized: Quantized) -> str:
    """What quantising did to the frozen weights, in numbers that were measured."""
    before, after = quantized.bytes_before / 1e6, quantized.bytes_after / 1e6
    return (
        f"In training {quantized.layers} linear layers hold their weights in {NAMES[quantized.kind]}: the body takes "
        f"{after:,.1f} MB instead of {before:,.1f} MB, and they differ from the pre-trained weights by "
        f"{100 * quantized.error:.2f} % (norm of the difference relative to their norm)."
    )


def notes(
    fitted: Fitted, task: Task, splits: Splits, quantized: Quantized | None = None, *, judges_test: bool = True
) -> tuple[str, ...]:
    """What a reader of the figures should know beside them."""
    trained = fitted.examples_per_second > 0  # not when a run is resumed after its last step
    said = [f"{100 * fitted.padding_share:.1f} % of the tokens computed in training were padding."] if trained else []
    has_steps = fitted.progress.step > 0
    if fitted.averaged_from is not None:
        said.append(averaged(fitted, fitted.averaged_from))
    if not has_steps:
        said.append("No step was made, since the method leaves no weight of this model open to learning.")
    if len(splits.test) and not judges_test:
        said.append(
            f"The {len(splits.test):,} test examples were compared with the training texts, and no model has answered "
            "them (evaluation.test: false): 'tunesmith evaluate' does."
        )
    if not len(splits.validation) and not (len(splits.test) and judges_test):
        said.append("Nothing was evaluated, since there are no examples with labels to judge by: give data.test.")
    if len(splits.validation):
        chosen = [] if fitted.progress.best_step is None else [f"the checkpoint (step {fitted.progress.best_step})"]
        if task.temperature != 1:
            chosen.append(f"the temperature of its probabilities ({task.temperature:.2f})")
        if has_steps and fitted.progress.best_step is None:
            said.insert(0, "The validation metric was never a number, so the weights of the last step were kept.")
        if chosen:
            said.insert(0, f"Validation chose {' and '.join(chosen)}, so its own figures flatter; test is the judge.")
        if task.temperature != 1 and len(splits.validation) < FEW:
            said.append(f"Confidences are uncertain: their temperature is from {len(splits.validation)} examples only.")
        if is_limit(task.temperature):
            said.append("The temperature is at its limit: the model's scores tell little of how sure an answer is.")
    if quantized:
        said.append(
            f"{described(quantized)} The artifact holds them dequantised, as they were evaluated: it takes the memory "
            "of a plain model, and needs no bitsandbytes."
        )
    return tuple(said)


def averaged(fitted: Fitted, first: int) -> str:
    """Whether what is served is an average of weights, in words."""
    served = fitted.progress.best_step or fitted.progress.step
    if served < first:
        return f"The weights are those of step {served}; averaging would have begun after it, at step {first}."
    return f"What was validated, saved and judged is the average of the weights from step {first} to step {served}."


def judge(served: Predictor, prepared: Prepared, folder: Path, experiment: Experiment) -> tuple[SplitReport, ...]:
    """Evaluate the artifact on every split that it did not learn from; on test only if the recipe says so."""
    reports = []
    for name in ("validation", "test") if experiment.evaluation.test else ("validation",):
        examples = prepared.splits.named().get(name, ())
        if examples:
            predictions = served.predict(examples)
            reports.append(
                evaluate_split(
                    name,
                    served.task,
                    examples,
                    predictions,
                    seed=experiment.seed,
                    resamples=experiment.evaluation.resamples,
                )
            )
            write_predictions(folder / "predictions.jsonl", name, examples, predictions, append=len(reports) > 1)
    return tuple(reports)


def write_report(report: RunReport, folder: Path) -> None:
    """Write metrics.json and report.html, and put both into the artifact, where the page quotes no text of the data."""
    metrics = json.dumps(metrics_json(report), indent=2, ensure_ascii=False)
    page = render(report)
    for name, content in (("metrics.json", metrics), ("report.html", page)):
        with written(folder / name, to_do="Free disk space and run: tunesmith resume.") as file:
            file.write(content)
    add_file(folder / "artifact", "metrics.json", metrics)
    add_file(folder / "artifact", "report.html", render(without_texts(report)))


def history(log: Path, metric: str) -> tuple[HistoryPoint, ...]:
    """The learning curve, read from the log."""
    measured = {entry["step"]: entry["metrics"][metric] for entry in read_log(log) if entry["event"] == "validation"}
    return tuple(
        HistoryPoint(
            step=entry["step"],
            epoch=entry["epoch"],
            loss=entry["loss"],
            learning_rate=entry["learning_rate"],
            validation=measured.get(entry["step"]),
        )
        for entry in read_log(log)
        if entry["event"] == "step"
    )


def describe(proof: Parity) -> str:
    """The reload check in one sentence."""
    return f"Reloaded in a fresh process: the logits of {proof.texts} texts differ by {proof.largest_difference:g}."
