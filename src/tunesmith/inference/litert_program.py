"""LiteRT (TensorFlow Lite) as a program that reads tokens: a file with one signature for each length of text."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.errors import ArtifactError, import_extra

SHORTEST = 16
"""Tokens of the shortest signature: below it padding costs less than another signature."""


def lengths_up_to(longest: int) -> tuple[int, ...]:
    """The lengths for which a file has signatures: each twice the one before, and the longest text at the end."""
    found = [min(SHORTEST, longest)]
    while found[-1] < longest:
        found.append(min(2 * found[-1], longest))
    return tuple(found)


def signature_of(length: int) -> str:
    """The name of the signature for texts of so many tokens."""
    return f"tokens_{length}"


class LiteProgram:
    """A file in LiteRT, on the CPU, with as many threads as torch has; pieces are asked one by one.

    A piece is padded to the next length, whatever is beside it, so that its answer has the same bits in every batch.
    """

    runtime: ClassVar[str] = "ai_edge_litert"

    def __init__(self, file: Path, lengths: Sequence[int]) -> None:
        """Load a file.

        Raises:
            MissingExtraError: LiteRT is not installed.
            ArtifactError: LiteRT does not take the file, or it lacks a signature.
        """
        runtime = import_extra("ai_edge_litert.interpreter", "litert")
        self._lengths = tuple(lengths)
        self._asking = threading.Lock()  # a runner may not be asked twice at once
        try:
            with quiet():
                # It is held, since its signatures read the file's weights where it has them.
                self._interpreter = runtime.Interpreter(str(file), num_threads=torch.get_num_threads())
                self._runners: dict[int, Any] = {
                    length: self._interpreter.get_signature_runner(signature_of(length)) for length in lengths
                }
                first = self._runners[min(lengths)]  # what is told of kernels is told when the first text is read
                first(**{name: np.ones(of["shape"], np.int32) for name, of in first.get_input_details().items()})
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"LiteRT does not load the file: {' '.join(str(error).split())[:160]}",
                where=str(file),
                to_do="Export the artifact again: tunesmith export --form litert.",
            ) from error

    def ask(self, output: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """One of its outputs, [P, ...], for inputs [P, T]; states are zero where there is no text."""
        pieces, length = next(iter(inputs.values())).shape
        found = [self.outputs({name: value[at] for name, value in inputs.items()})[output] for at in range(pieces)]
        if found and found[0].dim() == 1:
            return torch.stack(found)
        return torch.stack([functional.pad(one, (0, 0, 0, length - len(one))) for one in found])

    def outputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All its outputs for one piece, whose inputs are [T]: of each token up to the last that is text, or of all."""
        length = int(inputs["attention_mask"].nonzero().max()) + 1
        room = next(one for one in self._lengths if one >= length)
        given = {
            name: functional.pad(value[:length], (0, room - length)).int().unsqueeze(0).numpy()
            for name, value in inputs.items()
        }
        with self._asking:
            found = self._runners[room](**given)
        plain = {name: torch.from_numpy(value)[0] for name, value in found.items()}
        return {name: value[:length] if value.dim() == 2 else value for name, value in plain.items()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the converter and LiteRT write to the terminal; errors are raised all the same."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as unseen, contextlib.redirect_stdout(io.StringIO()):
        os.dup2(unseen.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
