"""Ailments that show when something is learnt: noise, shortcuts, and what training costs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.advice.probe import Numbers, Probe, chances_from
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
            "Northcutt et al. 2021, tab. 2; mended labels are worth more than ones left out",
            command="tunesmith suspects {recipe} --folds 5 --out doubts.jsonl",
        )
        yield Remedy(
            "smoothed-labels",
            "No label is trusted wholly, and training ends when validation stops to gain.",
            "literature",
            "Lukasik et al. 2020, sec. 4 (smoothing under label noise); Li et al. 2020 (stopping early)",
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


_TOKEN = re.compile(r"[^\W_㐀-鿿]+(?:'[^\W_㐀-鿿]+)?|[㐀-鿿]|[^\w\s]|_+")
"""A word, a Chinese character or a sign."""


@dataclass(frozen=True)
class Shortcut:
    """A single word tells the label, and the model leans on it.

    The figure is the share of the label's entropy that the presence of the best single word explains. It is named only
    where the probe leans on that word: where the word misleads, it is right less often by `leaning` or more.

    Attributes:
        threshold: the share from which it is named.
        spoiled: the share at which little else is learnt.
        leaning: the least loss of accuracy on examples that the word misleads.
        rarest: the least share of training texts in which a word stands that is looked at.
    """

    threshold: float = 0.3
    spoiled: float = 0.9
    leaning: float = 0.2
    rarest: float = 0.02

    def look(self, project: Project) -> Symptom | None:
        """The word that says most of the label, and how the probe fares without its help."""
        if project.probe is None:
            return None
        probe = project.probe
        found = best_word(probe, max(10, round(self.rarest * len(probe.examples))))
        if found is None:
            return None
        word, holds = found
        figure = explained(holds, probe.given, len(probe.labels))
        helped = follows(holds, probe.given)
        severity = severity_of(figure, self.threshold, self.spoiled)
        said = [f"The word is {word!r}, in {int(holds.sum()):,} of {len(holds):,} texts."]
        if helped.all() or not helped.any():
            return Symptom(figure, _EXPLAINED, self.threshold, severity, tuple(said), word)
        right, wrong = (float(probe.right[part].mean()) for part in (helped, ~helped))
        said.append(
            f"Where it points to the label the probe is right in {100 * right:.1f} %, where it misleads "
            f"({int((~helped).sum()):,} texts) in {100 * wrong:.1f} %."
        )
        if right - wrong < self.leaning:
            severity = min(severity, 0.0)
        return Symptom(figure, _EXPLAINED, self.threshold, severity, tuple(said), word)

    def remedies(self, project: Project, symptom: Symptom) -> Iterator[Remedy]:
        """The word taken out, or its hold on the label broken."""
        assert project.probe is not None, "without a probe nothing is named"
        probe, word = project.probe, symptom.focus
        holds = np.array([word in words_of(example.text) for example in probe.examples])
        misled = ~follows(holds, probe.given)
        judged = (
            f"accuracy of the probe on the {int(misled.sum()):,} training texts that the word misleads, out of fold"
        )
        yield Remedy(
            "without-the-word",
            f"Takes {word!r} out of the training texts, so that the rest of the text must be read.",
            "measured here",
            "the probe learnt without the word and was asked with it",
            train=[without_word(example, word) for example in project.train],
            effect=_gain_without_word(probe, word, holds, misled),
            judged=judged,
        )
        kept = balanced(
            np.array([word in words_of(e.text) for e in project.train]), [str(e.label) for e in project.train]
        )
        yield Remedy(
            "balanced-by-the-word",
            f"Keeps {len(kept):,} training examples, of each label as many with {word!r} as without.",
            "measured here",
            "subsampling of groups (Idrissi et al. 2022, sec. 3)",
            train=[project.train[place] for place in kept],
            effect=_gain_of_balance(probe, holds, misled),
            judged=judged,
        )


_EXPLAINED = "share of the label's entropy that one word explains"


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in small letters."""
    return frozenset(_TOKEN.findall(text.lower()))


def without_word(example: Example, word: str) -> Example:
    """The example with a word taken out of its text; a text of that word alone stays."""
    parts = [match for match in _TOKEN.finditer(example.text) if match.group().lower() == word]
    text = example.text
    for match in reversed(parts):
        text = text[: match.start()] + text[match.end() :]
    text = " ".join(text.split())
    return replace(example, text=text) if text and parts else example


