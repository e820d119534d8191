"""A local model that answers texts with texts, by one of the tasks that write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tunesmith.data.records import Example, Turn
from tunesmith.errors import ModelError
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.tasks import SequenceToSequence, Task, TextGeneration
from tunesmith.tasks.answers import Answer
from tunesmith.tasks.encoding import Encoded, TextEncoder
from tunesmith.tasks.writing import Written

ARTIFACT = "artifact.json"


@dataclass(frozen=True)
class LocalModel:
    """A predictor that writes, and what it is."""

    predictor: Predictor
    identity: str

    def answers(self, texts: Sequence[str]) -> list[str]:
        """What it writes from each text; empty where that is empty or too long, or the answer had not ended."""
        asked = [
            (place, Example(str(place), text, turns=(Turn("user", text),))) for place, text in enumerate(texts) if text
        ]
        encoded = self.predictor.encode([example for _, example in asked])
        whole = [(place, one, code) for (place, one), code in zip(asked, encoded, strict=True) if not is_cut(code)]
        found = [""] * len(texts)
        codes = [code for *_, code in whole]
        outputs = self.predictor.logits(codes)
        predictions = self.predictor.decode([one for _, one, _ in whole], codes, outputs)
        for (place, *_), prediction, output in zip(whole, predictions, outputs, strict=True):
            if not is_unfinished(self.predictor.task, output):
                found[place] = str(prediction.label).strip()
        return found


class Answering(Protocol):
    """What answers each of many texts with a text."""

    @property
    def identity(self) -> str:
        """What decides its answers."""
        ...

    def answers(self, texts: Sequence[str]) -> list[str]:
        """The answer to each text; empty where there is none."""
        ...


@dataclass(frozen=True)
class Chain:
    """Models of this machine, each of which answers what the one before it wrote: there and back, or one alone."""

    models: tuple[Answering, ...]

    @property
    def identity(self) -> str:
        """All models with their settings."""
        return " | ".join(model.identity for model in self.models)

    @property
    def at_once(self) -> int:
        """A few batches."""
        return 64

    @property
    def destination(self) -> str:
        """Texts stay here."""
        return ""

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """What the last model wrote; empty where a text was too long for one of them."""
        written = list(texts)
        for model in self.models:
            written = model.answers(written)
        return written


def is_cut(encoded: Encoded) -> bool:
    """Whether a part of the text is not read."""
    return bool(encoded.changed or encoded.dropped or encoded.unread)


def is_unfinished(task: Task, output: Tensor) -> bool:
    """Whether writing was stopped by the most tokens: what ends by itself has an end token among these."""
    if isinstance(task, SequenceToSequence):
        return len(Written.of(output).tokens) >= task.max_new_tokens
    return isinstance(task, TextGeneration) and len(Answer.of(output).written) >= task.max_new_tokens


def open_task(name: str, task: Task) -> LocalModel:
    """A model by folder, short name or hub id with a task that writes; an artifact keeps its own task.

    Raises:
        ModelError: it cannot be found or read, or an artifact's task does not write.
    """
    folder = locate(name)
    if (folder.path / ARTIFACT).is_file():
        predictor = Predictor.load(folder.path)
        if predictor.task.label_kind != "text" or predictor.task.body != task.body:
            raise ModelError(
                "This artifact does not write such texts.",
                where=name,
                to_do=f"Name a model of the kind {task.body}, or an artifact of it.",
            )
        return LocalModel(predictor, f"{folder.identity} {predictor.task}")
    backbone = load(folder, dropout=None, kind=task.body)
    known = task.prepared((), backbone.tokenizer)
    model = Model(backbone, known).eval().to(best_device())
    encoder = TextEncoder.of(backbone.tokenizer, backbone.max_length, backbone.prefix)
    return LocalModel(Predictor(model, known, encoder), f"{folder.identity} {known}")
