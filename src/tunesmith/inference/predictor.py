"""Examples in, predictions out: the one way to get answers, in evaluation and in service alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.inference.ensemble import Answering, DropoutPasses, Ensemble, Member, check_passes
from tunesmith.inference.ensemble_folder import load_members
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.machine import enough_memory
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.batches import by_length, cut
from tunesmith.tasks.encoding import Encoded, TextEncoder

CPU_TOKENS, DEVICE_TOKENS = 1024, 8192
"""Tokens per batch. More of them make a CPU no faster, and leave its caches; an accelerator wants many at once."""
CHUNK = 4096
"""Examples whose logits are held at once: enough for batches of like length, few enough for any machine's memory."""


class Predictor:
    """A trained model, or several that answer as one, with task and tokenizer.

    Attributes:
        model: the network; its weights are read, never changed. Of an ensemble it is the first.
        task: the prepared task.
        encoder: the tokenizer with its window.
        answering: how networks are asked, and their outputs become answers.
    """

    def __init__(
        self,
        model: Model | GraphNetwork | LlamaCppNetwork,
        task: Task,
        encoder: TextEncoder,
        *,
        batch_tokens: int = 0,
        answering: Answering | None = None,
    ) -> None:
        self.model = model
        self.task = task
        self.encoder = encoder
        self.answering = Member(model, task) if answering is None else answering
        self._batch_tokens = batch_tokens or (CPU_TOKENS if model.device.type == "cpu" else DEVICE_TOKENS)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "auto", labels: Sequence[str] = (), backend: str = ""
    ) -> Predictor:
        """Load an artifact after verifying that it is whole and unchanged.

        Args:
            folder: the artifact.
            device: "auto" takes a GPU where there is one. ONNX Runtime and llama.cpp answer on the CPU, and so do all
                members of an ensemble of which one does.
            labels: the classes that the caller expects; others than the artifact's are an error.
            backend: the form that answers, where the artifact holds several ("torch", "onnx", "onnx-int8", "litert",
                "gguf", "gguf-q8_0"); its own if empty. All have as many threads as torch.

        Raises:
            ArtifactError: the folder is no artifact, was changed, holds code or pickles, or has other labels or forms.
            MissingExtraError: the form's packages are not installed.
        """
        place = best_device() if device == "auto" else torch.device(device)
        loaded, by = load_members(Path(folder), labels=tuple(labels), backend=backend)
        first, networks = loaded[0], [one.network for one in loaded]
        bodies = [network for network in networks if isinstance(network, Model)]
        if len(bodies) == len(networks):  # a batch lies where all of its networks are
            for body in bodies:
                body.to(place)
        members = tuple(Member(one.network.eval(), one.task) for one in loaded)
        answering = Ensemble(members, by) if by else None
        return cls(first.network, first.task, first.encoder, answering=answering)

    @property
    def members(self) -> tuple[Member, ...]:
        """The models that answer: one, or those of an ensemble."""
        ensemble = self.answering
        return ensemble.members if isinstance(ensemble, Ensemble) else (Member(self.model, self.task),)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The modules beside torch that compute the answers."""
        networks = [member.network for member in self.members]
        return tuple(sorted({network.runtime for network in networks if not isinstance(network, Model)}))

    def with_dropout(self, passes: int, *, seed: int = 13) -> Predictor:
        """The same model asked `passes` times with dropout: mean probabilities, and how far the passes are apart.

        Raises:
            RecipeError: it is an ensemble, has no dropout, or gives outputs that cannot be averaged.
        """
        if len(self.members) > 1:
            raise RecipeError(
                "An ensemble is asked without dropout; how far its members are apart stands with its answers.",
                where="--passes",
                to_do="Leave it out.",
            )
        check_passes(self.members[0], passes)
        answering = DropoutPasses(self.members[0], passes, seed)
        return Predictor(self.model, self.task, self.encoder, batch_tokens=self._batch_tokens, answering=answering)

    def predict(self, examples: Sequence[Example], *, with_labels: bool = False) -> list[Prediction]:
        """Answer each example, in the order given.

        Labels are not looked at, or `with_labels` for telling how likely they are alone.
        """
        answers: list[Prediction] = []
        for start in range(0, len(examples), CHUNK):
            part = examples[start : start + CHUNK]
            encoded = self.encode(part, with_labels=with_labels)
            answers += self.decode(part, encoded, self.logits(encoded))
        return answers

    def encode(self, examples: Iterable[Example], *, with_labels: bool = False) -> list[Encoded]:
        """The examples' texts as pieces; labels are left out unless an answer is to say how likely they are."""
        kept = (
            examples
            if with_labels or self.task.reads_labels
            else (replace(example, label=None) for example in examples)
        )
        given = list(kept)
        # The texts that a task reads as they are; what it asks for beyond them is tokenised when it asks.
        reader = self.encoder.having_read(example.text for example in given) if len(given) > 1 else self.encoder
        return [self.task.encode(example, reader) for example in given]

    def predict_texts(self, texts: Sequence[str]) -> list[Prediction]:
        """Answer each text; the ids are the texts' numbers, from 1."""
        return self.predict([Example(str(number), text) for number, text in enumerate(texts, 1)])

    def stream(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """Answer examples as they come, holding a few thousand of them at most."""
        waiting = iter(examples)
        while held := list(islice(waiting, CHUNK)):
            yield from self.predict(held)

    def logits(self, encoded: Sequence[Encoded]) -> list[Tensor]:
        """The logits of encoded examples, in the order given, on the CPU in fp32.

        Of an ensemble, or of passes with dropout, those of each, one after another [M, ...].
        """
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        found: list[Tensor | None] = [None] * len(encoded)
        with torch.inference_mode():
            for numbers in cut(by_length(encoded), encoded, max_examples=512, max_tokens=self._batch_tokens):
                batch = self.task.collate([encoded[number] for number in numbers], pad_id).to(self.model.device)
                with enough_memory("Shorten the longest texts, or use a machine with more memory."):
                    rows = self.answering.infer(batch)
                for number, row in zip(numbers, rows, strict=True):
                    found[number] = row
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
                found = self.answering.decode(
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
