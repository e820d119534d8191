"""Few-shot classification beside published figures: ten draws of eight examples per class, judged by the whole test.

The figures are those of the results that are published with SetFit (Tunstall et al. 2022) for the same body,
all-MiniLM-L6-v2: ten draws of eight, 20 pairs of each kind per text, one epoch, batches of 16, 256 tokens, a logistic
head. The range is the published mean with its 95 % interval; the mean of ten other draws should lie in it or close by.
The linear probe is the same head on the body as it is.

Run it with: .venv/bin/python benchmarks/few_shot.py
With --keep FILE each draw is kept as it ends, and the same command goes on after the last one. With --published-draws
the examples are those of the published runs: eight rows of each label, drawn by numpy's RandomState of the seed from
the whole training split in its order (sst5, whose order is theirs; of AG News only a part is at hand).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
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
    """The accuracy on test (%) that a draw of examples came to; `probe` is None where it was not asked for."""

    data: str
    seed: int
    texts: int
    published: bool
    changes: list[str]
    few_shot: float
    probe: float | None
    seconds: float


PUBLISHED: Mapping[str, Published] = {"agnews": Published(83.11, 81.4, 84.9), "sst5": Published(29.77, 28.5, 31.0)}


def main() -> None:
    """Run both methods on each draw of each data set, and print what they reach."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    options.add_argument("--seeds", type=int, nargs="+", default=list(range(DRAWS)))
    options.add_argument("--limit-test", type=int, default=0, help="judge by so many test examples only; 0 for all")
    options.add_argument("--set", dest="changes", action="append", default=[], help="a change of the recipe")
    options.add_argument("--no-probe", action="store_true", help="leave the linear probe out")
    options.add_argument("--keep", type=Path, help="a file of draws: those in it are not made again")
    options.add_argument("--published-draws", action="store_true", help="the examples of the published runs (sst5)")
    given = options.parse_args()
    if given.published_draws and given.data != ["sst5"]:
        options.error("--published-draws needs --data sst5")
    console = Console(width=120)
    for name in given.data:
        with tempfile.TemporaryDirectory() as folder:
            data = limited(Data(name=name), given.limit_test, Path(folder)) if given.limit_test else Data(name=name)
            show(name, measured(name, data, given, console), console)


def limited(data: Data, size: int, folder: Path) -> Data:
    """The data with fewer test examples, as files in a folder."""
    splits = replace(data, validation="none").load("class", 0).splits
    test = drawn(splits.test, min(size, len(splits.test)), 0)
    return Data(train=written(splits.train, folder / "train.jsonl"), test=written(test, folder / "test.jsonl"))


def written(examples: Sequence[Example], file: Path) -> str:
    """The path of a file with these examples."""
    rows = (json.dumps({"text": example.text, "label": example.label}) for example in examples)
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(file)


def published_draw(data: Data, seed: int, folder: Path) -> Data:
    """The data with the eight training rows of each label that the published runs drew with a seed."""
    splits = replace(data, validation="none").load("class", 0).splits
    places: dict[str, list[int]] = {}
    for place, example in enumerate(splits.train):
        places.setdefault(str(example.label), []).append(place)
    chosen = [
        own[number]
        for own in places.values()
        for number in np.random.RandomState(seed).choice(len(own), size=8, replace=False)
    ]
    train = written([splits.train[place] for place in chosen], folder / "drawn.jsonl")
    return Data(train=train, test=written(splits.test, folder / "all.jsonl"))


def measured(name: str, data: Data, given: argparse.Namespace, console: Console) -> list[Draw]:
    """Each draw with the results of few-shot classification and of the linear probe."""
    texts = len(replace(data, train="none", validation="none").load("class", 0).splits.test)
    kept = [Draw(**json.loads(line)) for line in given.keep.open(encoding="utf-8")] if is_there(given.keep) else []
    asked = (name, texts, given.published_draws, given.changes)
    known = {draw.seed: draw for draw in kept if (draw.data, draw.texts, draw.published, draw.changes) == asked}
    for seed in (seed for seed in given.seeds if seed not in known):
        recipe = Experiment.from_yaml(RECIPE, [*given.changes, f"seed={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            source = published_draw(data, seed, Path(folder)) if given.published_draws else data
            few_shot = replace(
                recipe, data=replace(source, per_class=recipe.data.per_class, validation="none"), trackers=()
            )
            report = result(few_shot)
            probe = None if given.no_probe else accuracy(result(replace(few_shot, method=Nothing())))
        found = (accuracy(report), probe, report.cost.seconds_training)
        draw = Draw(name, seed, texts, given.published_draws, given.changes, *found)
        known[seed] = draw
        console.print(f"draw {seed}: {draw.few_shot:.2f}, linear probe {'-' if probe is None else f'{probe:.2f}'}")
        if given.keep:
            with given.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(draw)) + "\n")
    return [known[seed] for seed in given.seeds]


def is_there(file: Path | None) -> bool:
    """Whether there is a file of draws already."""
    return file is not None and file.is_file()


def result(experiment: Experiment) -> RunReport:
    """The report of a run whose files are not kept."""
    with tempfile.TemporaryDirectory() as folder:
        return pipeline.run(experiment, Path(folder) / "run", quiet=True).report


def accuracy(report: RunReport) -> float:
    """The accuracy on test in percent."""
    return 100 * next(split for split in report.splits if split.name == "test").metrics["accuracy"].value


def show(name: str, draws: Sequence[Draw], console: Console) -> None:
    """Print the draws, and their mean beside the published one."""
    table = Table(title=f"{name}: accuracy (%) on {draws[0].texts:,} test texts, by draw")
    for column in ("draw", "few-shot", "linear probe", "training s"):
        table.add_column(column, justify="right")
    reached = [draw.few_shot for draw in draws]
    probed = [draw.probe for draw in draws if draw.probe is not None]
    for draw in draws:
        probe = "-" if draw.probe is None else f"{draw.probe:.2f}"
        table.add_row(str(draw.seed), f"{draw.few_shot:.2f}", probe, f"{draw.seconds:.0f}")
    table.add_section()
    columns = (summary(reached), summary(probed) if len(probed) == len(draws) else ("-",) * 3)
    for row in zip(("mean", "sd", "interval of the mean"), *columns, strict=True):
        table.add_row(*row, "")
    published = PUBLISHED[name]
    table.add_row("published", f"{published.mean:.2f}", "", "")
    table.add_row("range", f"{published.low} to {published.high}", "", "")
    console.print(table)
    inside = published.low <= np.mean(reached) <= published.high
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
