"""Ailments that show when something is learnt: wrong labels, and what training costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.advice.probe import Probe
from tunesmith.advice.records import Project, Remedy, Symptom, paired_gain, severity_of
from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate, share_of
from tunesmith.labelling.confident import class_doubts, estimated_noise
from tunesmith.methods import Full

SUREST = 0.1
"""The share of answers of each class, the surest first, that should be right where labels are."""


@dataclass(frozen=True)
class Noisy:
    """Labels are wrong.

    The figure is the share of labels that differ from the probe's surest tenth of answers to each class. Where only the
    task is hard, the surest answers are right; where labels are wrong by chance, these are as wrong as any (anchor
    points: Liu and Tao 2016, sec. 4.2; Patrini et al. 2017, sec. 3.2). A weak probe makes it too high, never too low by
    much, so that it is a bound from above.

    Attributes:
        threshold: the share from which it is named.
        spoiled: the share at which labels say nearly nothing.
    """

    threshold: float = 0.08
    spoiled: float = 0.4

    def look(self, project: Project) -> Symptom | None:
        """The share among the surest answers, and what confident learning estimates of all."""
        if project.probe is None:
            return None
        probe = project.probe
        places = surest(probe.chances)
        figure = share_of(int((~probe.right[places]).sum()), len(places))
        severity = severity_of(figure, self.threshold, self.spoiled)
        noise = estimated_noise(probe.given, probe.chances)
        off = noise.joint - np.diag(np.diag(noise.joint))
        worst = np.unravel_index(int(off.argmax()), off.shape)
        said = [
            f"The probe agrees with {100 * probe.right.mean():.1f} % of {len(probe.given):,} labels.",
            f"Confident learning estimates {100 * noise.share:.1f} % wrong ones, which counts what is hard too.",
            f"Most often '{probe.labels[worst[1]]}' is labelled as '{probe.labels[worst[0]]}'.",
        ]
        measure = "share of labels that contradict the probe's surest answers, a bound from above of wrong ones"
        return Symptom(figure, measure, self.threshold, severity, tuple(said))

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """Labels looked at, suspects left out, and losses that trust labels less."""
        assert project.probe is not None, "without a probe nothing is named"
        suspects, effect = without_suspects(project.probe)
        gone = {suspect.id for suspect in suspects}
        yield Remedy(
            "without-suspects",
            f"Leaves out the {len(gone):,} of {len(project.probe.examples):,} sampled labels that are doubted.",
            "measured here",
            "the probe, on validation as it is labelled",
            train=[example for example in project.train if example.id not in gone],
            effect=effect,
            judged=f"accuracy of the probe on {len(project.probe.held):,} validation texts",
        )
        yield Remedy(
            "look-at-suspects",
            "Lists all training labels, the most doubtful first, for people to mend.",
            "literature",
            "Northcutt et al. 2021; mended labels are worth more than ones left out",
            command="tunesmith suspects RECIPE --folds 5 --out doubts.jsonl",
        )
        yield Remedy(
            "smoothed-labels",
            "No label is trusted wholly, and training ends when validation stops to gain.",
            "literature",
            "Lukasik et al. 2020 (smoothing under label noise); Li et al. 2020 (stopping early)",
            {"task.label_smoothing": 0.2, "training.patience": 1},
        )


def surest(chances: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places of the surest tenth of the answers of each class."""
    answers, sure = chances.argmax(axis=1), chances.max(axis=1)
    found = []
    for answer in np.unique(answers):
        mine = np.flatnonzero(answers == answer)
        found.append(mine[np.argsort(-sure[mine], kind="stable")][: max(1, round(SUREST * len(mine)))])
    return np.concatenate(found)


def without_suspects(probe: Probe) -> tuple[list[Example], Estimate | None]:
    """The examples whose labels confident learning doubts, and the gain on validation of a probe without them."""
    doubts = class_doubts(probe.given, probe.chances, probe.labels)
    gone = np.zeros(len(probe.given), dtype=bool)
    gone[[doubt.place for doubt in doubts if doubt.is_suspect]] = True
    suspects = [probe.examples[place] for place in np.flatnonzero(gone)]
    if not probe.held or gone.all():
        return suspects, None
    before = probe.answers(probe.vectors, probe.given, probe.held_vectors) == probe.held_given
    after = probe.answers(probe.vectors[~gone], probe.given[~gone], probe.held_vectors) == probe.held_given
    return suspects, paired_gain(after, before)


@dataclass(frozen=True)
class Costly:
    """Training takes too long on this machine.

    Attributes:
        threshold: hours of training from which it is named.
        spoiled: hours that nobody waits for.
        passes: what a step costs, in forward passes; a backward pass costs two.
    """

    threshold: float = 1.0
    spoiled: float = 24.0
    passes: float = 3.0

    def look(self, project: Project) -> Symptom | None:
        """Tokens times epochs times what a token took in the probe."""
        if project.pace is None:
            return None
        epochs = project.experiment.training.epochs
        tokens = sum(one.tokens for one in project.prepared.encoded_learning) * epochs
        seconds = project.pace.seconds
        hours = [self.passes * tokens * one / 3600 for one in (seconds.value, seconds.low, seconds.high)]
        figure = Estimate(*hours)
        said = (f"{tokens:,} tokens in {epochs} epochs, at {1 / max(seconds.value, 1e-9):,.0f} tokens/s forward.",)
        severity = severity_of(figure, self.threshold, self.spoiled)
        return Symptom(figure, "hours of training, if all weights learn", self.threshold, severity, said)

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """Less to learn, or a smaller model."""
        page = "docs/evidence/compare_methods.md, SST-2 with MiniLM-L6"
        if isinstance(project.experiment.method, Full):
            yield Remedy(
                "top-layers",
                "Gradients end below the upper layers.",
                "reasoning",
                "two layers need about a third of the backward pass of six",
                {"method": {"name": "top_layers", "layers": 2}},
            )
            yield Remedy(
                "head-only",
                "Only the head learns: about a third of the time.",
                "this project's pages",
                f"{page}: 0.807 instead of 0.886",
                {"method": {"name": "head_only"}},
            )
        yield Remedy(
            "fewer-epochs",
            "Stops when validation has not gained for an epoch.",
            "reasoning",
            "the last epochs often change little; the log says how much",
            {"training.patience": 1},
        )
