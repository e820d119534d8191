"""A trained model made smaller: each step is measured beside the original, and undone if it costs too much."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from tunesmith import promotion, run_folder
from tunesmith.combining import Combined, paired, vet_out, write_combined
from tunesmith.components import name_of, settings_of
from tunesmith.compression import COMPRESSORS, Compressed, Compressor, Converting, Shrinking, Trained, Workshop
from tunesmith.compression_bench import Bench, opened_bench, plan_of
from tunesmith.compression_report import Chain, keep_chain, kept_chain, write_chain
from tunesmith.data.records import Splits
from tunesmith.enlarging import without_judges
from tunesmith.errors import ArtifactError
from tunesmith.evaluation.intervals import Comparison
from tunesmith.evaluation.report import SplitReport, evaluate_split
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import load_artifact, origin_of, save_artifact, seal, verify
from tunesmith.inference.learnt_golden import LEARNT
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.models.model import Model
from tunesmith.pipeline import Result
from tunesmith.preparation import encode, prepare, stop_at_errors
from tunesmith.tasks import Batch
from tunesmith.tasks.batches import cut
from tunesmith.trade_offs import Original, TradeOff, measured_before, verdict
from tunesmith.training.tracking import announce
from tunesmith.versions import versions
from tunesmith.writing import refused, written

COMPRESSED = "compressed"
"""The folder of a run's compressed artifact, beside the artifact as it was trained."""

FINISHED = "compressed.json"
"""What came of a run's chain, beside them, so that a run that is resumed again need not go through it anew."""

_MEASURED = "measured.json"
_AGAIN = "Free disk space and give the same command again."


def run(
    experiment: Experiment, folder: str | Path | None = None, *, overwrite: bool = False, quiet: bool = False
) -> tuple[Result, Chain | None]:
    """Do everything that the recipe says, in a new folder: train, and then make the model smaller where it says how.

    Raises:
        RecipeError: the folder is in use by an earlier run (and `overwrite` is not set) or by anything else.
        TunesmithError: whatever is wrong with data, model or machine, or a step that does not fit the model.
    """
    place = run_folder.of(experiment.name, folder)
    _see_fitting(experiment)
    return _with_chain(promotion.run(experiment, place, overwrite=overwrite, quiet=quiet), experiment, quiet=quiet)


def _see_fitting(experiment: Experiment) -> None:
    """See before any training that every step fits the recipe's model, as its method will leave it.

    Raises:
        TunesmithError: one does not, or what it needs is not installed.
    """
    if not experiment.compress:
        return
    prepared = prepare(without_judges(experiment))
    stop_at_errors(prepared.findings)
    model = Model(prepared.backbone, prepared.task)
    for step in experiment.compress:
        step.check(model, prepared.task)


def resume(folder: str | Path, *, quiet: bool = False) -> tuple[Result, Chain | None]:
    """Go on with a run that was interrupted, to the result that it would have had.

    Raises:
        CheckpointError: the folder holds no run, a part of one, or its checkpoint belongs to other data.
    """
    experiment = Experiment.from_yaml(run_folder.existing(folder) / run_folder.RECIPE)
    return _with_chain(promotion.resume(folder, quiet=quiet), experiment, quiet=quiet)


def _with_chain(result: Result, experiment: Experiment, *, quiet: bool) -> tuple[Result, Chain | None]:
    if not experiment.compress:
        return result, None
    out, plan = result.folder / COMPRESSED, plan_of(result.artifact, experiment)
    if (chain := _finished(result, plan)) is not None:
        return result, chain
    if out.exists():  # of the same run, but damaged, or made with other versions: its folder was new
        shutil.rmtree(out)
    chain = compress(result.artifact, out, experiment, quiet=quiet)
    keep_chain(chain, result.folder / FINISHED, plan)
    return result, chain


def _finished(result: Result, plan: str) -> Chain | None:
    """What came of the same chain before, where its artifact is still whole."""
    out = result.folder / COMPRESSED
    chain = kept_chain(result.folder / FINISHED, plan)
    try:
        verify(out)
    except ArtifactError:
        return None
    return None if chain is None else replace(chain, artifact=str(out), original=str(result.artifact))


