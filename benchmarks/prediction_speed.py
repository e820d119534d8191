"""Prediction speed side by side: one model, the same texts, equal threads, in one process.

First texts of 32 tokens: the `transformers` pipeline, as its documentation calls it and in batches of 32, beside
`Predictor` with torch, ONNX Runtime in float32 and in 8 bits; throughput, the latency of a single text, and the
physical bound: the measured rate of 8-bit matrix products over the operations of a text. Then texts of 8 to 256
tokens: batches in the file's order, padded to the longest, beside `Predictor`, for each backend. Ways take turns, so
that what else the machine does hits all alike. Of --rounds timings of each way (ten times as many of a single text)
the median counts; the least and the most stand beside it.

Each call is timed by two clocks at once, and both are shown. "wall" is the time that passes. "process" is the CPU time
of all threads of this process over --threads: waiting for a core is not in it, threads that wait in a loop are. On an
idle machine both agree; on a busy one wall is slower, and process says what the work itself takes. Run it with:

    python benchmarks/prediction_speed.py --threads 2 --rounds 7
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging

from tunesmith.data.records import Example
from tunesmith.inference.artifact import Loaded, Origin, load_artifact, read_description, save_artifact
from tunesmith.inference.forms import OnnxForm, add_form
from tunesmith.inference.onnx_session import open_session, run_session
from tunesmith.inference.predictor import Predictor
from tunesmith.machine import inspect_machine
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.tasks import SequenceClassification
from tunesmith.tasks.encoding import TextEncoder

MODEL = "minilm-l6"
WORDS = [
    "film",
    "story",
    "actor",
    "music",
    "scene",
    "plot",
    "good",
    "bad",
    "long",
    "short",
    "fine",
    "dull",
    "warm",
    "funny",
    "slow",
    "bright",
    "dark",
    "old",
    "new",
    "great",
]
CLOCKS = ("wall", "process")
BACKENDS = ("torch", "onnx", "onnx-int8")
PIPELINE = "transformers pipeline"


def texts_of(lengths: Sequence[int], seed: int = 1) -> list[str]:
    """Texts of so many tokens, specials included; each word is one token."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=length - 2)) for length in lengths]


def make_artifact(folder: Path) -> Path:
    """The model with a fresh head for two classes, in all forms."""
    backbone = load(locate(MODEL), dropout=None)
    examples = [Example("1", "good", "good"), Example("2", "bad", "bad")]
    task = SequenceClassification().prepared(examples, backbone.tokenizer)
    model = Model(backbone, task).eval()
    encoder = TextEncoder.of(backbone.tokenizer, backbone.max_length)
    save_artifact(folder, model, task, encoder, Origin("{}", {}, MODEL, {}, 1), "")
    forms: tuple[OnnxForm, ...] = ("onnx", "onnx-int8")
    for form in forms:
        add_form(folder, Loaded(model, task, encoder, read_description(folder)), form)
    return folder


def make_pipeline() -> Any:
    """The text-classification pipeline over the same body, on the CPU."""
    folder = locate(MODEL).path
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, num_labels=2)
    from_folder: Any = pipeline
    return from_folder("text-classification", model=model.eval(), tokenizer=str(folder), device="cpu")


def body_operations(model: Model, tokens: int) -> float:
    """Operations for a text: of the body's matrices two per weight and token, of attention 4 T^2 H per layer."""
    weights = sum(part.weight.numel() for part in model.body.modules() if isinstance(part, torch.nn.Linear))
    layers, width = model.body.config.num_hidden_layers, model.shape.hidden_size
    return float(2 * tokens * weights + layers * 4 * tokens**2 * width)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one way by one clock: the median of all rounds, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Of the seconds of all rounds."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


Timings = dict[str, dict[str, Timing]]
"""By clock, and by way."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured; seconds of `short` and `mixed` are of all `texts`, of `alone` of one."""

    processor: str
    threads: int
    texts: int
    rounds: int
    size_over_float32: dict[str, float]
    short: Timings
    alone: Timings
    mixed: dict[str, Timings]
    int8_operations_per_second: dict[str, float]
    operations_per_text: float


def clocked(way: Callable[[], object], threads: int) -> dict[str, float]:
    """The seconds of a call, by each clock."""
    wall, process = time.perf_counter(), time.process_time()
    way()
    return {"process": (time.process_time() - process) / threads, "wall": time.perf_counter() - wall}


