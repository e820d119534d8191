"""Ailments that the data alone show: leakage, few labels, rare classes, long texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tunesmith.advice.records import Project, Remedy, Symptom, severity_of
from tunesmith.data.checks import ALIKE, COMPARED, compared_text, label_names, shortened
from tunesmith.data.duplicates import near_copies, text_key
from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate, share_of


@dataclass(frozen=True)
class Leakage:
    """Texts that a model is judged by stand in training too, exactly or nearly.

    Attributes:
        threshold: the share of a split's texts from which it is named.
        spoiled: the share at which the split says nothing any more.
    """

    threshold: float = 0.01
    spoiled: float = 0.3

    def look(self, project: Project) -> Symptom | None:
        """The share of the worse of validation and test."""
        found = []
        kind = project.prepared.task.label_kind
        for name, examples in project.prepared.splits.named().items():
            if name != "train" and project.train:
                hit = known_in(examples, project.train, kind)
                figure = share_of(len(hit), len(examples))
                shown = "; ".join(shortened(examples[place]) for place in hit[:2])
                said = (f"{len(hit):,} of {len(examples):,} texts, such as: {shown}.",) if hit else ()
                measure = f"share of the texts of {name} that stand in train, exactly or nearly"
                severity = severity_of(figure, self.threshold, self.spoiled)
                found.append(Symptom(figure, measure, self.threshold, severity, said, name))
        return max(found, key=lambda one: one.severity, default=None)

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """Training without the copies."""
        splits = project.prepared.splits
        judged = [*splits.validation, *splits.test]
        hit = set(known_in(project.train, judged, project.prepared.task.label_kind))
        kept = [example for place, example in enumerate(project.train) if place not in hit]
        yield Remedy(
            "without-leaks",
            "Learns from none of the texts that it is judged by, so that results are what new texts will see.",
            "measured here",
            f"{len(hit):,} of {len(project.train):,} training texts stand in validation or test; "
            "figures will fall, and be true",
            train=kept,
        )


def known_in(examples: Sequence[Example], others: Sequence[Example], kind: str) -> list[int]:
    """The places of examples whose text stands among others, exactly or nearly.

    Near copies are looked for where the check of data looks for them: among as many texts, and not for `ALIKE` kinds.
    Of the longer of both no more are compared than there is room for.
    """
    keys = {text_key(other.content) for other in others}
    hit = {place for place, example in enumerate(examples) if text_key(example.content) in keys}
    if kind not in ALIKE:
        room = max(COMPARED - min(len(examples), len(others)), COMPARED // 2)
        texts, known = ([compared_text(one) for one in islice(part, room)] for part in (examples, others))
        hit |= set(near_copies(texts, known))
    return sorted(hit)


@dataclass(frozen=True)
class Scarce:
    """There are few labels to learn from.

    Attributes:
        threshold: labelled examples (mentions, for spans) of the middle class below which it is named.
        spoiled: so few that hardly anything can be learnt.
    """

    threshold: float = 100.0
    spoiled: float = 10.0

    def look(self, project: Project) -> Symptom | None:
        """Examples of the class in the middle, and what twice as many would bring."""
        counts = Counter(label for example in project.train for label in label_names(example))
        if project.prepared.task.label_kind not in ("class", "classes", "spans") or not counts:
            return None
        middle = float(np.median(list(counts.values())))
        said = []
        curve = project.probe.curve if project.probe else None
        if curve is not None and math.isfinite(curve.doubling.low):
            gain = curve.doubling
            said.append(
                f"By a power law through the probe's errors (exponent {curve.exponent.value:.2f} "
                f"[{curve.exponent.low:.2f}, {curve.exponent.high:.2f}]) twice as many labels would lower its error by "
                f"{100 * gain.value:.1f} points [{100 * gain.low:.1f}, {100 * gain.high:.1f}]."
            )
        figure = Estimate(middle, middle, middle)
        severity = severity_of(figure, self.threshold, self.spoiled)
        unit = "mentions" if project.prepared.task.label_kind == "spans" else "training examples"
        return Symptom(figure, f"{unit} of the class in the middle", self.threshold, severity, tuple(said))

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """More labels where they tell most, methods for few, and copies."""
        few = "few_shot_tagging" if project.prepared.task.label_kind == "spans" else "few_shot_classification"
        yield Remedy(
            few.replace("_", "-"),
            "Learns from pairs of texts (or remembers words), of which a few labels make many.",
            "this project's pages",
            "docs/evidence/few_shot.md: 8 labels per class give 83.5 % on AG News [81.9, 85.0] and 29.8 % on SST-5 "
            "[28.6, 31.0]",
            {"task": {"name": few}, "method": {"name": "none" if "tagging" in few else "full"}},
        )
        yield Remedy(
            "label-next",
            "Has the texts labelled from which the model learns most.",
            "literature",
            "Ash et al. 2020 (BADGE), sec. 5; compare strategies on your own labels with 'tunesmith active simulate'",
            command="tunesmith active next RUN/artifact POOL --strategy badge --out batch.jsonl",
        )
        yield Remedy(
            "r-drop",
            "Two passes with dropout must agree, which holds back over-fitting.",
            "literature",
            "Liang et al. 2021 (R-Drop): about +1.2 points on GLUE with BERT-base; costs twice the time",
            {"objective": {"name": "r_drop"}},
        )
        yield Remedy(
            "swapped-words",
            "Adds copies of the training texts in which words changed places.",
            "literature",
            "Wei and Zou 2019 (EDA): about +3 points with 500 labels for small networks, swaps and three further edits "
            "together; often nothing with pre-trained ones",
            {"augmenters": [{"name": "swap_words"}]},
        )
        yield Remedy(
            "top-layers",
            "Moves the upper layers only, so that there is less to over-fit with.",
            "literature",
            "Lee et al. 2019 (What would Elsa do): a quarter of the layers gives 90 % of the quality",
            {"method": {"name": "top_layers", "layers": 2}},
        )


@dataclass(frozen=True)
class Imbalanced:
    """A class is far rarer than the most common one.

    Attributes:
        threshold: how many times rarer, from where on it is named.
        spoiled: so many times that the class will hardly ever be answered.
    """

    threshold: float = 10.0
    spoiled: float = 200.0

    def look(self, project: Project) -> Symptom | None:
        """The ratio of the largest class to the smallest (its interval on the logarithm), and recalls of the probe."""
        counts = Counter(label for example in project.train for label in label_names(example))
        if len(counts) < 2:
            return None
        ordered = counts.most_common()
        (most, high), (least, low) = ordered[0], ordered[-1]
        wide = math.exp(1.96 * math.sqrt(1 / high + 1 / low))
        figure = Estimate(high / low, high / low / wide, high / low * wide)
        severity = severity_of(figure, self.threshold, self.spoiled)
        said = [f"'{most}' has {high:,}, '{least}' has {low:,}."]
        if project.probe is not None:
            right, given = project.probe.right, project.probe.given
            recalls = [
                (label, float(right[given == place].mean()))
                for place, label in enumerate(project.probe.labels)
                if (given == place).any()
            ]
            weakest = sorted(recalls, key=lambda one: one[1])[:3]
            said.append(
                "The probe's weakest recalls: " + ", ".join(f"'{one}' {value:.2f}" for one, value in weakest) + "."
            )
        return Symptom(
            figure, "examples of the largest class per one of the smallest", self.threshold, severity, tuple(said)
        )

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """Weights, a loss that looks at what is hard, and a measure that sees rare classes."""
        yield Remedy(
            "balanced-weights",
            "Each class weighs the same in the loss, and macro F1 chooses the checkpoint.",
            "literature",
            "King and Zeng 2001, sec. 4; expect more recall and less precision of rare classes",
            {"task.class_weights": "balanced", "training.metric": "macro_f1"},
        )
        yield Remedy(
            "focal",
            "Easy examples, mostly of large classes, weigh less.",
            "literature",
            "Lin et al. 2017, eq. 5 and tab. 1b (detection of objects; for texts the effect is less sure)",
            {"task.focal_gamma": 2.0, "training.metric": "macro_f1"},
        )


@dataclass(frozen=True)
class LongTexts:
    """Texts are longer than what the model reads at once.

    Attributes:
        threshold: the share of training texts from which it is named.
        spoiled: the share at which windows decide nearly all.
    """

    threshold: float = 0.1
    spoiled: float = 0.9

    def look(self, project: Project) -> Symptom | None:
        """The share of training texts that need several windows or lose their end."""
        encoded = project.prepared.encoded.get("train", [])
        if not encoded:
            return None
        window = project.prepared.encoder.max_length
        long = [one for one in encoded if one.unread or one.tokens - one.repeated > window]
        figure = share_of(len(long), len(encoded))
        severity = severity_of(figure, self.threshold, self.spoiled)
        said = (f"A window holds {window} tokens; the longest text has {max(one.tokens for one in encoded):,}.",)
        return Symptom(figure, "share of training texts longer than a window", self.threshold, severity, said)

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """A window as long as the model reads, or the strongest window."""
        longest = project.prepared.backbone.max_length
        if project.prepared.encoder.max_length < longest:
            yield Remedy(
                "longer-window",
                f"Reads {longest} tokens at once; attention takes time with the square of that.",
                "reasoning",
                "the texts' lengths above",
                {"task.max_length": 0},
            )
        yield Remedy(
            "strongest-window",
            "Takes the window that is surest of a class, where one passage decides.",
            "reasoning",
            "helps where a label hangs on one passage, harms where it hangs on the whole text",
            {"task.window_pooling": "max"},
        )
