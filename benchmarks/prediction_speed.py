"""Prediction speed side by side: one model, the same texts, equal threads, in one process.

First texts of 32 tokens: the `transformers` pipeline, as its documentation calls it and in batches of 32, beside
`Predictor` with torch, ONNX Runtime in float32 and in 8 bits; throughput, the latency of a single text, and the
physical bound: the measured rate of 8-bit matrix products over the operations of a text. Then texts of 8 to 256
tokens: batches in the file's order, padded to the longest, beside `Predictor`, for each backend. Ways take turns, so
that what else the machine does hits all alike; of several rounds the median counts. With --clock process the seconds
are those of the process over its threads, for a machine that is not idle. Run it with:

    python benchmarks/prediction_speed.py --threads 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
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


def int8_rate(folder: Path, clock: Callable[[], float], rounds: int) -> float:
    """The best measured rate of 8-bit products, in operations per second: 1024 rows through 1024 x 4096 weights."""
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
    best = 0.0
    for _ in range(max(5, rounds)):
        began = clock()
        run_session(session, ["y"], given)
        best = max(best, 2.0 * rows * width * columns / (clock() - began))
    return best


def turns(ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median seconds of each way, which take turns; each is called once before."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = clock()
            way()
            seconds[name].append(clock() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


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


def mixed_speeds(
    predictors: dict[str, Predictor],
    lengths: Sequence[int],
    arguments: argparse.Namespace,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Texts per second of each backend, in batches as the file has them and as `Predictor` cuts them."""
    texts = texts_of(lengths)
    ways: dict[str, Callable[[], object]] = {}
    for name, one in predictors.items():
        ways[f"naive, {name}"] = partial(in_file_order, one, texts, 32)
        ways[f"Predictor, {name}"] = partial(one.predict_texts, texts)
    seconds = turns(ways, max(1, arguments.rounds // 2), clock)
    return {name: len(texts) / found for name, found in seconds.items()}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures: texts per second, milliseconds of a text alone, the bound, and mixed lengths."""
    torch.set_num_threads(arguments.threads)
    threads = arguments.threads
    clock = time.perf_counter if arguments.clock == "wall" else lambda: time.process_time() / threads
    with tempfile.TemporaryDirectory() as place:
        folder = make_artifact(Path(place) / "artifact")
        forms: Any = read_description(folder)["forms"]
        share = {form: entry["share"] for form, entry in forms.items()}
        predictors = {backend: Predictor.load(folder, device="cpu", backend=backend) for backend in BACKENDS}
        pipe = make_pipeline()
        short = texts_of([32] * arguments.texts)
        ways: dict[str, Callable[[], object]] = {PIPELINE: partial(pipe, short)}
        ways[f"{PIPELINE}, batch 32"] = partial(pipe, short, batch_size=32)
        ways |= {f"Predictor, {name}": partial(one.predict_texts, short) for name, one in predictors.items()}
        throughput = {name: len(short) / found for name, found in turns(ways, arguments.rounds, clock).items()}
        alone: dict[str, Callable[[], object]] = {PIPELINE: partial(pipe, short[0])}
        alone |= {f"Predictor, {name}": partial(one.predict_texts, short[:1]) for name, one in predictors.items()}
        latency = {name: 1e3 * found for name, found in turns(alone, 10 * arguments.rounds, clock).items()}
        lengths = {
            name: mixed_speeds(predictors, drawn, arguments, clock)
            for name, drawn in mixed_lengths(arguments.texts).items()
        }
        operations = body_operations(load_artifact(folder).model, 32)
        rate = int8_rate(Path(place), clock, arguments.rounds)
    return {
        "processor": inspect_machine().processor,
        "threads": threads,
        "clock": arguments.clock,
        "texts": arguments.texts,
        "size_over_float32": share,
        "texts_per_second": throughput,
        "milliseconds_of_one_text": latency,
        "mixed_texts_per_second": lengths,
        "int8_operations_per_second": rate,
        "operations_per_text": operations,
        "bound_texts_per_second": rate / operations,
    }


def show(found: dict[str, Any]) -> None:
    """The figures as tables, each way beside the pipeline."""
    console = Console(soft_wrap=True)
    speeds, latency, mixed = (
        found[name] for name in ("texts_per_second", "milliseconds_of_one_text", "mixed_texts_per_second")
    )
    table = Table("32 tokens", "texts/s", "x pipeline", "ms for one text", "x faster", title_justify="left")
    for name, speed in speeds.items():
        single = latency.get(name)
        beside = ("–", "–") if single is None else (f"{single:.2f}", f"{latency[PIPELINE] / single:.1f}")
        table.add_row(name, f"{speed:.0f}", f"{speed / speeds[PIPELINE]:.1f}", *beside)
    console.print(table)
    console.print(
        f"Bound: {found['int8_operations_per_second'] / 1e9:.0f} G operations/s of 8-bit products measured, over "
        f"{found['operations_per_text'] / 1e9:.2f} G per text = {found['bound_texts_per_second']:.0f} texts/s."
    )
    table = Table("8 to 256 tokens", "lengths", "naive texts/s", "Predictor texts/s", "x naive", title_justify="left")
    for drawn, speeds in mixed.items():
        for backend in BACKENDS:
            naive, ours = speeds[f"naive, {backend}"], speeds[f"Predictor, {backend}"]
            table.add_row(backend, drawn, f"{naive:.0f}", f"{ours:.0f}", f"{ours / naive:.2f}")
    console.print(table)
    console.print(f"{found['processor']}, {found['threads']} threads, {found['clock']} clock.")


def main() -> None:
    """Measure and print; --json writes the figures too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "process"), default="wall")
    parser.add_argument("--json", type=Path, help="Where to write the figures.")
    arguments = parser.parse_args()
    found = measure(arguments)
    show(found)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