def compress(artifact: Path, out: Path, experiment: Experiment, *, quiet: bool = False) -> Chain:
    """Make the model of an artifact smaller by the recipe's steps, and write what stood the test to `out`.

    A step below the recipe's floor is undone. What is under way lies beside `out`, so that the same command goes on
    after an interruption. The test examples are answered once, at the end, by the original and by what is left of it.

    Raises:
        ArtifactError: the artifact cannot be changed: it is an ensemble, or in another form than that of training.
        DataError: there are no validation examples to judge by, or the data is not what it was.
        ResourceError: another process compresses to the same place.
        TunesmithError: a step does not fit the model, or cannot go on.
    """
    vet_out(out)
    began = time.monotonic()
    _see_changeable(artifact, experiment.compress)
    with opened_bench(artifact, out, experiment, quiet=quiet) as bench:
        return _chained(bench, began)


def _chained(bench: Bench, began: float) -> Chain:
    """Go through the steps, and put what stood the test to its place."""
    artifact, out, experiment = bench.artifact, bench.out, bench.experiment
    original = Original.of(artifact, bench.splits.validation, experiment.seed)
    rows, left = [original.as_trade_off()], artifact
    for number, step in enumerate(experiment.compress, 1):
        place = bench.folder / f"{number}-{name_of(COMPRESSORS, step)}"
        row = measured_before(place / _MEASURED) or _made(step, place, left, bench, original)
        rows.append(row)
        left = place / "artifact" if row.stands else left
        if not bench.quiet:
            announce([f"{row.name}: {row.why}"])
    made = bench.folder / "made" / out.name  # beside `out`, where it appears whole: with its reports
    _put(left, made, bench)
    chain = _judged(made, bench, original, tuple(rows), began)
    with refused(out, to_do=_AGAIN):
        made.replace(out)
    shutil.rmtree(bench.folder, ignore_errors=True)  # another process may just try to lock it
    return chain


def _see_changeable(artifact: Path, steps: Sequence[Compressor]) -> None:
    """See that an artifact can be made smaller, and that every step fits its model as it is now.

    Raises:
        ArtifactError: it is an ensemble, or in another form than that of training.
        TunesmithError: a step does not fit.
    """
    description = verify(artifact)
    unfit = {
        "ensemble": "is an ensemble",
        "method": "has weights of a method that were not merged",
        "weights": "holds its weights in few bits",
    }
    for key, what in unfit.items():
        if description.get(key):
            raise ArtifactError(
                f"The artifact {what}, which no step can make smaller.",
                where=str(artifact),
                to_do="Compress the artifact of a single run, such as one with method: full or lora.",
            )
    if description.get("form", "torch") != "torch":  # absent in artifacts that were written before there were forms
        raise ArtifactError(
            f"The artifact is in the form '{description['form']}', which no step can change.",
            where=str(artifact),
            to_do="Compress the artifact that it was made of.",
        )
    loaded = load_artifact(artifact)
    for step in steps:
        step.check(loaded.model, loaded.task)


def _made(step: Compressor, place: Path, before: Path, bench: Bench, original: Original) -> TradeOff:
    """Make a step, measure what came of it, and say whether it stands."""
    began = time.monotonic()
    place.mkdir(exist_ok=True)
    workshop = bench.workshop(place, before)
    done = place / "artifact"
    shutil.rmtree(done, ignore_errors=True)  # of a step that was interrupted while it was measured
    facts: Mapping[str, object] = {}
    if isinstance(step, Shrinking):
        found = _shrunk(step, workshop, bench, done)
        facts, notes = found.facts, found.notes
    else:
        assert isinstance(step, Converting)
        notes = step.convert(before, workshop, done)
    row = original.beside(done)
    stands, why = verdict(row, original, bench.experiment.compression.floor)
    row = replace(
        row,
        name=name_of(COMPRESSORS, step),
        settings=settings_of(step),
        stands=stands,
        why=why,
        seconds=time.monotonic() - began,
        facts=facts,
        notes=notes,
    )
    with written(place / _MEASURED) as file:
        json.dump(asdict(row), file, ensure_ascii=False)
    for lesson in place.iterdir():
        if lesson.is_dir() and lesson != done:  # its checkpoints, which many would fill the disk
            shutil.rmtree(lesson)
    return row


