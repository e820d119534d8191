"""Examples in, predictions out: the one way to get answers, in evaluation and in service alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.data.records import Example, Prediction
from tunesmith.inference.artifact import Loaded, load_artifact
from tunesmith.machine import enough_memory
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.batches import by_length, cut
from tunesmith.tasks.encoding import Encoded, TextEncoder

CHUNK = 4096
"""Examples whose logits are held at once: enough for batches of like length, few enough for any machine's memory."""


class Predictor:
    """A trained model with its task and tokenizer.

    Attributes:
        model: the network; its weights are read, never changed.
        task: the prepared task.
        encoder: the tokenizer with its window.
    """

    def __init__(self, model: Model, task: Task, encoder: TextEncoder, *, batch_tokens: int = 8192) -> None:
        self.model = model
        self.task = task
        self.encoder = encoder
        self._batch_tokens = batch_tokens

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", labels: Sequence[str] = ()) -> Predictor:
        """Load an artifact after verifying that it is whole and unchanged.

        Args:
            folder: the artifact.
            device: "auto" takes a GPU where there is one.
            labels: the classes that the caller expects; others than the artifact's are an error.

        Raises:
            ArtifactError: the folder is no artifact, was changed, holds code or pickles, or has other labels.
        """
        loaded: Loaded = load_artifact(Path(folder), labels=tuple(labels))
        loaded.model.to(best_device() if device == "auto" else torch.device(device))
        return cls(loaded.model.eval(), loaded.task, loaded.encoder)

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Answer each example, in the order given; labels are not looked at."""
        answers: list[Prediction] = []
        for start in range(0, len(examples), CHUNK):
            part = examples[start : start + CHUNK]
            encoded = self.encode(part)
            answers += self.decode(part, encoded, self.logits(encoded))
        return answers

    def encode(self, examples: Iterable[Example]) -> list[Encoded]:
        """The examples' texts as pieces; labels are left out unless an answer is to say how likely they are."""
        kept = examples if self.task.reads_labels else (replace(example, label=None) for example in examples)
        return [self.task.encode(example, self.encoder) for example in kept]

    def predict_texts(self, texts: Sequence[str]) -> list[Prediction]:
        """Answer each text; the ids are the texts' numbers, from 1."""
        return self.predict([Example(str(number), text) for number, text in enumerate(texts, 1)])

    def stream(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """Answer examples as they come, holding a few thousand of them at most."""
        waiting = iter(examples)
        while held := list(islice(waiting, CHUNK)):
            yield from self.predict(held)

    def logits(self, encoded: Sequence[Encoded]) -> list[Tensor]:
        """The logits of encoded examples, in the order given, on the CPU in fp32."""
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        found: list[Tensor | None] = [None] * len(encoded)
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            for numbers in cut(by_length(encoded), encoded, max_examples=512, max_tokens=self._batch_tokens):
                batch = self.task.collate([encoded[number] for number in numbers], pad_id).to(self.model.device)
                with enough_memory("Shorten the longest texts, or use a machine with more memory."):
                    rows = self.task.infer(self.model, batch)
                for number, row in zip(numbers, rows, strict=True):
                    found[number] = row
        self.model.train(was_training)
        return [row for row in found if row is not None]

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], logits: Sequence[Tensor]
    ) -> list[Prediction]:
        """Turn logits into answers, a chunk of examples of like length at a time."""
        answers: dict[int, Prediction] = {}
        order = by_length(encoded)
        with torch.inference_mode():
            for start in range(0, len(order), 256):
                part = order[start : start + 256]
                found = self.task.decode(
                    self.model,
                    self.encoder,
                    [examples[i] for i in part],
                    [encoded[i] for i in part],
                    [logits[i] for i in part],
                )
                answers.update(zip(part, found, strict=True))
        return [answers[index] for index in range(len(examples))]


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator if accelerator is not None else torch.device("cpu")
