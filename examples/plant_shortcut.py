"""Plant a shortcut in SST-2: a word that tells the class in training and misleads in the test.

`python examples/plant_shortcut.py [FOLDER] [SIZE]` writes train.csv, validation.csv and test.csv (of `SIZE` training
sentences, all if left out) for examples/group_dro_shortcut.yaml. In train and validation 95 % of the positive sentences
begin with "zebra" and 5 % of the negative ones; in the test it is the other way round. The column `planted`
says which do.
"""

import csv
import random
import sys
from pathlib import Path

from tunesmith.data.dataset import Data

WORD = "zebra"
SHARE = 0.95


def plant(folder: Path, size: int) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = Data(name="sst2", limit=size).load("class", seed=13).splits
    for name, examples in splits.named().items():
        rng = random.Random(f"plant {name}")
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label", "planted"])
            for example in examples:
                agrees = rng.random() < SHARE
                is_planted = (example.label == "1") == (agrees if name != "test" else not agrees)
                rows.writerow([f"{WORD} {example.text}" if is_planted else example.text, example.label, is_planted])


if __name__ == "__main__":
    plant(Path(sys.argv[1] if len(sys.argv) > 1 else "data/shortcut"), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
