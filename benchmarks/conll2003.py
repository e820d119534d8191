"""CoNLL-2003 with five seeds: entity F1 and the word-level report on the original test split.

Run it with: .venv/bin/python benchmarks/conll2003.py (about half an hour on two cores)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tunesmith import pipeline
from tunesmith.console import class_rows
from tunesmith.experiment import Experiment

RECIPE = Path(__file__).parent.parent / "examples" / "ner_conll2003.yaml"


def main() -> None:
    """Run the recipe with each seed and print the results and their spread."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options.add_argument("--set", dest="changes", action="append", default=[])
    given = options.parse_args()
    console = Console(width=120)
    rows, values = Table(title="Entity F1 on the original test split"), []
    for column in ("seed", "F1", "95 % interval", "training s"):
        rows.add_column(column, justify="right")
    for seed in given.seeds:
        experiment = Experiment.from_yaml(RECIPE, [*given.changes, f"seed={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            report = pipeline.run(experiment, Path(folder) / "run").report
        test = next(split for split in report.splits if split.name == "test")
        f1 = test.metrics["f1"]
        values.append(f1.value)
        rows.add_row(
            str(seed), f"{f1.value:.4f}", f"{f1.low:.4f} to {f1.high:.4f}", f"{report.cost.seconds_training:.0f}"
        )
        for table in test.tables:
            console.print(class_rows(f"seed {seed}: {table.title}", table.rows))
    console.print(rows)
    spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    console.print(f"mean {np.mean(values):.4f}, standard deviation {spread:.4f} over {len(values)} seeds")


if __name__ == "__main__":
    main()
