"""How much personal data is found, and how much of what is found is some: English and Chinese, beside Presidio.

English: the synthetic sentences of presidio-research (data set presidio-pii, both files), each file shuffled by a seed
and parted in halves. The recognisers were written while looking at the first half; the second is reported. Both halves
come from the same templates. Chinese: the sentences of chinese_personal_data.py around values of faker (zh_CN) and of
its own, whose check digits it counts by code of its own; values stand right beside Chinese characters, some in groups,
some full-width; other sentences hold numbers that only look like personal data. A value is found if values of its kind
cover all of it.

Presidio (if it is installed) runs on a blank spaCy pipeline, so with its pattern recognisers only, and at its own
threshold; for the Chinese texts China is added to the regions of its phone numbers. With --names ARTIFACT the free
kinds are also looked for by this tagger, beside the recognisers. What is found in real texts of
other data sets is counted at the end, without a truth to compare it with.

Run it with: .venv/bin/python -m benchmarks.personal_data
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import lzma
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.chinese_personal_data import CARDS, CHINESE, PHONES, Text, chinese_texts
from rich.console import Console
from rich.table import Table

from tunesmith.data.dataset import Data
from tunesmith.inference.name_tagger import names_by
from tunesmith.privacy import Found, Presidio, Redactor, Surface, standard
from tunesmith.privacy.presidio import analyzer_of
from tunesmith.privacy.redactor import resolved

FILES = ("synth_dataset_v2.json.xz", "generated_large.json.xz")
ENGLISH: Mapping[str, tuple[str, ...]] = {
    "PHONE_NUMBER": PHONES,
    "EMAIL_ADDRESS": ("EMAIL",),
    "CREDIT_CARD": CARDS,
    "IBAN_CODE": ("IBAN",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "US_SSN": ("SSN",),
    "DOMAIN_NAME": ("URL",),
    "US_DRIVER_LICENSE": ("DRIVER_LICENCE",),
}
FREE: Mapping[str, tuple[str, ...]] = {"PERSON": ("PERSON",), "STREET_ADDRESS": ("ADDRESS",), "ADDRESS": ("ADDRESS",)}
"""Kinds that need a model: these are for information."""

REAL = {"chnsenticorp": "class", "trec": "class", "conll2003": "spans", "clinc150": "class"}
"""Real texts: reviews, questions, news, requests; and the kind of their labels."""


def main() -> None:
    """Score both languages and print a table for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", choices=["development", "test"], default="test")
    options.add_argument("--seed", type=int, default=13, help="parts the English texts")
    options.add_argument("--chinese-seed", type=int, default=31, help="makes the Chinese texts")
    options.add_argument("--size", type=int, default=3000, help="Chinese sentences")
    options.add_argument("--misses", action="store_true", help="print what was missed and what was found for nothing")
    options.add_argument("--names", type=Path, help="an artifact that tags people and places")
    options.add_argument("--only-free", action="store_true", help="only the kinds that need a model")
    given = options.parse_args()
    console = Console(width=150)
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    english = english_texts(given.seed, given.part)
    chinese = chinese_texts(given.size, given.chinese_seed)
    console.print(f"English: {len(english):,} texts, {given.part} half (seed {given.seed}).")
    console.print(f"Chinese: {len(chinese):,} texts (seed {given.chinese_seed}).")
    for title, texts, kinds in (
        ("English, structured", english, ENGLISH),
        ("English, without a model", english, FREE),
        ("Chinese, structured", chinese, CHINESE),
    ):
        if given.only_free and kinds is not FREE:
            continue
        systems = finders(title.partition(",")[0])
        if given.names is not None and kinds is FREE:
            with_names = Redactor((*standard(), names_by(given.names)))
            systems["with names by an artifact"] = with_names.find
        report(console, title, texts, kinds, systems, misses=given.misses)
    if not given.only_free:
        real_texts(console)


def real_texts(console: Console) -> None:
    """What our recognisers find in real texts, of which most hold no personal data: counts alone."""
    table = Table(title="Real texts, Tunesmith", title_justify="left")
    for column in ("data set", "texts", "characters", "found", "microseconds per character"):
        table.add_column(column, justify="left" if column in ("data set", "found") else "right")
    redactor = Redactor(standard())
    for name, kind in REAL.items():
        data = Data(name=name, limit=4000, validation="none", test="none")
        texts = [example.text for example in data.load(kind, 13).splits.train]
        begin = time.process_time()
        counts = Counter(one.kind for text in texts for one in redactor.find(text))
        length = sum(map(len, texts))
        speed = (time.process_time() - begin) / length * 1e6
        said = ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "nothing"
        table.add_row(name, f"{len(texts):,}", f"{length:,}", said, f"{speed:.2f}")
    console.print(table)


