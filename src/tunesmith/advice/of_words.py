"""An ailment of words: one of them tells the label, and the model leans on it."""

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
from tunesmith.evaluation.intervals import Estimate

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
