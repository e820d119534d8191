"""The mean of the weights of several runs as one model: greedy soups."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.combining import Combined, artifacts_of, held_out, paired, vet_out, write_combined
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError, DataError
from tunesmith.evaluation.intervals import Comparison
from tunesmith.evaluation.report import evaluate_split
from tunesmith.inference.artifact import (
    WEIGHTS,
    Loaded,
    file_hash,
    load_artifact,
    need_torch,
    origin_of,
    read_description,
    save_artifact,
    verify,
    with_shared,
)
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.learnt_from import Source, note_sources
from tunesmith.preparation import encode
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.tasks import Batch, Task
from tunesmith.tasks.batches import cut
from tunesmith.training.fitting import Validation

_ALIKE = {
    "schema_sha256": "labels",
    "base_model": "pre-trained model",
    "pooling": "pooling",
    "prefix": "prefix",
    "max_length": "window",
    "method": "method's added weights",
    "quantized": "quantisation",
}


@dataclass(frozen=True)
class Ingredient:
    """A run, its validation metric alone, and that of the soup with it (nan for the first); whether it was kept.

    A metric that should be low has a minus before it.
    """

    artifact: Path
    alone: float
    together: float
    kept: bool


def make_soup(runs: Sequence[Path], out: Path) -> Combined:
    """Average the weights of runs greedily (Wortsman et al. 2022, recipe 1) and judge the result.

    Runs are taken in the order of their validation metric, and one is kept where validation does not fall. Nothing of
    the test split is looked at before the soup is made.

    Raises:
        ArtifactError: a run is damaged, or its body, task or start is another than the first one's.
        DataError: the runs have no validation split in common.
    """
    began = time.monotonic()
    vet_out(out)
    artifacts = artifacts_of(runs)
    see_one_start(artifacts)
    kitchen = Kitchen.of(artifacts)
    ingredients, weights = greedy(kitchen, artifacts)
    best = ingredients[0].artifact
    kitchen.put(weights)
    kitchen.settle()
    save(kitchen, best, out)
    note_sources(out, [one.artifact for one in ingredients if one.kept])
    served = Predictor.load(out)
    seed, resamples = kitchen.source.experiment.seed, kitchen.source.experiment.evaluation.resamples
    splits = []
    comparisons: tuple[Comparison, ...] = ()
    for name in ("validation", "test"):
        examples = held_out(best, kitchen.loaded.task, name)
        if len(examples):
            answers = served.predict(examples)
            splits.append(evaluate_split(name, served.task, examples, answers, seed=seed, resamples=resamples))
            single = Predictor.load(best).predict(examples)
            comparisons = paired(served.task, examples, answers, single, seed)
    made = Combined(out, best, tuple(splits), comparisons, facts(ingredients, kitchen, comparisons), notes(ingredients))
    parameters = sum(parameter.numel() for parameter in kitchen.loaded.model.parameters())
    write_combined(made, served.task, "soup", parameters, began)
    return made


def facts(ingredients: Sequence[Ingredient], kitchen: Kitchen, comparisons: Sequence[Comparison]) -> dict[str, object]:
    """The ingredients and the comparison as plain values."""
    rows = [
        {
            "run": str(one.artifact),
            "validation": one.alone,
            "with_it": None if math.isnan(one.together) else one.together,
            "kept": one.kept,
        }
        for one in ingredients
    ]
    against = [asdict(one) for one in comparisons]
    return {
        "metric": kitchen.metric or kitchen.loaded.task.metric,
        "ingredients": rows,
        "best": str(ingredients[0].artifact),
        "against_best": against,
    }


def notes(ingredients: Sequence[Ingredient]) -> tuple[str, ...]:
    """Who went in, in words."""
    kept = [one.artifact for one in ingredients if one.kept]
    left = [one.artifact for one in ingredients if not one.kept]
    said = [f"The weights are the mean of {len(kept)} of {len(ingredients)} runs: {', '.join(map(str, kept))}."]
    if left:
        said.append(f"Validation fell with these, which were left out: {', '.join(map(str, left))}.")
    if len(kept) == 1:
        said.append("No mean was as good as the best run alone, so its weights are served as they are.")
    said.append("Validation chose the ingredients, so its own figures flatter; test is the judge.")
    return tuple(said)


@dataclass(frozen=True)
class Kitchen:
    """One model into which weights are put to be judged on the validation split, by the recipe's metric."""

    loaded: Loaded
    source: Source
    validation: Sequence[Example]
    metric: str

    @classmethod
    def of(cls, artifacts: Sequence[Path]) -> Kitchen:
        """The model of the first of these artifacts.

        Raises:
            DataError: the runs have no validation split in common.
        """
        loaded = load_artifact(artifacts[0])
        loaded.model.to(best_device())
        validation = held_out(artifacts[0], loaded.task, "validation")
        prints = {
            name: [Source.of(artifact).fingerprints.get(name) for artifact in artifacts]
            for name in ("validation", "test")
        }
        if not len(validation):
            raise DataError(
                "The runs have no validation split to choose by.", where="data.validation", to_do="Train with one."
            )
        for name, artifact, found, first in (
            (name, artifact, found, own[0])
            for name, own in prints.items()
            for artifact, found in zip(artifacts, own, strict=True)
        ):
            if found != first:
                raise DataError(
                    f"The runs do not have the same {name} examples: some may have learnt from others'.",
                    where=str(artifact),
                    to_do="Give a file as data.validation, so that every seed has the same split, and train again.",
                )
        source = Source.of(artifacts[0])
        return cls(loaded, source, validation, source.experiment.training.metric)

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Give the model these weights."""
        model = self.loaded.model
        model.load_state_dict(with_shared(weights, model))
        model.eval()

    def score(self, weights: Mapping[str, Tensor]) -> float:
        """The validation metric of these weights, higher always better."""
        self.put(weights)
        task = self.loaded.task.for_choosing()
        encoded = [encode(task, example, self.loaded.encoder, is_train=False) for example in self.validation]
        predictor = Predictor(self.loaded.model, task, self.loaded.encoder)
        answers = predictor.decode(self.validation, encoded, predictor.logits(encoded))
        measures = with_worst_subgroup(task.measures(self.validation, answers), task.metric, self.validation)
        return Validation(self.validation, encoded, self.metric, 0, 0).chosen(measures, task)

    def settle(self) -> None:
        """Let the task fit to the averaged weights what it does not learn by gradients."""
        self.loaded.task.settle(self.loaded.model, self._training_batches())

    def _training_batches(self) -> Iterator[Batch]:
        """Read and encoded only where the task asks for them."""
        loaded, splits = self.loaded, self.source.splits(self.loaded.task)
        known = [loaded.task.encode(example, loaded.encoder) for example in (*splits.items, *splits.train)]
        pad_id = loaded.encoder.tokenizer.pad_token_id or 0
        for part in cut(range(len(known)), known, max_examples=64, max_tokens=8192):
            yield loaded.task.collate([known[n] for n in part], pad_id).to(loaded.model.device)

    def calibrated(self) -> Task:
        """The task with a temperature for the weights as they are, where the recipe has one fitted."""
        task, encoder = self.loaded.task, self.loaded.encoder
        if not self.source.experiment.evaluation.calibrate:
            return task
        encoded = [encode(task, example, encoder, is_train=False) for example in self.validation]
        asked = Predictor(self.loaded.model, task.for_choosing(), encoder)
        return task.calibrated(encoded, asked.logits(encoded))


def greedy(kitchen: Kitchen, artifacts: Sequence[Path]) -> tuple[list[Ingredient], dict[str, Tensor]]:
    """The ingredients in their order, and the mean of the weights of those that were kept.

    Sums are in float64, so that the mean of a model with itself is that model.
    """
    scores = [kitchen.score(load_file(artifact / WEIGHTS)) for artifact in artifacts]
    order = sorted(range(len(artifacts)), key=lambda place: -scores[place])
    total: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}
    found: list[Ingredient] = []
    kept, soup = 0, scores[order[0]]
    for place in order:
        weights = load_file(artifacts[place] / WEIGHTS)
        if not found:
            first, total = weights, {n: w.double() for n, w in weights.items() if w.is_floating_point()}
            kept = 1
            found.append(Ingredient(artifacts[place], scores[place], math.nan, kept=True))
            continue
        trial = {name: total[name] + weights[name] for name in total}
        together = kitchen.score(mean_of(trial, kept + 1, first))
        is_kept = together >= soup
        if is_kept:
            total, kept, soup = trial, kept + 1, together
        found.append(Ingredient(artifacts[place], scores[place], together, kept=is_kept))
    return found, mean_of(total, kept, first)


def mean_of(total: Mapping[str, Tensor], count: int, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A sum of weights over their number, in the type of each; what is no number with a point is taken as it is."""
    return {name: (total[name] / count).to(w.dtype) if name in total else w for name, w in like.items()}


