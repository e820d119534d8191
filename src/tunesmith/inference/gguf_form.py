"""The form of an artifact that llama.cpp answers from: a GGUF file beside, or instead of, torch's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tunesmith.inference.artifact import WEIGHTS, Loaded, file_hash
from tunesmith.inference.gguf_file import Precision, check_exportable, write_gguf
from tunesmith.models.generation import ends_of
from tunesmith.models.model import count_parameters
from tunesmith.tasks.encoding import Generation
from tunesmith.tasks.heads import BodyShape

GgufForm = Literal["gguf", "gguf-q8_0"]
"""The forms that are a GGUF file: matrices in 16 bits, and in 8."""
GGUFS: Mapping[str, str] = {"gguf": "model.gguf", "gguf-q8_0": "model-q8_0.gguf"}
"""Their files in an artifact."""
PRECISIONS: Mapping[GgufForm, Precision] = {"gguf": "f16", "gguf-q8_0": "q8_0"}
_VERSIONS = ("torch", "transformers", "gguf")


@dataclass(frozen=True)
class GgufEntry:
    """What artifact.json says of a form that is a GGUF file.

    Attributes:
        file: its name.
        precision: how its matrices are held.
        tensors: how many tensors it has.
        shape: what the head is told of the body when it is made.
        ends: the tokens with which the model ends an answer.
        weights_sha256: the float32 weights that it was made of, as the run wrote them.
        share: the file's bytes over those of the float32 weights.
        versions: package -> version, as it was made.
        parameters: how many numbers the model has; 0 where that was not written.
    """

    file: str
    precision: Precision
    tensors: int
    shape: BodyShape
    ends: tuple[int, ...]
    weights_sha256: str
    share: float
    versions: Mapping[str, str]
    parameters: int = 0

    @property
    def is_exact(self) -> bool:
        """Its numbers are rounded, also where they have 16 bits."""
        return False

    def plain(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)


def write_beside(folder: Path, loaded: Loaded, form: GgufForm) -> GgufEntry:
    """Write a model's GGUF file into the artifact `folder`, which holds its weights, and say what it is.

    Raises:
        ArtifactError: GGUF has no place for the model or its tokenizer.
        MissingExtraError: the package gguf is not installed.
        ResourceError: the disk is full.
    """
    check_exportable(loaded, folder)
    weights = file_hash(folder / WEIGHTS)
    made = write_gguf(loaded, folder / GGUFS[form], PRECISIONS[form], source=weights)
    return GgufEntry(
        made.path.name,
        made.precision,
        made.tensors,
        loaded.model.shape,
        tuple(ends_of(loaded.model.body, Generation())),
        weights,
        made.bytes / (folder / WEIGHTS).stat().st_size,
        {name: version(name) for name in _VERSIONS},
        count_parameters(loaded.model)[0],
    )
