"""A step of each objective beside a plain step: the same sentences and batches, taken in turn in one process.

    .venv/bin/python benchmarks/objective_speed.py

Every objective trains a model of its own. The steps are taken in turn, the order shifted by one each time, and each is
timed by the process's own clock on one thread, so that what else the machine does has little part. The ratio is that of
the times of all steps, with a bootstrap interval over the steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tunesmith import pipeline, preparation
from tunesmith.data.records import Splits
from tunesmith.experiment import Experiment
from tunesmith.training.batching import StepPlan
from tunesmith.training.loop import Material, Scheduled, Step, train
from tunesmith.training.optimizer import Schedule
from tunesmith.training.tracking import make_accelerator

SEED, RATE = 13, 5e-5
AIMS = {"fgm": 2.1, "r_drop": 2.05}
"""At most so many times a plain step."""
WARM_UP = 3
PLAIN = "task"
"""The objective that is the task's own loss."""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--objectives", nargs="*", default=["fgm", "r_drop", "supcon", "pgd", "freelb"])
    options.add_argument("--steps", type=int, default=60, help="of each objective, after three to warm up")
    options.add_argument("--batch-size", type=int, default=16)
    options.add_argument("--model", default="minilm-l6")
    options.add_argument("--data", default="sst2")
    given = options.parse_args()
    torch.set_num_threads(1)
    names = [PLAIN, *given.objectives]
    count = given.steps + WARM_UP
    ways = {name: steps_of(name, given.model, given.data, given.batch_size, count) for name in names}
    seconds = np.array(
        [in_turn(ways, names[turn % len(names) :] + names[: turn % len(names)]) for turn in range(count)]
    )
    show(names, seconds[WARM_UP:])


def steps_of(objective: str, model: str, data: str, batch_size: int, count: int) -> Generator[Step, None, None]:
    """The training steps of an objective, one at a time."""
    recipe = {
        "task": {"name": "sequence_classification"},
        "data": {"name": data, "limit": count * batch_size},
        "model": {"name": model},
        "training": {"batch_size": batch_size, "learning_rate": RATE, "epochs": 1},
        "objective": {"name": objective},
        "trackers": [],
        "seed": SEED,
    }
    experiment = Experiment.from_mapping(recipe)
    examples = experiment.data.load("class", SEED, ("text",)).splits.train
    prepared = preparation.prepare_splits(experiment, Splits(examples, (), ()))
    torch.manual_seed(SEED)
    network = pipeline.make_model(experiment, prepared)
    plan = StepPlan(prepared.encoded["train"], 1, batch_size, 1, experiment.training.max_tokens, SEED)
    learner = pipeline.make_learner(experiment, network, plan.total)
    tokenizer = prepared.encoder.tokenizer
    material = Material(
        prepared.task,
        examples,
        prepared.encoded["train"],
        tokenizer.pad_token_id or 0,
        special=tuple(tokenizer.all_special_ids),
    )
    rate = Scheduled(RATE, Schedule("constant", 0.0), plan.total)
    return train(learner, material, plan.steps(), rate, make_accelerator((), Path(), "bench", {}))


def in_turn(ways: dict[str, Generator[Step, None, None]], order: Sequence[str]) -> list[float]:
    """The seconds of one step of each way, in the order of `ways`."""
    took = {}
    for name in order:
        began = time.process_time()
        next(ways[name])
        took[name] = time.process_time() - began
    return [took[name] for name in ways]


def show(names: Sequence[str], seconds: np.ndarray) -> None:
    """Print the table; `seconds` are [steps, ways]."""
    drawn = np.random.default_rng(SEED).integers(len(seconds), size=(2000, len(seconds)))
    table = Table(title=f"{len(seconds)} steps of each, one thread, processor time")
    for column in ("objective", "ms a step", "times the plain step", "95 % interval", "at most"):
        table.add_column(column, justify="left" if column == "objective" else "right")
    for place, name in enumerate(names):
        ratio = seconds[:, place].sum() / seconds[:, 0].sum()
        low, high = np.quantile(seconds[drawn, place].sum(1) / seconds[drawn, 0].sum(1), (0.025, 0.975))
        aim = f"{AIMS[name]:.2f}" if name in AIMS else ""
        mean = f"{1000 * seconds[:, place].mean():.0f}"
        table.add_row(name, mean, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}", aim)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
