"""Few-shot classification beside published figures: ten draws of eight examples per class, judged by the whole test.

The figures are those of the results that are published with SetFit (Tunstall et al. 2022) for the same body,
all-MiniLM-L6-v2: ten draws of eight, 20 pairs of each kind per text, one epoch, batches of 16, 256 tokens, a logistic
head. The range is the published mean with its 95 % interval; the mean of ten other draws should lie in it or close by.
The linear probe is the same head on the body as it is.

Run it with: .venv/bin/python benchmarks/few_shot.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.data.splits import drawn
from tunesmith.evaluation.report import RunReport
from tunesmith.experiment import Experiment
from tunesmith.methods.selective import Nothing

RECIPE = Path(__file__).parent.parent / "examples" / "few_shot_agnews.yaml"
DRAWS = 10
"""Draws behind each published mean."""


@dataclass(frozen=True)
class Published:
    """A published mean accuracy in percent, and the range in which ours should lie."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Draw:
    """What a draw of examples came to with each method."""

    seed: int
    few_shot: RunReport
    probe: RunReport


PUBLISHED: Mapping[str, Published] = {"agnews": Published(83.11, 81.4, 84.9), "sst5": Published(29.77, 28.5, 31.0)}


def main() -> None:
    """Run both methods on each draw of each data set, and print what they reach."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    options.add_argument("--seeds", type=int, nargs="+", default=list(range(DRAWS)))
    options.add_argument("--limit-test", type=int, default=0, help="judge by so many test examples only; 0 for all")
    options.add_argument("--set", dest="changes", action="append", default=[], help="a change of the recipe")
    given = options.parse_args()
    console = Console(width=120)
    for name in given.data:
        with tempfile.TemporaryDirectory() as folder:
            data = limited(Data(name=name), given.limit_test, Path(folder)) if given.limit_test else Data(name=name)
            show(name, measured(data, given.seeds, given.changes, console), console)


def limited(data: Data, size: int, folder: Path) -> Data:
    """The data with fewer test examples, as files in a folder."""
    splits = replace(data, validation="none").load("class", 0).splits
    parts = {"train": splits.train, "test": drawn(splits.test, min(size, len(splits.test)), 0)}
    for part, examples in parts.items():
        rows = (json.dumps({"text": example.text, "label": example.label}) for example in examples)
        (folder / f"{part}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Data(train=str(folder / "train.jsonl"), test=str(folder / "test.jsonl"))


def measured(data: Data, seeds: Sequence[int], changes: Sequence[str], console: Console) -> list[Draw]:
    """Each draw with the reports of few-shot classification and of the linear probe."""
    found = []
    for seed in seeds:
        recipe = Experiment.from_yaml(RECIPE, [*changes, f"seed={seed}"])
        few_shot = replace(recipe, data=replace(data, per_class=recipe.data.per_class, validation="none"), trackers=())
        reports = []
        for experiment in (few_shot, replace(few_shot, method=Nothing())):
            with tempfile.TemporaryDirectory() as folder:
                reports.append(pipeline.run(experiment, Path(folder) / "run", quiet=True).report)
        found.append(Draw(seed, *reports))
        console.print(f"draw {seed}: {accuracy(reports[0]):.2f}, linear probe {accuracy(reports[1]):.2f}")
    return found


def accuracy(report: RunReport) -> float:
    """The accuracy on test in percent."""
    return 100 * next(split for split in report.splits if split.name == "test").metrics["accuracy"].value


def show(name: str, draws: Sequence[Draw], console: Console) -> None:
    """Print the draws, and their mean beside the published one."""
    table = Table(title=f"{name}: accuracy (%) on {draws[0].few_shot.sizes['test']:,} test texts, by draw")
    for column in ("draw", "few-shot", "linear probe", "training s"):
        table.add_column(column, justify="right")
    columns = [[accuracy(draw.few_shot) for draw in draws], [accuracy(draw.probe) for draw in draws]]
    for draw, reached, probed in zip(draws, *columns, strict=True):
        seconds = f"{draw.few_shot.cost.seconds_training:.0f}"
        table.add_row(str(draw.seed), f"{reached:.2f}", f"{probed:.2f}", seconds)
    table.add_section()
    for row in zip(("mean", "sd", "interval of the mean"), *(summary(column) for column in columns), strict=True):
        table.add_row(*row, "")
    published = PUBLISHED[name]
    table.add_row("published", f"{published.mean:.2f}", "", "")
    table.add_row("range", f"{published.low} to {published.high}", "", "")
    console.print(table)
    inside = published.low <= np.mean(columns[0]) <= published.high
    few = "" if len(draws) >= DRAWS else f" The range is for the mean of {DRAWS}; a single draw may well lie outside."
    console.print(f"The mean of {len(draws)} draws lies {'inside' if inside else 'outside'} the range.{few}")


def summary(values: Sequence[float]) -> tuple[str, str, str]:
    """Mean, standard deviation and the 95 % interval of the mean (Student's t)."""
    if len(values) < 2:
        return f"{values[0]:.2f}", "-", "-"
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(student.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5
    return f"{mean:.2f}", f"{spread:.2f}", f"{mean - half:.2f} to {mean + half:.2f}"


if __name__ == "__main__":
    main()