def turns(ways: dict[str, Callable[[], object]], rounds: int, threads: int) -> Timings:
    """How long each way takes; they take turns, and each is called once before."""
    for way in ways.values():
        way()
    found: dict[str, dict[str, list[float]]] = {name: {clock: [] for clock in CLOCKS} for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for clock, seconds in clocked(way, threads).items():
                found[name][clock].append(seconds)
    return {clock: {name: Timing.of(seconds[clock]) for name, seconds in found.items()} for clock in CLOCKS}


def int8_rates(folder: Path, rounds: int, threads: int) -> dict[str, float]:
    """The best rate of 8-bit products by each clock, in operations a second: 1024 rows through 1024 x 4096 weights."""
    make, kinds = onnx.helper, onnx.TensorProto
    rows, width, columns = 1024, 1024, 4096
    weight = np.random.default_rng(0).integers(-127, 127, (width, columns)).astype(np.int8)
    graph = make.make_graph(
        [make.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [make.make_tensor_value_info("x", kinds.UINT8, [rows, width])],
        [make.make_tensor_value_info("y", kinds.INT32, [rows, columns])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    path = folder / "product.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9), path)
    session = open_session(path)
    given = {"x": torch.randint(0, 255, (rows, width), dtype=torch.uint8)}
    timed = turns({"product": partial(run_session, session, ["y"], given)}, max(5, rounds), threads)
    return {clock: 2.0 * rows * width * columns / timed[clock]["product"].least for clock in CLOCKS}


def in_file_order(predictor: Predictor, texts: Sequence[str], size: int) -> list[Any]:
    """Naive batching: `size` texts as they come, padded to the longest of them."""
    found = []
    for start in range(0, len(texts), size):
        examples = [Example(str(number), text) for number, text in enumerate(texts[start : start + size])]
        encoded = predictor.encode(examples)
        batch = predictor.task.collate(encoded, predictor.encoder.tokenizer.pad_token_id or 0)
        with torch.inference_mode():
            found += predictor.decode(examples, encoded, predictor.answering.infer(batch))
    return found


def mixed_lengths(count: int) -> dict[str, list[int]]:
    """Lengths of 8 to 256 tokens: any as likely as another, and short ones likelier, as texts of most sources are."""
    rng = np.random.default_rng(2)
    spread = np.exp(rng.uniform(np.log(8), np.log(257), count)).astype(int)
    return {"uniform": rng.integers(8, 257, count).tolist(), "log-uniform": spread.tolist()}


def mixed_timings(predictors: dict[str, Predictor], lengths: Sequence[int], rounds: int, threads: int) -> Timings:
    """Seconds of each backend, in batches as the file has them and as `Predictor` cuts them."""
    texts = texts_of(lengths)
    ways: dict[str, Callable[[], object]] = {}
    for name, one in predictors.items():
        ways[f"naive, {name}"] = partial(in_file_order, one, texts, 32)
        ways[f"Predictor, {name}"] = partial(one.predict_texts, texts)
    return turns(ways, rounds, threads)


def measure(arguments: argparse.Namespace) -> Measured:
    """Seconds of all ways on texts of 32 tokens, of a text alone, and on mixed lengths; the bound."""
    rounds, threads = arguments.rounds, arguments.threads
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as place:
        folder = make_artifact(Path(place) / "artifact")
        forms: Any = read_description(folder)["forms"]
        predictors = {backend: Predictor.load(folder, device="cpu", backend=backend) for backend in BACKENDS}
        pipe = make_pipeline()
        short = texts_of([32] * arguments.texts)
        ways: dict[str, Callable[[], object]] = {PIPELINE: partial(pipe, short)}
        ways[f"{PIPELINE}, batch 32"] = partial(pipe, short, batch_size=32)
        ways |= {f"Predictor, {name}": partial(one.predict_texts, short) for name, one in predictors.items()}
        alone: dict[str, Callable[[], object]] = {PIPELINE: partial(pipe, short[0])}
        alone |= {f"Predictor, {name}": partial(one.predict_texts, short[:1]) for name, one in predictors.items()}
        return Measured(
            processor=inspect_machine().processor,
            threads=threads,
            texts=arguments.texts,
            rounds=rounds,
            size_over_float32={form: entry["share"] for form, entry in forms.items()},
            short=turns(ways, rounds, threads),
            alone=turns(alone, 10 * rounds, threads),
            mixed={
                name: mixed_timings(predictors, drawn, rounds, threads)
                for name, drawn in mixed_lengths(arguments.texts).items()
            },
            int8_operations_per_second=int8_rates(Path(place), rounds, threads),
            operations_per_text=body_operations(load_artifact(folder).model, 32),
        )


def per_second(texts: int, timing: Timing) -> str:
    """Texts per second: by the median, and by the slowest and the quickest round."""
    return f"{texts / timing.median:.0f} ({texts / timing.most:.0f} to {texts / timing.least:.0f})"


def milliseconds(timing: Timing) -> str:
    """The median, the least and the most."""
    return f"{1e3 * timing.median:.2f} ({1e3 * timing.least:.2f} to {1e3 * timing.most:.2f})"


def show(found: Measured, clock: str, console: Console) -> None:
    """The figures by one clock as tables, each way beside the pipeline."""
    short, alone = found.short[clock], found.alone[clock]
    console.print(
        f"By the {clock} clock; medians (least to most) of {found.rounds} rounds, of {10 * found.rounds} of one text."
    )
    table = Table("32 tokens", "texts/s", "x pipeline", "ms for one text", "x faster", title_justify="left")
    for name, timing in short.items():
        single = alone.get(name)
        quicker = "–" if single is None else f"{alone[PIPELINE].median / single.median:.1f}"
        table.add_row(
            name, per_second(found.texts, timing), f"{short[PIPELINE].median / timing.median:.1f}",
            "–" if single is None else milliseconds(single), quicker,
        )  # fmt: skip
    console.print(table)
    rate = found.int8_operations_per_second[clock]
    console.print(
        f"Bound: {rate / 1e9:.0f} G operations/s of 8-bit products measured, over "
        f"{found.operations_per_text / 1e9:.2f} G per text = {rate / found.operations_per_text:.0f} texts/s."
    )
    table = Table("8 to 256 tokens", "lengths", "naive texts/s", "Predictor texts/s", "x naive", title_justify="left")
    for drawn, timings in found.mixed.items():
        for backend in BACKENDS:
            naive, ours = timings[clock][f"naive, {backend}"], timings[clock][f"Predictor, {backend}"]
            shown = (per_second(found.texts, one) for one in (naive, ours))
            table.add_row(backend, drawn, *shown, f"{naive.median / ours.median:.2f}")
    console.print(table)


def main() -> None:
    """Measure and print; --json writes the seconds too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7, help="timings of each way")
    parser.add_argument("--json", type=Path, help="Where to write the figures.")
    arguments = parser.parse_args()
    found = measure(arguments)
    console = Console(width=150)
    for clock in CLOCKS:
        show(found, clock, console)
    console.print(f"{found.processor}, {found.threads} threads.")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
