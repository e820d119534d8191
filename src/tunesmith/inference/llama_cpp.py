"""A model whose body llama.cpp computes, as a network that tasks ask; an extra, compiled where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers.generation.logits_process import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from tunesmith.errors import RecipeError
from tunesmith.inference.llama_program import Program
from tunesmith.tasks.encoding import Batch, Generation, Heard


class LlamaCppNetwork(nn.Module):
    """What a task asks of a causal language model, answered by llama.cpp and a head. It learns nothing.

    It reads token ids, so texts are split by the artifact's own tokenizer. Each text is read alone, so an answer does
    not depend on the texts beside it.

    Attributes:
        head: the task's layer.
        pooling: how the body was trained to turn token states into one.
        runtime: the module that computes the body.
    """

    runtime: ClassVar[str] = "llama_cpp"

    def __init__(self, program: Program, head: nn.Module, *, ends: Sequence[int] = (), pooling: str = "last") -> None:
        super().__init__()
        self.head = head
        self.pooling = pooling
        self._program = program
        self._ends = frozenset(ends)

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the batch, in the form that the task's head gives them (fp32).

        The head reads the logits over the vocabulary at the batch's `unit_positions` [P, U, V].
        """
        assert batch.blocks is None, "texts that are packed into one row are asked for apart"
        rows = [
            self._program.read(ids, places)
            for ids, places in zip(texts_of(batch), batch.unit_positions.tolist(), strict=True)
        ]
        logits: Tensor = self.head(torch.stack(rows), batch)
        return logits

    def hidden(self, batch: Batch) -> Tensor:
        """Refused: llama.cpp gives logits here, and not the states before them.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            "A model in llama.cpp gives no hidden states, which are read here.",
            where="--backend",
            to_do="Choose the form torch.",
        )

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """The tokens that are written after each piece, without the end token; of one text each is told at once.

        What is drawn is drawn by a seed of its own, the same for each text.

        Raises:
            RecipeError: several beams are asked.
        """
        if how.beams > 1:
            raise RecipeError(
                "llama.cpp writes one answer at a time here, without beams.",
                where="task.beams",
                to_do="Choose the form torch, or set beams: 1.",
            )
        return [torch.tensor(self._written(ids, how, heard), dtype=torch.long) for ids in texts_of(batch)]

    @property
    def device(self) -> torch.device:
        """Batches come from here, and answers go back to here."""
        return torch.device("cpu")

    @property
    def body_learns(self) -> bool:
        """Nothing learns in llama.cpp."""
        return False

    def _written(self, ids: list[int], how: Generation, heard: Heard | None) -> list[int]:
        ends = self._ends | ({how.end} if how.end >= 0 else set())
        changes = changes_of(how)
        draw = torch.Generator().manual_seed(0)
        written: list[int] = []
        logits = self._program.read(ids, [len(ids) - 1], room=how.max_new_tokens)[0]
        while True:
            scores = changes(torch.tensor([ids + written]), logits[None])[0] if changes else logits  # type: ignore[arg-type]
            token = int(
                torch.multinomial(scores.softmax(-1), 1, generator=draw) if how.temperature > 0 else scores.argmax()
            )
            if token in ends:
                return written
            written.append(token)
            if heard is not None:
                heard(token)
            if len(written) == how.max_new_tokens:
                return written
            logits = self._program.go_on(token)


def texts_of(batch: Batch) -> list[list[int]]:
    """The tokens of each piece, without padding."""
    return [ids[mask.bool()].tolist() for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]


def changes_of(how: Generation) -> LogitsProcessorList:
    """What changes the scores of the next token before one is taken, in the order in which transformers does it."""
    wanted = (
        (how.repetition_penalty != 1, lambda: RepetitionPenaltyLogitsProcessor(how.repetition_penalty)),
        (how.no_repeat_ngram > 0, lambda: NoRepeatNGramLogitsProcessor(how.no_repeat_ngram)),
        (how.temperature > 0, lambda: TemperatureLogitsWarper(how.temperature)),
        (how.temperature > 0 and how.top_p < 1, lambda: TopPLogitsWarper(how.top_p)),
    )
    return LogitsProcessorList([make() for is_wanted, make in wanted if is_wanted])