def finders(language: str) -> dict[str, Callable[[str], Sequence[Found]]]:
    """What looks for personal data, by name."""
    ours = Redactor(standard())
    systems: dict[str, Callable[[str], Sequence[Found]]] = {"Tunesmith": ours.find}
    if importlib.util.find_spec("presidio_analyzer") is None:
        return systems
    if language == "Chinese":
        known = importlib.import_module("presidio_analyzer.predefined_recognizers")
        analyzer_of("en").registry.add_recognizer(known.PhoneRecognizer(supported_regions=("CN",)))
    presidio = Presidio(least_score=0.0)
    systems["Presidio"] = lambda text: resolved(presidio.find(Surface.of(text)))
    return systems


def english_texts(seed: int, part: str) -> list[Text]:
    """One half of the sentences of presidio-research."""
    folder = Path(os.environ.get("TUNESMITH_DATA", "../shared/data")) / "presidio-pii"
    texts: list[Text] = []
    for file in FILES:
        with lzma.open(folder / file, "rt", encoding="utf-8") as stream:
            rows = json.load(stream)
        random.Random(seed).shuffle(rows)
        half = len(rows) // 2
        for row in rows[:half] if part == "development" else rows[half:]:
            values = [(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]
            texts.append(Text(row["full_text"], tuple(values)))
    return texts


def report(
    console: Console,
    title: str,
    texts: Sequence[Text],
    kinds: Mapping[str, tuple[str, ...]],
    systems: Mapping[str, Callable[[str], Sequence[Found]]],
    *,
    misses: bool,
) -> None:
    """A table with recall and precision of each kind, for each system."""
    table = Table(title=title, title_justify="left")
    for column in ("kind", "values", "system", "recall", "precision", "gone"):
        table.add_column(column, justify="left" if column in ("kind", "system") else "right")
    speeds = []
    for system, find in systems.items():
        find(texts[0].text)
        begin = time.process_time()
        found = [find(text.text) for text in texts]
        speeds.append(f"{system} {(time.process_time() - begin) / len(texts) * 1e6:,.0f}")
        whole = [0, 0, 0, 0]
        for kind, accepted in kinds.items():
            counts = scored(texts, found, kind, accepted, kinds, console if misses and system == "Tunesmith" else None)
            values, hits, gone, named, right = counts
            if values:
                whole = [a + b for a, b in zip(whole, (values, hits, gone, named), strict=True)]
                table.add_row(kind, f"{values:,}", system, rate(hits, values), rate(right, named), rate(gone, values))
        table.add_row("all", f"{whole[0]:,}", system, rate(whole[1], whole[0]), "", rate(whole[2], whole[0]))
        table.add_section()
    console.print(table)
    console.print(f"Microseconds of the processor per text: {'; '.join(speeds)}.")


def scored(
    texts: Sequence[Text],
    found: Sequence[Sequence[Found]],
    kind: str,
    accepted: tuple[str, ...],
    kinds: Mapping[str, tuple[str, ...]],
    console: Console | None,
) -> tuple[int, int, int, int, int]:
    """Values of the kind; of these, covered by values of its kind, and by any; values found as it; of these, right."""
    values = hits = gone = named = right = 0
    alike = {name for name, others in kinds.items() if set(others) & set(accepted)}
    for text, ours in zip(texts, found, strict=True):
        for start, end, own in text.values:
            if own == kind:
                values += 1
                is_hit = covered(start, end, [one for one in ours if one.kind in accepted])
                hits += is_hit
                gone += covered(start, end, ours)
                if console is not None and not is_hit:
                    console.print(f"missed {kind}: {text.text[max(0, start - 30) : end + 10]!r}", markup=False)
        for one in ours:  # several kinds of one family share what was found, and so their precision
            if one.kind in accepted:
                named += 1
                is_right = any(one.start < e and s < one.end and own in alike for s, e, own in text.values)
                right += is_right
                if console is not None and not is_right:
                    shown = text.text[max(0, one.start - 30) : one.end + 10]
                    console.print(f"for nothing {one.kind}: {shown!r}", markup=False)
    return values, hits, gone, named, right


def covered(start: int, end: int, found: Sequence[Found]) -> bool:
    """Whether each character but blanks at the borders lies in something that was found."""
    return all(any(one.start <= place < one.end for one in found) for place in range(start, end))


def rate(part: int, whole: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    if not whole:
        return "-"
    z, share = 1.96, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return f"{share:.4f} [{max(0.0, middle - half):.4f}, {min(1.0, middle + half):.4f}]"


if __name__ == "__main__":
    main()
