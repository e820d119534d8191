"""An artifact with its matrices held in 8 or 4 bits, made of one in float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import (
    SOURCE,
    WEIGHTS,
    file_hash,
    load_artifact,
    origin_of,
    read_description,
    save_artifact,
)
from tunesmith.inference.forms import describe
from tunesmith.models.weight_only import Held, Holding, held_as, hold_weights


@dataclass(frozen=True, slots=True)
class HeldArtifact:
    """What was written: what became of the weights, and the size of their file before and after, in bytes."""

    folder: Path
    holding: Holding
    bytes_before: int
    bytes_after: int


def hold_artifact(artifact: Path, out: Path, kind: Held) -> HeldArtifact:
    """Write an artifact again with its matrices held in few bits.

    Raises:
        ArtifactError: it holds them so already, or has no matrices that can be.
        ResourceError: the folder is there already, or the disk is full.
    """
    if out.exists():
        raise ArtifactError("The folder exists already.", where=str(out), to_do="Choose another --out.")
    loaded = load_artifact(artifact)
    body = loaded.model.body
    if held_as(body) or loaded.description.get("method") or loaded.model.soft_prompt is not None:
        raise ArtifactError(
            "Its weights are held in few bits already, or with a method's that could not be merged.",
            where=str(artifact),
            to_do="Give the artifact that 'tunesmith run' wrote, trained with a method such as full or lora.",
        )
    holding = hold_weights(body, kind)
    recipe = (artifact / "recipe.yaml").read_text(encoding="utf-8")
    save_artifact(
        out,
        loaded.model,
        loaded.task,
        loaded.encoder,
        origin_of(loaded.description, recipe),
        str(loaded.description["prefix"]),
    )
    describe(out, {**read_description(out), SOURCE: file_hash(artifact / WEIGHTS)})
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (artifact, out)]
    return HeldArtifact(out, holding, *sizes)
