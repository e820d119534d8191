"""Matrices held in 8 or 4 bits, for language models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.compression.trained import Workshop
from tunesmith.errors import ModelError
from tunesmith.inference.weight_only import hold_artifact
from tunesmith.models.model import Model
from tunesmith.models.weight_only import Held
from tunesmith.tasks import Task


@dataclass(frozen=True)
class WeightOnly:
    """Hold the body's matrices as integers and scales, and compute in float32: smaller, and no faster.

    It ends in a form in which nothing can be trained, and so comes last. Encoders are smaller and faster by `int8`.

    Needs: a causal language model.

    Attributes:
        bits: "int8" holds a row's weights with one scale; "int4" 32 neighbours, which costs far more quality.
    """

    bits: Held = "int8"

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return 0

    def check(self, model: Model, task: Task) -> None:
        """See that it is a causal language model.

        Raises:
            ModelError: it is none.
        """
        if model.kind != "causal_lm":
            raise ModelError(
                f"The body is of the kind '{model.kind}', and weight_only is for causal language models.",
                where="compress",
                to_do="Use int8, which makes encoders smaller and faster.",
            )

    def convert(self, artifact: Path, workshop: Workshop, out: Path) -> tuple[str, ...]:
        """Write the artifact with its matrices held so to `out`."""
        made = hold_artifact(artifact, out, self.bits)
        share, error = made.bytes_after / made.bytes_before, made.holding.error
        return (f"{made.holding.layers} matrices are held in {self.bits}, {error:.2%} off; {share:.2f} of the bytes.",)
