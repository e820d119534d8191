"""How well wrong labels are found: noise planted in TREC, and the sentences of CoNLL-2003 that were corrected by hand.

In TREC a share of the training labels is changed, to any other class alike ("uniform") or each class to one other
("pair"), and `suspects_by_folds` ranks all training examples. In CoNLL-2003 a tagger that learnt from the training
split ranks the sentences of the original test split; those whose labels CoNLL++ (Wang et al. 2019) changed are to be
on top. Aims: ROC-AUC 0.9 in TREC; an average precision of three times the share of changed sentences in CoNLL-2003.

Run it with: .venv/bin/python benchmarks/label_noise.py trec
         or: .venv/bin/python benchmarks/label_noise.py conllpp --tagger runs/ner-conll2003/artifact
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.experiment import Experiment
from tunesmith.scoring.answers import class_of
from tunesmith.suspects import Suspects, suspects_by_folds, suspects_by_model

RECIPES = Path(__file__).parent.parent / "examples"
NOISE = ("uniform", "pair")
RESAMPLES = 2000


def main() -> None:
    """Rank the labels of one of the two data sets, and print how well the ranking finds the wrong ones."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", choices=["trec", "conllpp"])
    options.add_argument("--share", type=float, default=0.1, help="share of TREC's labels that are changed")
    options.add_argument("--seeds", type=int, nargs="+", default=[13])
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--tagger", type=Path, help="the artifact that judges CoNLL-2003")
    options.add_argument("--set", dest="changes", action="append", default=[], help="a change of the recipe of TREC")
    given = options.parse_args()
    console = Console(width=160)
    if given.data == "trec":
        planted(given, console)
    elif given.tagger is None:
        options.error("conllpp needs --tagger")
    else:
        corrected(given.tagger, console)


def planted(given: argparse.Namespace, console: Console) -> None:
    """Noise of both kinds in TREC, with each seed."""
    table = ranking_table("TREC, planted noise", "noise", "seed", "estimated share")
    clean = replace(Data(name="trec"), validation="none").load("class", 0).splits.train
    for seed in given.seeds:
        for kind in NOISE:
            wrong = changed([class_of(example) for example in clean], given.share, kind, seed)
            noisy = [
                replace(example, label=label or example.label) for example, label in zip(clean, wrong, strict=True)
            ]
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "noisy.jsonl"
                rows = (json.dumps({"id": one.id, "text": one.text, "label": one.label}) for one in noisy)
                file.write_text("\n".join(rows) + "\n", encoding="utf-8")
                recipe = Experiment.from_yaml(RECIPES / "questions_trec.yaml", [*given.changes, f"seed={seed}"])
                recipe = replace(recipe, data=Data(train=str(file), validation="none"), trackers=())
                found = suspects_by_folds(recipe, Path(folder) / "folds", given.folds, quiet=True)
            is_wrong = {example.id: label is not None for example, label in zip(clean, wrong, strict=True)}
            truth = [is_wrong[example.id] for example in found.examples]
            noise = f"{found.noise:.3f}" if found.noise is not None else "-"
            add_ranking(table, (kind, str(seed), noise), found, truth, seed)
    console.print(table)


def changed(labels: Sequence[str], share: float, kind: str, seed: int) -> list[str | None]:
    """The new label of each example that gets a wrong one, None for the others."""
    classes = sorted(set(labels))
    random = np.random.default_rng([seed, len(labels)])
    chosen = set(random.choice(len(labels), size=round(share * len(labels)), replace=False).tolist())
    found: list[str | None] = []
    for place, label in enumerate(labels):
        others = [other for other in classes if other != label]
        after = classes[(classes.index(label) + 1) % len(classes)]
        other = after if kind == "pair" else others[int(random.integers(len(others)))]
        found.append(other if place in chosen else None)
    return found


def corrected(tagger: Path, console: Console) -> None:
    """The original test sentences of CoNLL-2003, ranked by a tagger; those that CoNLL++ changed are the wrong ones."""
    recipe = Experiment.from_yaml(RECIPES / "ner_conll2003.yaml")
    found = suspects_by_model(recipe, "test", tagger)
    original, mended = test_sentences("conll2003"), test_sentences("conllpp")
    # The two files have the same sentences in the same order, of which some occur more than once.
    assert [one.text for one in original] == [one.text for one in mended]
    is_wrong = {old.id: old.label != new.label for old, new in zip(original, mended, strict=True)}
    truth = [is_wrong[example.id] for example in found.examples]
    table = ranking_table("CoNLL-2003, test split", "sentences", "known to the tagger")
    first = (f"{len(found.examples):,}", str(found.left_out))
    add_ranking(table, first, found, truth, 13)
    console.print(table)


def test_sentences(name: str) -> Sequence[Example]:
    """The test split of a data set of tagged sentences."""
    return replace(Data(name=name), train="none", validation="none").load("spans", 0).splits.test


def ranking_table(title: str, *first: str) -> Table:
    """An empty table of rankings."""
    table = Table(title=title)
    columns = (*first, "wrong", "share", "ROC-AUC", "average precision", "times the share", "precision at wrong")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def add_ranking(table: Table, first: Sequence[str], found: Suspects, truth: Sequence[bool], seed: int) -> None:
    """One line: how well the doubts rank the wrong labels, with 95 % intervals over examples."""
    scores = np.zeros(len(found.examples))
    # The order is what a reader works through, so that it is what is judged, ties and all.
    for rank, doubt in enumerate(found.doubts):
        scores[doubt.place] = -rank
    wrong = np.array(truth)
    top = np.argsort(-scores)[: wrong.sum()]
    table.add_row(
        *first,
        f"{wrong.sum():,}",
        f"{wrong.mean():.4f}",
        with_interval(roc_auc_score, wrong, scores, seed),
        with_interval(average_precision_score, wrong, scores, seed),
        f"{average_precision_score(wrong, scores) / wrong.mean():.1f}",
        f"{wrong[top].mean():.3f}",
    )


def with_interval(metric: object, wrong: NDArray[np.bool_], scores: NDArray[np.float64], seed: int) -> str:
    """A value with its bootstrap interval."""
    assert callable(metric)
    random = np.random.default_rng(seed)
    draws = (random.integers(len(wrong), size=len(wrong)) for _ in range(RESAMPLES))
    values = [metric(wrong[draw], scores[draw]) for draw in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{metric(wrong, scores):.4f} [{low:.4f}, {high:.4f}]"


if __name__ == "__main__":
    main()
