"""Sentences per second on one core for each augmenter that edits words; the aim is 5,000.

The texts are sentences of SST-2, and those of the reviews of ChnSentiCorp (37 characters on average); for what replaces
mentions, their last characters are one. What is looked up once (dictionaries, lexicons) is not counted.

Run it with: .venv/bin/python benchmarks/augmentation.py
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from rich.console import Console
from rich.table import Column, Table

from tunesmith.augmentation import (
    Augmenter,
    CharacterNoise,
    MentionReplacement,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
    TermSwap,
)
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Span

AIM = 5000
"""Sentences per second and core."""

WORD_EDITS: dict[str, Augmenter] = {
    "replace_synonyms": SynonymReplacement(),
    "insert_words": RandomInsertion(),
    "swap_words": RandomSwap(),
    "delete_words": RandomDeletion(),
    "mistype": CharacterNoise(),
    "swap_terms": TermSwap(),
}


def main() -> None:
    """Measure every word edit on each language, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=3000, help="sentences of each language")
    asked = arguments.parse_args()
    table = Table(
        Column("augmenter", no_wrap=True), "language", "characters", "sentences/s", "changed", f"at least {AIM:,}"
    )
    for language, examples in (("English", english(asked.count)), ("Chinese", chinese(asked.count))):
        length = sum(len(example.text) for example in examples) / len(examples)
        spanned = [with_mention(example) for example in examples]
        for name, augmenter in {**WORD_EDITS, "replace_mentions": MentionReplacement().fitted(spanned)}.items():
            speed, changed = measured(augmenter, spanned if name == "replace_mentions" else examples)
            row = (name, language, f"{length:.0f}", f"{speed:,.0f}", f"{changed:.0%}")
            table.add_row(*row, "yes" if speed >= AIM else "no")
    Console().print(table)


def english(count: int) -> Sequence[Example]:
    """Sentences of SST-2."""
    return list(Data(name="sst2", limit=count).load("class", 13, ("text",)).splits.train)


def chinese(count: int) -> Sequence[Example]:
    """Sentences of ChnSentiCorp's reviews."""
    reviews = Data(name="chnsenticorp", limit=count).load("class", 13, ("text",)).splits.train
    parts = (part for review in reviews for part in re.split(r"(?<=[。！？；])", review.text) if len(part) > 5)
    return [Example(str(number), part, "x") for number, part in enumerate(islice(parts, count))]


def measured(augmenter: Augmenter, examples: Sequence[Example]) -> tuple[float, float]:
    """Sentences per second of this process' time, and the share of texts that were changed."""
    for example in examples[:50]:
        augmenter.augment(example, random.Random(0))
    chance = random.Random(0)
    began = time.process_time()
    changed = sum(augmenter.augment(example, chance) is not None for example in examples)
    return len(examples) / (time.process_time() - began), changed / len(examples)


def with_mention(example: Example) -> Example:
    """The example with its last characters as a mention."""
    start = max(0, len(example.text.rstrip()) - 4)
    return replace(example, label=(Span(start, len(example.text.rstrip()), "end"),))


if __name__ == "__main__":
    main()
