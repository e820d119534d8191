"""A GGUF file that llama.cpp runs, as a network that tasks ask; an extra, compiled where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import ArtifactError, RecipeError, import_extra
from tunesmith.tasks.encoding import Batch, Generation, Heard


@dataclass(frozen=True, eq=False)
class LlamaCppNetwork:
    """A causal language model in llama.cpp. It reads token ids, so texts are split by the artifact's own tokenizer.

    Attributes:
        program: the loaded file.
        layer: the task's head.
        ends: tokens that end an answer, beside one that a task names.
    """

    program: Any
    layer: nn.Module
    ends: tuple[int, ...] = ()

    @classmethod
    def load(
        cls, file: Path, head: nn.Module, *, window: int, threads: int, ends: Sequence[int] = ()
    ) -> LlamaCppNetwork:
        """Load a GGUF file.

        Args:
            file: what `export_gguf` wrote.
            head: the task's head; one over a vocabulary has nothing to compute.
            window: the most tokens of a text with its answer.
            threads: how many compute.
            ends: tokens that end an answer.

        Raises:
            MissingExtraError: llama-cpp-python is not installed.
            ArtifactError: llama.cpp does not take the file.
        """
        library = import_extra("llama_cpp", "llama-cpp")
        try:
            program = library.Llama(
                str(file), n_ctx=window, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False
            )
        except (ValueError, OSError) as error:
            raise ArtifactError(
                f"llama.cpp does not load the file: {error}.", where=str(file), to_do="Export the artifact again."
            ) from error
        return cls(program, head, tuple(ends))

    @property
    def head(self) -> nn.Module:
        """The task's layer."""
        return self.layer

    @property
    def device(self) -> torch.device:
        """Batches come from here, and answers go back to here."""
        return torch.device("cpu")

    @property
    def body_learns(self) -> bool:
        """Nothing learns in llama.cpp."""
        return False

    def __call__(self, batch: Batch) -> Tensor:
        """The logits over the vocabulary at the batch's `unit_positions` [P, U, V]."""
        rows = []
        for ids, mask, places in zip(batch.input_ids, batch.attention_mask, batch.unit_positions, strict=True):
            self.program.reset()
            self.program.eval(ids[mask.bool()].tolist())
            rows.append(torch.from_numpy(self.program.scores[: int(mask.sum())].copy())[places])
        found: Tensor = self.layer(torch.stack(rows).float(), batch)
        return found

    def hidden(self, batch: Batch) -> Tensor:
        """Refused: llama.cpp gives logits and not the states before them.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            "llama.cpp gives no hidden states, which this task reads.",
            to_do="Choose another backend, such as torch.",
        )

    def generate(self, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
        """The likeliest token each time, after each piece, until one that ends an answer.

        Raises:
            RecipeError: beams, draws or limits on repeated words are asked, which differ between the two programs.
        """
        if how.beams > 1 or how.temperature > 0 or how.no_repeat_ngram or how.repetition_penalty != 1:
            raise RecipeError(
                "llama.cpp writes greedily here: no beams, no draws, no penalties.",
                where="task",
                to_do="Choose the backend torch, or set beams: 1 and sampling_temperature: 0.",
            )
        return [
            torch.tensor(self._written(ids[mask.bool()].tolist(), how), dtype=torch.long)
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]

    def _written(self, ids: list[int], how: Generation) -> list[int]:
        ends = {*self.ends, *([how.end] if how.end >= 0 else [])}
        room = min(how.max_new_tokens, self.program.n_ctx() - len(ids))
        written: list[int] = []
        self.program.reset()
        self.program.eval(ids)
        while len(written) < room:
            token = int(self.program.scores[self.program.n_tokens - 1].argmax())
            if token in ends:
                break
            written.append(token)
            if len(written) < room:
                self.program.eval([token])
        return written
