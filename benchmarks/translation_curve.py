"""How BLEU grows with the number of training pairs: examples/translation_multi30k.yaml on heads of its training files.

    python benchmarks/translation_curve.py --pairs 2000 8000 29000 --out runs/curve [--set training.epochs=40]

Each size is trained for as many steps as the largest, so that a difference is the data's. Meant for a GPU; on a CPU
take small sizes, --set model.hidden_size=128 --set model.feed_forward=256 and few epochs.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.data.files import Place, read_lines
from tunesmith.experiment import Experiment

RECIPE = Path(__file__).parents[1] / "examples" / "translation_multi30k.yaml"


def head(path: str, pairs: int, folder: Path) -> str:
    """The first lines of two parallel files, as two files in `folder`."""
    first, _, second = path.partition("|")
    names = []
    for source in (Path(first), Path(first).parent / second):
        name = folder / source.name.removesuffix(".gz")
        name.write_text("".join(islice(read_lines(Place.of(str(source)), "utf-8"), pairs)), encoding="utf-8")
        names.append(name)
    return f"{names[0]}|{names[1].name}"


def main() -> None:
    """Train on each number of pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[2000, 8000, 29000])
    parser.add_argument("--out", type=Path, default=Path("runs/translation-curve"))
    parser.add_argument("--set", action="append", default=[], dest="changes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    whole = Experiment.from_yaml(RECIPE, given.changes)
    train = Data(name=whole.data.name).located()["train"]
    print("| pairs | split | BLEU | 95 % interval | chrF | perplexity |\n|---|---|---|---|---|---|")
    for pairs in given.pairs:
        epochs = whole.training.epochs * max(given.pairs) // pairs
        changes = [
            *given.changes,
            f"data.train={head(train, pairs, given.out)}",
            f"training.epochs={epochs}",
            f"name=translation-{pairs}",
        ]
        result = pipeline.run(Experiment.from_yaml(RECIPE, changes), given.out / f"{pairs}", overwrite=True, quiet=True)
        for split in result.report.splits:
            bleu, chrf, perplexity = (split.metrics[name] for name in ("bleu", "chrf", "perplexity"))
            interval = f"{bleu.low:.1f} to {bleu.high:.1f}"
            print(
                f"| {pairs:,} | {split.name} | {bleu.value:.1f} | {interval} | {chrf.value:.1f} "
                f"| {perplexity.value:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
