"""What guards catch and what they cost, on real data: docs/evidence/guards.md has what came of it.

`injections` and `languages` need no model. `outside` compares three scores that tell texts of another kind from a
model's own; the limits come from its validation split, all shares from its test split. `floor` finds a confidence for
a wished risk on validation and looks at both on test. `toxicity` judges a classifier as a guard, on its own test split
and on the cases of HateCheck (Roettger et al. 2021).

Run it with: .venv/bin/python benchmarks/guards.py injections
         or: .venv/bin/python benchmarks/guards.py languages
         or: .venv/bin/python benchmarks/guards.py outside runs/sentiment-sst2/artifact --outside trec agnews
         or: .venv/bin/python benchmarks/guards.py outside runs/intent/artifact --outside clinc150:oos
         or: .venv/bin/python benchmarks/guards.py floor runs/sentiment-sst2/artifact --risks 0.05 0.1
         or: .venv/bin/python benchmarks/guards.py toxicity runs/guard-toxicity-en/artifact --labels 0 1 --hatecheck
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.evaluation.intervals import share_of
from tunesmith.guard_fitting import drawn, material_for, seen_by
from tunesmith.guarding import ConfidenceFloor, Language, OutOfDistribution, PromptInjection, Verdict
from tunesmith.guarding.distribution import SCORES
from tunesmith.guarding.fitting import Material, Seen
from tunesmith.guarding.thresholds import alarm_limit, auroc, fpr_at
from tunesmith.guarding.verdicts import NOTHING
from tunesmith.judging import Candidate, load_splits
from tunesmith.tasks import Distributing

ATTACKS = Path(__file__).parent / "prompt_injections.jsonl"
RATE, SEED, RESAMPLES = 0.05, 13, 500
CONSOLE = Console(width=160, highlight=False)


def main() -> None:
    """Measure what was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = options.add_subparsers(dest="what", required=True)
    verbs.add_parser("injections")
    verbs.add_parser("languages")
    outside = verbs.add_parser("outside")
    outside.add_argument("--outside", nargs="+", required=True, help="known data sets, or one's label: clinc150:oos")
    outside.add_argument("--limit", type=int, default=1000, help="so many texts of each kind")
    floor = verbs.add_parser("floor")
    floor.add_argument("--risks", type=float, nargs="+", default=[0.05, 0.1])
    toxicity = verbs.add_parser("toxicity")
    toxicity.add_argument("--labels", nargs="+", default=["1"], help="the labels that count as offensive")
    toxicity.add_argument("--threshold", type=float, default=0.5)
    toxicity.add_argument("--limit", type=int, default=3000, help="so many texts of the test split")
    toxicity.add_argument("--hatecheck", action="store_true")
    for verb in (outside, floor, toxicity):
        verb.add_argument("artifact", type=Path)
    given = options.parse_args()
    {"injections": injections, "languages": languages, "outside": outsides, "floor": floors, "toxicity": toxic}[
        given.what
    ](given)


def shown(hits: int, size: int) -> str:
    """A share with its interval."""
    share = share_of(hits, size)
    return f"{share.value:.4f} [{share.low:.4f}, {share.high:.4f}]"


def injections(_given: argparse.Namespace) -> None:
    """Recall on the attacks, false alarms on benign instructions, and the time of a look."""
    guard = PromptInjection()
    rows = [json.loads(line) for line in ATTACKS.read_text(encoding="utf-8").splitlines()]

    def stopped(examples: Sequence[Example]) -> int:
        return sum(isinstance(guard.before(one, NOTHING), Verdict) for one in examples)

    table = Table("texts", "number", "stopped", title="prompt_injection", title_justify="left")
    for label in ("attack", "benign"):
        for language in ("en", "zh"):
            part = [Example("", row["text"]) for row in rows if (row["label"], row["language"]) == (label, language)]
            table.add_row(f"{label}, {language}", str(len(part)), shown(stopped(part), len(part)))
    for name in ("instruction-1100", "alpaca-5000"):
        splits = Data(name=name).load("text", SEED, ("turns",)).splits
        examples = [one for part in splits.named().values() for one in part]
        start = time.process_time()
        table.add_row(f"benign, {name}", str(len(examples)), shown(stopped(examples), len(examples)))
        seconds = time.process_time() - start
    CONSOLE.print(table)
    CONSOLE.print(f"{seconds / len(examples) * 1e6:.0f} microseconds of CPU per text of {name}")


def languages(_given: argparse.Namespace) -> None:
    """What share of other languages is refused by a guard that has learnt English, or Chinese."""
    english = Data(name="sst2").load("class", SEED).splits
    chinese = Data(name="chnsenticorp").load("class", SEED).splits
    pairs = Data(name="multi30k-en-de").load("text", SEED).splits.test
    trec = Data(name="trec").load("class", SEED).splits.test
    others = {
        "sst2 test (en)": english.test,
        "multi30k (en)": pairs,
        "trec (en)": trec,
        "multi30k (de)": [Example(one.id, str(one.label)) for one in pairs],
        "chnsenticorp test (zh)": chinese.test,
    }
    table = Table("has learnt", "texts", "number", "refused", title="language", title_justify="left")
    for name, splits in (("sst2 (en)", english), ("chnsenticorp (zh)", chinese)):
        guard = Language().fitted(Material(Seen(drawn(splits.train, 4000, SEED)), Seen(splits.validation)))
        for title, texts in others.items():
            hits = sum(isinstance(guard.before(one, NOTHING), Verdict) for one in texts)
            table.add_row(name, title, str(len(texts)), shown(hits, len(texts)))
    CONSOLE.print(table)