def _shrunk(step: Shrinking, workshop: Workshop, bench: Bench, out: Path) -> Compressed:
    """Make a step in torch, settle and calibrate the model, and write it as an artifact."""
    experiment = bench.experiment
    loaded = load_artifact(workshop.before)
    loaded.model.to(best_device())
    trained = Trained(loaded.model, loaded.task, loaded.encoder, str(loaded.description["prefix"]))
    found = step.compress(trained, workshop)
    model, task, encoder = found.trained.model.eval(), found.trained.task, found.trained.encoder
    task.settle(model, _memory(found.trained, bench.splits))
    if experiment.evaluation.calibrate:
        encoded = [encode(task, example, encoder, is_train=False) for example in workshop.validation]
        task = task.calibrated(encoded, Predictor(model, task.for_choosing(), encoder).logits(encoded))
    origin = replace(origin_of(loaded.description, experiment.to_yaml()), versions=versions(), seed=experiment.seed)
    save_artifact(out, model, task, encoder, origin, found.trained.prefix)
    _see_reloaded(found.trained, out, workshop)
    return found


def _memory(trained: Trained, splits: Splits) -> Iterator[Batch]:
    """What the task settles by: the items, if there are any, and the training examples."""
    task, encoder = trained.task, trained.encoder
    known = [task.encode(example, encoder) for example in (*splits.items, *splits.train)]
    for part in cut(range(len(known)), known, max_examples=64, max_tokens=8192):
        yield task.collate([known[n] for n in part], encoder.tokenizer.pad_token_id or 0).to(trained.model.device)


def _see_reloaded(trained: Trained, out: Path, workshop: Workshop) -> None:
    """See that the artifact on disk is the model in memory.

    Raises:
        ArtifactError: their logits differ.
    """
    samples = list(workshop.validation[:16])
    ours, served = Predictor(trained.model, trained.task, trained.encoder), Predictor.load(out)
    for one, other in zip(ours.logits(ours.encode(samples)), served.logits(served.encode(samples)), strict=True):
        if not torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
            raise ArtifactError(
                "The compressed model reloads to other logits.", where=str(out), to_do="Report this; it is not usable."
            )


def _put(left: Path, made: Path, bench: Bench) -> None:
    """Copy the last artifact that stood, but not what was found of it, with the recipe of the chain."""
    with refused(bench.out, to_do=_AGAIN):
        shutil.rmtree(made, ignore_errors=True)  # of an interruption
        made.mkdir(parents=True)
        for path in left.iterdir():
            if path.name not in ("report.html", "metrics.json", "semi_supervision.json", LEARNT):
                (shutil.copytree if path.is_dir() else shutil.copyfile)(path, made / path.name)
        (made / "recipe.yaml").write_text(bench.experiment.to_yaml(), encoding="utf-8")
        seal(made)


def _judged(made: Path, bench: Bench, original: Original, rows: tuple[TradeOff, ...], began: float) -> Chain:
    """Answer the splits with what is left, the test examples with the original too, and write the reports."""
    served, first = Predictor.load(made), original.predictor
    task, experiment = served.task, bench.experiment
    splits: list[SplitReport] = []
    tested: tuple[Comparison, ...] = ()
    for name in ("validation", "test") if experiment.evaluation.test else ("validation",):
        examples = bench.splits.named().get(name, ())
        if not len(examples):
            continue
        answers = served.predict(examples)
        resamples = experiment.evaluation.resamples
        splits.append(evaluate_split(name, task, examples, answers, seed=experiment.seed, resamples=resamples))
        if name == "test":
            tested = paired(task, examples, answers, first.predict(examples), experiment.seed)
    chain = Chain(
        name=experiment.name,
        artifact=str(bench.out),
        original=str(bench.artifact),
        metric=task.metric,
        validation=len(bench.splits.validation),
        floor=experiment.compression.floor,
        rows=rows,
        tested=tested,
        test=splits[-1].size if tested else 0,
        higher_is_better=original.higher_is_better,
    )
    combined = Combined(made, bench.artifact, tuple(splits), tested, chain.plain(), chain.notes())
    write_combined(combined, task, "compression", chain.parameters, began)
    write_chain(chain, made, task.label_kind)
    return chain
