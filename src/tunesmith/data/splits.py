"""Fingerprints of examples, and splits that are fair to labels and groups."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Span
from tunesmith.data.stored import Chosen

_BINS = 10


def fingerprint(examples: Iterable[Example]) -> str:
    """The sha256 over all that is read of the examples and their labels, in order."""
    digest = hashlib.sha256()
    for example in examples:
        label = (
            [[item.start, item.end, item.label] if isinstance(item, Span) else item for item in example.label]
            if isinstance(example.label, tuple)
            else example.label
        )
        parts: list[object] = [example.text, label, example.words]
        if example.content != example.text or example.rejected:
            parts += [example.content, example.rejected]
        if example.subgroup or example.weight != 1 or example.chances:
            parts += [example.subgroup, example.weight, [dict(one) for one in example.chances]]
        digest.update(json.dumps(parts, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def split(
    examples: Sequence[Example], shares: Mapping[str, float], *, seed: int, by_label: bool = True
) -> dict[str, Sequence[Example]]:
    """Part examples by shares (which sum to 1), each part keeping the source's order.

    Examples with the same group stay together, and without a group those with the same text. Otherwise each part gets
    its share of each label: of each class, of several classes or entity types as far as possible (Sechidis et al.
    2011), of each decile of numbers. With `by_label` false, as for labels that are all different, chance alone decides.
    """
    units = _units(examples)
    # A group has the labels of its members; a single example is a group of one.
    labels = [sorted({label for place in unit for label in _strata(examples[place], by_label)}) for unit in units]
    if by_label and examples and isinstance(examples[0].label, int | float):
        labels = _deciles(examples, units)
    parts = _iterative(units, labels, shares, random.Random(seed))
    return {name: Chosen(examples, sorted(places)) for name, places in parts.items()}


def spread(examples: Sequence[Example], size: int) -> list[Example]:
    """Up to `size` examples in their order, from the first on spread evenly over all."""
    count = min(size, len(examples))
    return [examples[place * len(examples) // count] for place in range(count)]


def drawn(examples: Sequence[Example], size: int, seed: int) -> Sequence[Example]:
    """So many of the examples, drawn by chance, in their order."""
    return Chosen(examples, sorted(random.Random(seed).sample(range(len(examples)), size)))


def drawn_per_class(examples: Sequence[Example], size: int, seed: int) -> Sequence[Example]:
    """At most so many of the examples of each class, drawn by chance, in their order."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        places[str(example.label)].append(place)
    chance = random.Random(seed)
    chosen = [
        place for label in sorted(places) for place in chance.sample(places[label], min(size, len(places[label])))
    ]
    return Chosen(examples, sorted(chosen))


def _units(examples: Sequence[Example]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        # The same text on both sides of a split would be learnt by heart.
        groups[f"group {example.group}" if example.group else f"text {text_key(example.content)}"].append(place)
    return list(groups.values())


def _strata(example: Example, by_label: bool) -> set[str]:
    if not by_label:
        return {"(any)"}
    if isinstance(example.label, tuple):
        return {item.label if isinstance(item, Span) else item for item in example.label} or {"(none)"}
    return {str(example.label)}


def _deciles(examples: Sequence[Example], units: Sequence[Sequence[int]]) -> list[list[str]]:
    means = np.array([np.mean([float(examples[place].label) for place in unit]) for unit in units])  # type: ignore[arg-type]
    # Each bin must be large enough to give something to every part.
    bins = min(_BINS, max(1, len(units) // _BINS))
    borders = np.quantile(means, np.linspace(0, 1, bins + 1)[1:-1])
    return [[str(number)] for number in np.searchsorted(borders, means)]


def _iterative(
    units: Sequence[Sequence[int]], labels: Sequence[Sequence[str]], shares: Mapping[str, float], rng: random.Random
) -> dict[str, list[int]]:
    """Give out the rarest label first, each time to the part that lacks most of it (Sechidis et al. 2011, alg. 1)."""
    counts = Counter(label for own in labels for label in own)
    wanted = {label: {name: count * share for name, share in shares.items()} for label, count in counts.items()}
    total = sum(len(unit) for unit in units)
    room = {name: total * share for name, share in shares.items()}
    members: dict[str, list[int]] = defaultdict(list)
    order = list(range(len(units)))
    rng.shuffle(order)
    for number in order:
        members[min(labels[number], key=lambda label: (counts[label], label))].append(number)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for label in sorted(members, key=lambda label: (counts[label], label)):
        for number in members[label]:
            # Ties go to the part with most room left, which for the first of a rare label is the training part.
            part = max(shares, key=lambda name: (wanted[label][name], room[name]))
            parts[part].extend(units[number])
            room[part] -= len(units[number])
            for own in labels[number]:
                wanted[own][part] -= 1
    return parts