def best_word(probe: Probe, least: int) -> tuple[str, NDArray[np.bool_]] | None:
    """The word that explains most, of those in `least` texts or more and missing in as many; and where it stands."""
    texts = [words_of(example.text) for example in probe.examples]
    counts = Counter(word for words in texts for word in words)
    size, best = len(texts), None
    for word in sorted(word for word, count in counts.items() if least <= count <= size - least):
        holds = np.array([word in words for words in texts])
        share = _share_explained(_joint(holds, probe.given, len(probe.labels)))
        if best is None or share > best[0]:
            best = (share, word, holds)
    return None if best is None else best[1:]


def explained(holds: NDArray[np.bool_], given: Numbers, classes: int) -> Estimate:
    """The share of the label's entropy that the word's presence explains, with a bootstrap interval over examples."""
    joint = _joint(holds, given, classes)
    total = joint.sum()
    drawn = np.random.default_rng(0).multinomial(int(total), (joint / total).ravel(), size=1000)
    shares = [_share_explained(one.reshape(joint.shape).astype(np.float64)) for one in drawn]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Estimate(_share_explained(joint), float(low), float(high))


def _joint(holds: NDArray[np.bool_], given: Numbers, classes: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(given[part], minlength=classes) for part in (holds, ~holds)]).astype(np.float64)


def _share_explained(joint: NDArray[np.float64]) -> float:
    """Mutual information over the label's entropy, from counts [2, C]."""
    shares = joint / joint.sum()
    labels = shares.sum(axis=0)
    entropy = -float((labels[labels > 0] * np.log(labels[labels > 0])).sum())
    apart = shares.sum(axis=1, keepdims=True) * labels[None, :]
    filled = shares > 0
    return float((shares[filled] * np.log(shares[filled] / apart[filled])).sum()) / max(entropy, 1e-12)


def follows(holds: NDArray[np.bool_], given: Numbers) -> NDArray[np.bool_]:
    """Which examples have the label that is the most common one with the word, or without it, as they have it."""
    answers = np.zeros_like(given)
    for part in (holds, ~holds):
        if part.any():
            answers[part] = np.bincount(given[part]).argmax()
    return np.asarray(answers == given)


def balanced(holds: NDArray[np.bool_], labels: Sequence[str]) -> list[int]:
    """Places such that of each label as many have the word as have it not, drawn by chance."""
    random, kept = np.random.default_rng(0), []
    given = np.array(labels)
    for label in sorted(set(labels)):
        groups = [np.flatnonzero((given == label) & part) for part in (holds, ~holds)]
        size = min(len(group) for group in groups)
        kept += [int(place) for group in groups for place in random.permutation(group)[:size]]
    return sorted(kept)


def _gain_without_word(probe: Probe, word: str, holds: NDArray[np.bool_], misled: NDArray[np.bool_]) -> Estimate | None:
    if not misled.any():
        return None
    vectors = probe.vectors.copy()
    vectors[holds] = probe.embed([without_word(probe.examples[place], word) for place in np.flatnonzero(holds)])
    return _gain_out_of_fold(probe, vectors, np.ones(len(holds), dtype=bool), misled)


def _gain_of_balance(probe: Probe, holds: NDArray[np.bool_], misled: NDArray[np.bool_]) -> Estimate | None:
    kept = np.zeros(len(holds), dtype=bool)
    kept[balanced(holds, [probe.labels[number] for number in probe.given])] = True
    learnable = kept.sum() >= 4 * len(probe.labels)
    return _gain_out_of_fold(probe, probe.vectors, kept, misled) if misled.any() and learnable else None


def _gain_out_of_fold(
    probe: Probe, vectors: NDArray[np.float64], kept: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> Estimate:
    """The gain on the asked examples as they stand, when the other folds are learnt by other vectors or in part."""
    after = np.zeros(len(asked), dtype=bool)
    for fold in np.unique(probe.folds):
        rest, held = (probe.folds != fold) & kept, (probe.folds == fold) & asked
        if held.any():
            chances = chances_from(vectors[rest], probe.given[rest], probe.vectors[held], len(probe.labels))
            after[held] = chances.argmax(axis=1) == probe.given[held]
    return paired_gain(after[asked], probe.right[asked])


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