def outsides(given: argparse.Namespace) -> None:
    """AUROC and FPR95 of each score, and what its limit by 5 % of false alarms stops."""
    candidate = Candidate.load(given.artifact)
    has_energy = isinstance(candidate.predictor.task, Distributing)
    guard = OutOfDistribution(score="auto" if has_energy else "mahalanobis", alarm_rate=RATE)
    material = material_for(candidate, [guard], "", "")
    test = seen_by(candidate.predictor, drawn(load_splits(candidate).test, given.limit, SEED), guard.needs)
    knowing = OutOfDistribution(score="mahalanobis", alarm_rate=RATE).fitted(material)
    table = Table(
        "outside", "texts", "score", "AUROC", "FPR95", "false alarms", "stopped",
        title=f"{len(test.examples)} test texts of {given.artifact}; limits by "
        f"{len(material.held_out.examples)} of validation",
        title_justify="left",
    )  # fmt: skip
    for name in given.outside:
        strange = seen_by(candidate.predictor, drawn(named(name), given.limit, SEED), guard.needs)
        for score in (one for one in SCORES if has_energy or one != "energy"):
            held, inside, out = (np.array(knowing.scores(score, part)) for part in (material.held_out, test, strange))
            limit = alarm_limit(held.tolist(), RATE)
            table.add_row(
                name, str(len(out)), score, resampled(auroc, inside, out), resampled(fpr_at, inside, out),
                shown(int((inside > limit).sum()), len(inside)), shown(int((out > limit).sum()), len(out)),
            )  # fmt: skip
    CONSOLE.print(table)


def named(name: str) -> list[Example]:
    """The test texts of a known data set, those of one label where it is named."""
    data, _, label = name.partition(":")
    texts = Data(name=data).load("class", SEED).splits.test
    return [one for one in texts if not label or one.label == label]


def resampled(measure: Callable[..., float], inside: np.ndarray, outside: np.ndarray) -> str:
    """A measure of two samples with its bootstrap interval."""
    random = np.random.default_rng(SEED)
    drawn_values = [
        measure(random.choice(inside, len(inside)), random.choice(outside, len(outside))) for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn_values, [0.025, 0.975])
    return f"{measure(inside, outside):.4f} [{low:.4f}, {high:.4f}]"


def floors(given: argparse.Namespace) -> None:
    """The floor of each wished risk, and what it keeps on test."""
    candidate = Candidate.load(given.artifact)
    material = material_for(candidate, [ConfidenceFloor(risk=0.1)], "", "")
    test = seen_by(candidate.predictor, load_splits(candidate).test, frozenset())
    table = Table(
        "risk wished", "floor", "validation: answered", "risk below", "test: answered", "test: wrong of these",
        title=f"confidence_floor of {given.artifact}; certainty 0.95; test without floor: wrong "
        f"{shown(len(test.examples) - sum(test.is_correct), len(test.examples))}",
        title_justify="left",
    )  # fmt: skip
    for risk in given.risks:
        try:
            guard = ConfidenceFloor(risk=risk).fitted(material)
        except RecipeError as error:
            table.add_row(f"{risk:g}", error.what)
            continue
        kept = [
            right
            for one, right in zip(test.predictions, test.is_correct, strict=True)
            if one.confidence >= (guard.least or 0.0)
        ]
        table.add_row(
            f"{risk:g}", f"{guard.least:.4f}", f"{guard.coverage:.4f}", f"{guard.bound:.4f}",
            shown(len(kept), len(test.examples)), shown(len(kept) - sum(kept), len(kept)),
        )  # fmt: skip
    CONSOLE.print(table)


def toxic(given: argparse.Namespace) -> None:
    """Recall, false alarms and AUROC of a classifier as a guard; on HateCheck by functionality."""
    candidate = Candidate.load(given.artifact)

    def values(examples: Sequence[Example]) -> np.ndarray:
        answers = candidate.predictor.predict([Example(one.id, one.text) for one in examples])
        return np.array([sum(one.scores.get(label, 0.0) for label in given.labels) for one in answers])

    test = drawn(load_splits(candidate).test, given.limit, SEED)
    found = values(test)
    bad = np.array([one.label in given.labels for one in test])
    stopped = found >= given.threshold
    CONSOLE.print(f"toxicity by {given.artifact}, {len(test)} test texts, {int(bad.sum())} of them offensive")
    CONSOLE.print(f"AUROC          {resampled(auroc, found[~bad], found[bad])}")
    CONSOLE.print(f"recall         {shown(int((stopped & bad).sum()), int(bad.sum()))}")
    CONSOLE.print(f"false alarms   {shown(int((stopped & ~bad).sum()), int((~bad).sum()))}")
    CONSOLE.print(f"precision      {shown(int((stopped & bad).sum()), int(stopped.sum()))}")
    if given.hatecheck:
        hatecheck(values, given.threshold)


def hatecheck(values: Callable[[Sequence[Example]], np.ndarray], threshold: float) -> None:
    """The share of the cases of each functionality that is stopped."""
    cases = Data(name="hatecheck", train="none", keep=("functionality",)).load("class", SEED).splits.test
    stopped = values(cases) >= threshold
    table = Table("functionality", "gold", "cases", "stopped", title="HateCheck", title_justify="left")
    names = [one.attributes["functionality"] for one in cases]
    gold = [str(one.label) for one in cases]
    for kind in dict.fromkeys(gold):
        part = [hit for hit, one in zip(stopped, gold, strict=True) if one == kind]
        table.add_row("all", kind, str(len(part)), shown(int(sum(part)), len(part)))
    for name in dict.fromkeys(names):
        part = [hit for hit, one in zip(stopped, names, strict=True) if one == name]
        table.add_row(name, gold[names.index(name)], str(len(part)), shown(int(sum(part)), len(part)))
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
