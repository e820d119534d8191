"""Training speed side by side: the same sentences, model, batch size and epochs through four ways of training.

(a) the textbook loop: every sentence padded to 128, fp32, plain AdamW;
(b) the Hugging Face Trainer with dynamic padding, as its run_ner example sets it;
(c) the same with bf16 and length grouping;
(d) Tunesmith.

Each runs in a process of its own, one after the other, on the CPU. Run it with: make bench
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tunesmith import pipeline, preparation
from tunesmith.data.records import Example, Prediction, Span, Splits
from tunesmith.evaluation.intervals import Estimate, estimate
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.machine import peak_memory_bytes
from tunesmith.models.catalogue import locate
from tunesmith.scoring.entities import measure_entities, spans_to_tags
from tunesmith.scoring.tags import tags_to_spans
from tunesmith.training.batching import StepPlan
from tunesmith.training.loop import Material, Scheduled, train
from tunesmith.training.optimizer import Schedule
from tunesmith.training.tracking import make_accelerator

WAYS = {"a": "textbook loop", "b": "HF Trainer", "c": "HF Trainer, bf16, grouped", "d": "Tunesmith"}
BATCH, RATE, SEED = 32, 1.5e-4, 13
RECIPE = {
    "task": {"name": "token_classification", "casing": False},
    "data": {"name": "conll2003"},
    "model": {"name": "minilm-l6"},
    "training": {"batch_size": BATCH, "learning_rate": RATE, "schedule": "linear", "warmup": 0.0},
    "trackers": [],
    "seed": SEED,
}


def tagged(example: Example) -> tuple[list[str], list[str]]:
    """An example as words and IOB2 tags."""
    words = [example.text[start:end] for start, end in example.words or ()]
    return words, spans_to_tags(example.label, example.words or ())  # type: ignore[arg-type]


def body_flops(model: torch.nn.Module, tokens: int) -> float:
    """Operations of the body's matrices, forward and backward: 6 per weight and token (without attention)."""
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embeddings" not in name)
    return 6.0 * weights * tokens


def matmul_peak() -> float:
    """The best measured rate of large matrix products in FLOP/s, over fp32 and bf16."""
    best = 0.0
    for kind in (torch.float32, torch.bfloat16):
        one, other = torch.randn(2048, 2048).to(kind), torch.randn(2048, 2048).to(kind)
        for _ in range(8):
            began = time.perf_counter()
            one @ other
            best = max(best, 2 * 2048**3 / (time.perf_counter() - began))
    return best


class Encoded(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Sentences encoded as the run_ner example encodes them: first sub-word labelled, the rest ignored."""

    def __init__(
        self, examples: Sequence[Example], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, pad_to: int = 0
    ) -> None:
        number = {label: index for index, label in enumerate(labels)}
        self.rows = []
        for example in examples:
            words, tags = tagged(example)
            row = tokenizer(
                words,
                is_split_into_words=True,
                truncation=True,
                max_length=pad_to or 256,
                padding="max_length" if pad_to else False,
            )
            before, target = None, []
            for word in row.word_ids():
                target.append(-100 if word is None or word == before else number[tags[word]])
                before = word
            self.rows.append({"input_ids": row["input_ids"], "attention_mask": row["attention_mask"], "labels": target})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.rows[index]


class Count(TrainerCallback):
    """Counts the time of the training loop alone."""

    def on_train_begin(  # noqa: D102
        self, *_args: object, **_named: object
    ) -> None:
        self.began = time.perf_counter()

    def on_train_end(  # noqa: D102
        self, *_args: object, **_named: object
    ) -> None:
        self.seconds = time.perf_counter() - self.began


def textbook(model: torch.nn.Module, rows: Encoded, epochs: int) -> tuple[float, int, int]:
    """Pad to 128, fp32, plain AdamW, linear decay."""
    tensors = torch.utils.data.TensorDataset(
        *(torch.tensor([row[key] for row in rows.rows]) for key in ("input_ids", "attention_mask", "labels"))
    )
    loader = torch.utils.data.DataLoader(tensors, batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    total = len(loader) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    model.train()
    began = time.perf_counter()
    for _ in range(epochs):
        for ids, mask, labels in loader:
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - began
    real = int(tensors.tensors[1].sum()) * epochs
    return seconds, real, tensors.tensors[1].numel() * epochs


def trainer(
    model: torch.nn.Module, rows: Encoded, epochs: int, tokenizer: PreTrainedTokenizerBase, *, fast: bool
) -> tuple[float, int, int]:
    """The Trainer; with `fast`, bf16 and batches of like length."""
    seen = {"real": 0, "slots": 0}
    collate = DataCollatorForTokenClassification(tokenizer)

    def counted(features: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = collate(features)
        seen["real"] += int(batch["attention_mask"].sum())
        seen["slots"] += batch["input_ids"].numel()
        return batch

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            bf16=fast,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=SEED,
            logging_strategy="no",
            train_sampling_strategy="group_by_length" if fast else "random",
        )
        count = Count()
        Trainer(model=model, args=arguments, train_dataset=rows, data_collator=counted, callbacks=[count]).train()
    return count.seconds, seen["real"], seen["slots"]


def spans_of_words(example: Example, tags: Sequence[str]) -> tuple[Span, ...]:
    """Tags as spans on the text."""
    words = example.words or ()
    return tuple(Span(words[start][0], words[end - 1][1], kind) for start, end, kind in tags_to_spans(tags))


def answer(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], examples: Sequence[Example]
) -> list[Prediction]:
    """The highest-scoring tag of each word's first sub-word, as spans."""
    model.eval()
    found = []
    with torch.inference_mode():
        for example in examples:
            words, _ = tagged(example)
            row = tokenizer(words, is_split_into_words=True, truncation=True, max_length=256, return_tensors="pt")
            best = model(**row).logits[0].argmax(-1).tolist()
            tags, before = ["O"] * len(words), None
            for word, tag in zip(row.word_ids(), best, strict=True):
                if word is not None and word != before:
                    tags[word] = labels[tag]
                before = word
            found.append(Prediction(example.id, spans_of_words(example, tags), 1.0))
    return found


def measure(way: str, sentences: int, epochs: int) -> dict[str, Any]:
    """Train one way and return its row of the table."""
    torch.manual_seed(SEED)
    experiment = Experiment.from_mapping({**RECIPE, "training": {**RECIPE["training"], "epochs": epochs}})  # type: ignore[dict-item]
    splits = experiment.data.load("spans", SEED).splits
    chosen = np.random.default_rng(SEED).permutation(len(splits.train))[:sentences]
    examples = [splits.train[index] for index in chosen]
    types = sorted({span.label for example in splits.train for span in example.label})  # type: ignore[union-attr]
    if way == "d":
        seconds, real, slots, model, predictions = tunesmith(experiment, examples, splits.test)
    else:
        labels = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
        folder = str(locate("minilm-l6").path)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(labels))
        rows = Encoded(examples, labels, tokenizer, pad_to=128 if way == "a" else 0)
        seconds, real, slots = (
            textbook(model, rows, epochs) if way == "a" else trainer(model, rows, epochs, tokenizer, fast=way == "c")
        )
        predictions = answer(model, tokenizer, labels, splits.test)
    f1: Estimate = estimate(measure_entities(splits.test, predictions, types), seed=SEED)["f1"]
    return {
        "way": way,
        "seconds": seconds,
        "examples_per_second": len(examples) * epochs / seconds,
        "padding": 1 - real / slots,
        "flops": body_flops(model, slots) / seconds,
        "peak_memory": peak_memory_bytes(),
        "f1": [f1.value, f1.low, f1.high],
    }


