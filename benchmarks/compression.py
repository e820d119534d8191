"""What compression costs: pruning in rounds and at once, a distilled student and one alone, weights in few bits.

pruning: a model is trained; then as many heads and neurons are taken out at once ("one_shot") as in rounds, with as
many epochs of training in all: as many in each round ("rounds"), or most in the first ("cubic"). "one_shot_short" has
only the epochs that the rounds have after their last cut. Aim: the rounds are better at equal size. With --epochs 0
nothing is trained, and rounds differ only in that importance is measured anew before each.

student: a model is trained, and a student of some of its layers learns from its answers ("distilled"). The same layers
of the pre-trained model learn from the labels alone for as many epochs ("alone"). Aim: the distilled one is better,
paired by seed, with a t interval over seeds. "continued", the student's layers of the trained model learning on from
the labels, says how much of this is the start; "distilled" is held against it too.

perplexity: SmolLM2-135M as it is and with its matrices in 8 and in 4 bits ("weight_only"), on sentences of BC5CDR's
test split that are drawn by --seeds (the first). Perplexity over all tokens; differences are paired by sentence, with
the bootstrap of `evaluate`. Nothing is trained, so that no texts can have been learnt from here.

What is done is kept below --folder, so that the same command goes on where it was stopped.

Run it with: .venv/bin/python benchmarks/compression.py pruning --folder runs/pruning --limit 3000 --seeds 1 2 3
         or: .venv/bin/python benchmarks/compression.py student --folder runs/student --seeds 1 2 3 4 5
         or: .venv/bin/python benchmarks/compression.py perplexity --folder runs/few-bits --seeds 13 --texts 200
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from tunesmith import pipeline
from tunesmith.compressing import compress
from tunesmith.compression_plan import planned
from tunesmith.data.dataset import Data
from tunesmith.data.splits import drawn
from tunesmith.evaluation.intervals import compare, estimate
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import WEIGHTS, Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.weight_only import hold_artifact
from tunesmith.judging import judge_artifact
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model, count_parameters
from tunesmith.models.weight_only import Held
from tunesmith.scoring import Measure
from tunesmith.scoring.perplexity import measure_perplexity
from tunesmith.tasks import CausalLanguageModeling
from tunesmith.tasks.encoding import TextEncoder

RECIPES = Path(__file__).parent.parent / "examples"
LANGUAGE_MODEL = "smollm2-135m"
BITS: Mapping[str, Held] = {"int8": "int8", "int4": "int4"}
NAMES = {"sst2": "sentiment_sst2.yaml", "conll2003": "ner_conll2003.yaml"}


def main() -> None:
    """Do one of the three comparisons, and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["pruning", "student", "perplexity"])
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--data", choices=list(NAMES), default="sst2")
    options.add_argument("--limit", type=int, default=3000, help="training examples; 0 for all")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options.add_argument("--shares", type=float, nargs="+", default=[0.5], help="of heads and neurons, for pruning")
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--ways", nargs="+", default=["one_shot", "rounds", "cubic"], help="of pruning, see above")
    options.add_argument("--layers", type=int, default=3, help="of the student")
    options.add_argument("--epochs", type=int, default=4, help="of training after or between cuts, in all")
    options.add_argument("--texts", type=int, default=200, help="sentences, for perplexity")
    options.add_argument("--set", dest="changes", action="append", default=[], help="a change of the recipe")
    given = options.parse_args()
    if given.what == "perplexity":
        in_few_bits(given)
        return
    rows = [row for seed in given.seeds for row in (pruned if given.what == "pruning" else taught)(given, seed)]
    (given.folder / f"{given.what}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(rows, Console(width=150), f"{given.what}: {given.data}, {given.limit or 'all'} training examples")


def recipe(given: argparse.Namespace, seed: int, changes: Sequence[str] = ()) -> Experiment:
    """The recipe of the data set with these settings."""
    own = [f"seed={seed}", f"data.limit={given.limit}", "trackers=[]", "evaluation.test=false"]
    return Experiment.from_yaml(RECIPES / NAMES[given.data], [*own, *given.changes, *changes])


def trained(given: argparse.Namespace, seed: int) -> Path:
    """The artifact of the whole model, trained where it is not there yet."""
    return run_or_resume(recipe(given, seed), given.folder / f"seed-{seed}" / "whole")


def run_or_resume(experiment: Experiment, folder: Path) -> Path:
    """The artifact of a run: made, gone on with, or there already."""
    if (folder / "report.html").is_file():
        return folder / "artifact"
    if (folder / "recipe.yaml").is_file():
        return pipeline.resume(folder).artifact
    return pipeline.run(experiment, folder).artifact


def smaller(artifact: Path, steps: Sequence[str], changes: Sequence[str], out: Path) -> Path:
    """The artifact after some steps: made, gone on with, or there already."""
    if not (out / "compression.html").is_file():
        compress(artifact, out, planned(artifact, steps, ["compression.floor=null", *changes]))
    return out


def pruned(given: argparse.Namespace, seed: int) -> list[dict[str, object]]:
    """Pruning at once and in rounds, at each share."""
    whole = trained(given, seed)
    rows = [row_of("whole", seed, whole, 0.0)]
    each = given.epochs // 2 // given.rounds
    if 2 * given.rounds * each != given.epochs:
        raise SystemExit(
            f"{given.epochs} epochs for the two steps cannot be parted into {given.rounds} rounds of each."
        )
    ways = {
        "one_shot": (1, given.rounds * each, "linear"),
        "rounds": (given.rounds, each, "linear"),
        "cubic": (given.rounds, each, "cubic"),
        "one_shot_short": (1, each, "linear"),
    }
    for share in given.shares:
        for name in given.ways:
            rounds, epochs, schedule = ways[name]
            wanted = {"share": share, "rounds": rounds, "epochs": epochs, "schedule": schedule}
            steps = ("head_prune", "feed_forward_prune")
            changes = [f"{step}.{key}={value}" for step in steps for key, value in wanted.items()]
            out = given.folder / f"seed-{seed}" / f"{name}-{share:g}"
            rows.append(row_of(f"{name}, {share:g} taken out", seed, smaller(whole, steps, changes, out), share))
    return rows


def taught(given: argparse.Namespace, seed: int) -> list[dict[str, object]]:
    """A distilled student, and the same layers that learn alone."""
    whole = trained(given, seed)
    place = given.folder / f"seed-{seed}"
    student = [f"distill.layers={given.layers}", f"distill.epochs={given.epochs}"]
    dropped = [f"layer_drop.layers={given.layers}", f"layer_drop.epochs={given.epochs}"]
    distilled = smaller(whole, ["distill"], student, place / "distilled")
    continued = smaller(whole, ["layer_drop"], dropped, place / "continued")
    untrained = run_or_resume(
        recipe(given, seed, ["training.learning_rate=1e-9", "training.epochs=1"]), place / "start"
    )
    alone = smaller(untrained, ["layer_drop"], [*dropped, *own_rate(given)], place / "alone")
    return [
        row_of(name, seed, artifact, 0.0)
        for name, artifact in (
            ("whole", whole), ("distilled", distilled), ("continued", continued), ("alone", alone),
        )
    ]  # fmt: skip


def own_rate(given: argparse.Namespace) -> list[str]:
    """The recipe's own learning rate, which the artifact of the untrained model does not have."""
    return [f"layer_drop.learning_rate={recipe(given, 1).training.learning_rate}"]


def row_of(name: str, seed: int, artifact: Path, share: float) -> dict[str, object]:
    """A model's main metric on test, and its size."""
    found = judge_artifact(artifact, "", None).split
    predictor = Predictor.load(artifact)
    metric = predictor.task.metric
    assert isinstance(predictor.model, Model), "no step of this benchmark ends in another form"
    parameters = count_parameters(predictor.model)[0]
    value = found.metrics[metric].value
    return {"name": name, "seed": seed, "share": share, "metric": metric, "value": value, "parameters": parameters}


def show(rows: Sequence[Mapping[str, object]], console: Console, title: str) -> None:
    """The mean of each kind over seeds, and its differences from those that it is held against, paired by seed."""
    table = Table(title=title)
    for column in ("model", "parameters", "seeds", "mean", "held against", "difference", "95 % t interval"):
        table.add_column(column, justify="left" if column in ("model", "held against") else "right")
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    values = {name: {row["seed"]: float(str(row["value"])) for row in rows if row["name"] == name} for name in names}
    sizes = {str(row["name"]): int(str(row["parameters"])) for row in rows}
    for name in names:
        mean = float(np.mean(list(values[name].values())))
        told = [name, f"{sizes[name]:,}", str(len(values[name])), f"{mean:.4f}"]
        for other in held_against(name, names) or [""]:
            gaps = [value - values[other][seed] for seed, value in values[name].items()] if other else []
            shown = (other, f"{np.mean(gaps):+.4f}", interval(gaps)) if gaps else ("", "", "")
            table.add_row(*told, *shown)
            told = [""] * len(told)
    console.print(table)


def in_few_bits(given: argparse.Namespace) -> None:
    """Perplexity of a language model in float32, 8 and 4 bits, paired by text."""
    seed = given.seeds[0]
    texts = drawn(Data(name="bc5cdr").load("", seed).splits.test, given.texts, seed)
    table = Table(title=f"perplexity: {LANGUAGE_MODEL}, {len(texts)} sentences of bc5cdr, seed {seed}")
    for column in ("weights", "file", "of float32", "perplexity", "95 % interval", "difference", "95 % interval of it"):
        table.add_column(column, justify="left" if column == "weights" else "right")
    whole: Measure | None = None
    bytes_before = 0
    for name in ("float32", *BITS):
        artifact = language_model(given.folder, name)
        size = (artifact / WEIGHTS).stat().st_size
        predictions = Predictor.load(artifact, device="cpu").predict(texts)
        found = measure_perplexity(predictions)
        value = estimate([found], seed=seed)[found.name]
        told = [f"{value.value:.2f}", f"{value.low:.2f} to {value.high:.2f}"]
        if whole is not None:
            gap = compare(found, whole, seed=seed).difference
            told += [f"{gap.value:+.2f} ({gap.value / whole.value():+.2%})", f"{gap.low:+.2f} to {gap.high:+.2f}"]
        whole, bytes_before = whole or found, bytes_before or size
        table.add_row(name, f"{size / 1e6:.1f} MB", f"{size / bytes_before:.2f}", *told)
    console = Console(width=150)
    console.print(table)
    console.print(f"{sum(one.label_tokens for one in predictions):,} tokens were foretold.")


def language_model(folder: Path, name: str) -> Path:
    """The artifact of the language model in float32 or in few bits, made where it is not there yet."""
    place = folder / name
    if not place.exists() and name == "float32":
        backbone = load(locate(LANGUAGE_MODEL), dropout=None, kind="causal_lm")
        task = CausalLanguageModeling(max_length=512)
        encoder = TextEncoder.of(backbone.tokenizer, task.max_length)
        origin = Origin("{}", {}, LANGUAGE_MODEL, {}, 1)
        save_artifact(place, Model(backbone, task).eval(), task, encoder, origin, "")
    elif not place.exists():
        hold_artifact(language_model(folder, "float32"), place, BITS[name])
    return place


def held_against(name: str, names: Sequence[str]) -> list[str]:
    """What a model is compared with: of pruned ones those cut once, of students those that had less to learn from."""
    _, comma, share = name.partition(",")
    cut_once = [f"{one}{comma}{share}" for one in ("one_shot", "one_shot_short")]
    others = cut_once if comma else ["alone", "continued"] if name == "distilled" else ["alone"]
    mine = others.index(name) if name in others else len(others)
    return [other for other in others[:mine] if other in names]


def interval(gaps: Sequence[float]) -> str:
    """The 95 % interval of a mean over seeds."""
    if len(gaps) < 2:
        return "-"
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * float(np.std(gaps, ddof=1)) / math.sqrt(len(gaps))
    return f"{np.mean(gaps) - half:+.4f} to {np.mean(gaps) + half:+.4f}"


if __name__ == "__main__":
    main()
