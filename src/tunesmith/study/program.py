"""The program of one run: `python -m tunesmith.study.program ORDER`; it trains, judges, and prints what came of it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tunesmith import promotion, run_folder
from tunesmith.errors import TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.study.judged import judge


@dataclass(frozen=True)
class Order:
    """What a run's process shall do; an empty `recipe` means to go on with the run in the folder."""

    folder: str
    recipe: str
    overwrite: bool
    split: str
    threads: int


def main(order: Order) -> dict[str, object]:
    """Do the run, let its artifact answer the split, and say what both took.

    Checkpoints are removed at the end: a run that ended well never goes on.
    """
    if order.threads:
        torch.set_num_threads(order.threads)
    folder = Path(order.folder)
    experiment = Experiment.from_yaml(order.recipe or folder / run_folder.RECIPE)
    files = run_folder.files_of(experiment)
    if order.recipe:
        result = promotion.run(experiment, folder, overwrite=order.overwrite, quiet=True)
    else:
        result = promotion.resume(folder, quiet=True)
    judged = judge(result.artifact, order.split)
    for checkpoints in sorted(folder.rglob("checkpoints")):
        shutil.rmtree(checkpoints, ignore_errors=True)
    report = result.report
    said = {"cost": asdict(report.cost), "sizes": dict(report.sizes), "judged": judged.plain()}
    return {"folder": str(folder), **said, "files": files}


if __name__ == "__main__":
    try:
        json.dump(main(Order(**json.loads(sys.argv[1]))), sys.stdout)
    except TunesmithError as error:
        sys.exit(f"{type(error).__name__}: {' '.join(part for part in (error.what, error.where, error.to_do) if part)}")