def tunesmith(
    experiment: Experiment, examples: Sequence[Example], test: Sequence[Example]
) -> tuple[float, int, int, torch.nn.Module, list[Prediction]]:
    """The steps of `tunesmith run`, without checkpoints and reports."""
    prepared = preparation.prepare_splits(experiment, Splits(examples, (), ()))
    model = pipeline.make_model(experiment, prepared)
    settings = experiment.training
    plan = StepPlan(prepared.encoded["train"], settings.epochs, settings.batch_size, 1, settings.max_tokens, SEED)
    learner = pipeline.make_learner(experiment, model, plan.total)
    material = Material(prepared.task, examples, prepared.encoded["train"], prepared.encoder.tokenizer.pad_token_id)
    rate = Scheduled(RATE, Schedule("linear", 0.0), plan.total)
    began = time.perf_counter()
    steps = list(train(learner, material, plan.steps(), rate, make_accelerator((), Path(), "bench", {})))
    seconds = time.perf_counter() - began
    learner.weights.finish()
    real, padding = sum(step.tokens for step in steps), sum(step.padding for step in steps)
    predictions = Predictor(model.eval(), prepared.task, prepared.encoder).predict(test)
    return seconds, real, real + padding, model, predictions


def show(rows: list[dict[str, Any]], peak: float) -> None:
    """Print the table, with each way's speed relative to Tunesmith's."""
    table = Table(title=f"Measured matmul peak {peak / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads")
    for column in ("way", "examples/s", "Tunesmith is", "padding", "of peak", "memory", "test F1 (95 %)"):
        table.add_column(column, justify="left" if column == "way" else "right")
    ours = next((row["examples_per_second"] for row in rows if row["way"] == "d"), None)
    for row in rows:
        value, low, high = row["f1"]
        ratio = f"{ours / row['examples_per_second']:.2f}x" if ours else "-"
        table.add_row(
            f"{row['way']}: {WAYS[str(row['way'])]}",
            f"{row['examples_per_second']:.1f}",
            ratio,
            f"{row['padding']:.1%}",
            f"{row['flops'] / peak:.0%}",
            f"{row['peak_memory'] / 1e9:.1f} GB",
            f"{value:.3f} ({low:.3f} to {high:.3f})",
        )
    Console(width=140).print(table)


def main() -> None:
    """Run each way in a process of its own and print one table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ways", default="abcd")
    options.add_argument("--sentences", type=int, default=3000)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--only", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.only:
        sys.stdout.write("\n" + json.dumps(measure(given.only, given.sentences, given.epochs)) + "\n")
        return
    peak, rows = matmul_peak(), []
    for way in given.ways:
        command = [
            sys.executable,
            __file__,
            "--only",
            way,
            "--sentences",
            str(given.sentences),
            "--epochs",
            str(given.epochs),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        )
        if done.returncode:
            sys.exit(done.stderr)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        peak = max(peak, matmul_peak())
        sys.stderr.write(f"{WAYS[way]}: {rows[-1]['examples_per_second']:.1f} examples/s\n")
    show(rows, peak)


if __name__ == "__main__":
    main()
