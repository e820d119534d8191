"""The body in 8 bits, for ONNX Runtime."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tunesmith.compression.trained import Workshop
from tunesmith.errors import RecipeError
from tunesmith.inference.artifact import load_artifact
from tunesmith.inference.forms import add_form, keep_only
from tunesmith.inference.onnx_graph import see_exportable
from tunesmith.models.model import Model
from tunesmith.tasks import Task


@dataclass(frozen=True)
class Int8:
    """Write the body as an ONNX graph whose large matrices and embeddings hold 8 bits (see docs/forms.md).

    It ends in a form in which nothing can be trained, and so comes last.

    Needs: an encoder, and the extra "onnx".

    Attributes:
        calibrate: so many training texts on which the scales of the products' inputs are found; 0 finds them while
            answering.
    """

    calibrate: int = 0

    def __post_init__(self) -> None:
        if self.calibrate < 0:
            raise RecipeError(
                "calibrate must not be negative.", where="int8.calibrate", to_do="0 takes dynamic scales."
            )

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return 0

    def check(self, model: Model, task: Task) -> None:
        """See that the body can be a graph.

        Raises:
            ModelError: it is none of an encoder.
            MissingExtraError: the packages of the extra "onnx" are not installed.
        """
        see_exportable(model)

    def convert(self, artifact: Path, workshop: Workshop, out: Path) -> tuple[str, ...]:
        """Write the artifact with its graph in 8 bits to `out`."""
        loaded = load_artifact(artifact)
        chosen = workshop.drawn(self.calibrate) if self.calibrate else []
        shutil.copytree(artifact, out)
        entry = add_form(out, loaded, "onnx-int8", [loaded.task.encode(example, loaded.encoder) for example in chosen])
        keep_only(out, "onnx-int8")
        made = entry.quantised
        assert made is not None, "a graph in 8 bits says what is in 8 bits"
        scales = f"found on {made.calibrated_on} training texts" if made.calibrated_on else "found while answering"
        what = f"{made.matrices} matrices and {made.tables} tables of embeddings are in 8 bits"
        return (f"{what}, the scales of inputs {scales}; made on {entry.processor}.",)