def save(kitchen: Kitchen, best: Path, out: Path) -> None:
    """Write the model as an artifact whose recipe is that of the best run."""
    loaded = kitchen.loaded
    origin = origin_of(read_description(best), (best / "recipe.yaml").read_text(encoding="utf-8"))
    with torch.no_grad():
        task = kitchen.calibrated()
    save_artifact(out, loaded.model, task, loaded.encoder, origin, str(loaded.description["prefix"]))


def see_one_start(artifacts: Sequence[Path]) -> None:
    """See that the weights of artifacts may be averaged: one pre-trained model, one task, one form.

    Raises:
        ArtifactError: they may not.
    """
    told = [verify(artifact) for artifact in artifacts]
    for artifact, description in zip(artifacts, told, strict=True):
        if "ensemble" not in description:
            need_torch(artifact, description)
    first = load_file(artifacts[0] / WEIGHTS) if "ensemble" not in told[0] else {}
    shapes = {name: tensor.shape for name, tensor in first.items()}
    for artifact, description in zip(artifacts, told, strict=True):
        if "ensemble" in description:
            raise _refused("is an ensemble, whose members have weights of their own", artifact)
        if description.get("weights"):
            raise _refused(f"holds its weights in {description['weights']}", artifact)
        for key, what in _ALIKE.items():
            if description.get(key) != told[0].get(key):
                raise _refused(f"has another {what} than the first", artifact)
        ours, theirs = (dict(cast("Mapping[str, object]", one["task"])) for one in (told[0], description))
        for name in ours:
            if name != "temperature" and ours[name] != theirs.get(name):
                raise _refused(f"has task.{name} {theirs.get(name)!r}, and the first {ours[name]!r}", artifact)
        if file_hash(artifact / "tokenizer.json") != file_hash(artifacts[0] / "tokenizer.json"):
            raise _refused("has another tokenizer than the first", artifact)
        if {name: tensor.shape for name, tensor in load_file(artifact / WEIGHTS).items()} != shapes:
            raise _refused("has weights of other shapes than the first", artifact)


def _refused(why: str, artifact: Path) -> ArtifactError:
    return ArtifactError(
        f"The weights cannot be averaged: this run {why}.",
        where=str(artifact),
        to_do="Average runs of one recipe that began at the same model; for others use 'tunesmith ensemble'.",
    )
