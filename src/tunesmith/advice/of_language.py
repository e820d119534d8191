"""An ailment of the model: it does not read what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.advice.probe import embedder, out_of_fold
from tunesmith.advice.records import Project, Remedy, Symptom, paired_gain, severity_of
from tunesmith.bodies import window
from tunesmith.data.encoding_checks import FRAGMENTED
from tunesmith.evaluation.intervals import Estimate, draws, interval_of
from tunesmith.inference.predictor import Predictor
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import known_models, locate
from tunesmith.models.model import Model
from tunesmith.tasks.encoding import Encoded, TextEncoder

SMALL = 1_000_000_000
"""Bytes of weights up to which another model is tried."""

SAMPLED = 5000
"""Texts whose tokens are counted."""

COMPARED = 300
"""Texts on which another model is compared."""


@dataclass(frozen=True)
class OffDomain:
    """The model does not know the language or script of the texts.

    The figure is the share of tokens that the tokenizer does not know; for one that cuts what it does not know into
    bytes, it is the part of the tokens beyond `fragmented` per character.

    Attributes:
        threshold: the share from which it is named.
        spoiled: the share at which the model does not read the language.
        fragmented: tokens per character that a tokenizer which knows the script does not need.
    """

    threshold: float = 0.02
    spoiled: float = 0.2
    fragmented: float = FRAGMENTED

    def look(self, project: Project) -> Symptom | None:
        """The share over the training texts, its interval over texts."""
        encoded = project.prepared.encoded.get("train", [])
        if not encoded or project.experiment.model.is_scratch:
            return None
        figure = self.unread(encoded, [example.content for example in project.train])
        tokens, characters = sum(one.tokens for one in encoded), sum(len(one.content) for one in project.train)
        unknown = sum(one.unknown for one in encoded) / max(1, tokens)
        said = (
            f"{100 * unknown:.1f} % of the tokens are unknown; {tokens / max(1, characters):.2f} stand for a character."
        )
        severity = severity_of(figure, self.threshold, self.spoiled)
        return Symptom(figure, "share of tokens that are unknown, or bytes", self.threshold, severity, (said,))

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """Models of this machine that know more of the texts, the best on the probe first; and further pre-training."""
        for name in models_here(project.experiment.model.name):
            remedy = self._other_model(project, name)
            if remedy is not None:
                yield remedy
        yield Remedy(
            "pretrain-first",
            "Continues pre-training on the project's own texts; only where the tokenizer knows most of the words.",
            "this project's pages",
            "docs/evidence/pretrain_bc5cdr.md: entity F1 +0.0073 [+0.0046, +0.0101] on texts of medicine",
            command="tunesmith run examples/pretrain_bc5cdr.yaml --set data.train=TEXTS",
        )

    def unread(self, encoded: Sequence[Encoded], texts: Sequence[str]) -> Estimate:
        """The figure, of encoded texts."""
        tokens = np.array([one.tokens for one in encoded], dtype=np.float64)
        unknown = np.array([one.unknown for one in encoded], dtype=np.float64)
        characters = np.array([max(len(text), 20) for text in texts], dtype=np.float64)
        cut = np.maximum(tokens - self.fragmented * characters, 0.0)
        return max((_ratio(part, tokens) for part in (unknown, cut)), key=lambda one: one.low)

    def _other_model(self, project: Project, name: str) -> Remedy | None:
        """Another model as a remedy, if it reads the texts; compared on the probe where there is one."""
        given = project.experiment.task
        backbone = load(locate(name), dropout=None, kind=given.body)
        if given.max_length > backbone.max_length:
            return None
        known = (
            project.probe.examples
            if project.probe
            else tuple(project.train[place] for place in range(len(project.train)))
        )
        examples = known[:: max(1, len(known) // COMPARED)][:COMPARED]
        task = given.prepared(project.train, backbone.tokenizer)
        encoder = TextEncoder.of(backbone.tokenizer, window(task, backbone), backbone.prefix)
        encoded = [task.encode(example, encoder) for example in examples]
        share = self.unread(encoded, [example.content for example in examples])
        if share.value >= self.threshold:
            return None
        why = f"Reads these texts: {100 * share.value:.2f} % of its tokens are unknown, or bytes."
        changes = {"model": {"name": name}}
        evidence = f"{len(examples)} of the training texts"
        if project.probe is None:
            return Remedy(f"model-{name}", why, "measured here", evidence, changes)
        probe = project.probe
        places = {example.id: place for place, example in enumerate(probe.examples)}
        chosen = np.array([places[example.id] for example in examples])
        vectors = embedder(Predictor(Model(backbone, task), task, encoder))(examples)
        targets, folds = probe.given[chosen], probe.folds[chosen]
        after, before = (
            out_of_fold(one, targets, folds, len(probe.labels)).argmax(axis=1) == targets
            for one in (vectors, probe.vectors[chosen])
        )
        judged = f"accuracy of the probe on {len(examples)} training texts, out of fold"
        return Remedy(
            f"model-{name}", why, "measured here", evidence, changes, effect=paired_gain(after, before), judged=judged
        )


def models_here(own: str) -> list[str]:
    """The models of the catalogue that lie on this machine and are small enough to be tried."""
    found = []
    for known in known_models():
        weights = list(Path(known.place).glob("*.safetensors")) if Path(known.place).is_dir() else []
        if known.name != own and weights and sum(path.stat().st_size for path in weights) <= SMALL:
            found.append(known.name)
    return found


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> Estimate:
    """A ratio of sums, with its bootstrap interval over texts; of many texts it is that of a sample."""
    size = min(len(parts), SAMPLED)
    chosen = np.random.default_rng(len(parts)).permutation(len(parts))[:size]  # a file may be sorted by language
    parts, wholes = parts[chosen], wholes[chosen]
    drawn = [parts[i].sum(axis=1) / np.maximum(wholes[i].sum(axis=1), 1) for i in draws(size, 200, 0.95, 0)]
    return interval_of(float(parts.sum() / max(wholes.sum(), 1)), np.concatenate(drawn), 0.95)
