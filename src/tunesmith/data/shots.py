"""A few examples of each entity type, drawn out of many."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from tunesmith.data.records import Example, Finding, Span
from tunesmith.data.stored import Chosen


def draw_shots(examples: Sequence[Example], shots: int, seed: int) -> tuple[Sequence[Example], Finding]:
    """Examples that have at least `shots` spans of each type, in their order, and what was drawn.

    The rarest type is served first, by examples drawn by chance until it has enough (Yang and Katiyar 2020, algorithm
    1); then those are given back, in an order drawn by chance, without which each type still has enough (Hou et al.
    2020, minimum-including sampling), so that none is superfluous. A type with fewer spans keeps all of them.
    """
    spans = [_types(example) for example in examples]
    there = sum(spans, Counter[str]())
    wanted = {label: min(shots, count) for label, count in there.items()}
    rng = random.Random(seed)
    order = list(range(len(examples)))
    rng.shuffle(order)
    drawn: set[int] = set()
    have = Counter[str]()
    for label in sorted(wanted, key=lambda label: (there[label], label)):
        for place in order:
            if have[label] >= wanted[label]:
                break
            if label in spans[place] and place not in drawn:
                drawn.add(place)
                have += spans[place]
    for place in [place for place in order if place in drawn]:
        if all(have[label] - count >= wanted[label] for label, count in spans[place].items()):
            drawn.remove(place)
            have -= spans[place]
    few = {label: count for label, count in sorted(there.items()) if count < shots}
    lacking = f" Fewer are there of {', '.join(f'{label} ({count})' for label, count in few.items())}." if few else ""
    said = (
        f"{len(drawn):,} of {len(examples):,} training examples were drawn, which have at least {shots} spans of each "
        f"of {len(there)} types (data.shots, seed {seed}).{lacking}"
    )
    shown = tuple(f"{label}: {have[label]}" for label in sorted(few or have)[:3])
    finding = Finding("shots", "warning" if few else "note", said, len(drawn), shown)
    return Chosen(examples, sorted(drawn)), finding


def _types(example: Example) -> Counter[str]:
    label = example.label if isinstance(example.label, tuple) else ()
    return Counter(span.label for span in label if isinstance(span, Span))
