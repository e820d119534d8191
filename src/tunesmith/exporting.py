"""A trained artifact in another form: written beside its weights, or as an artifact of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith.combining import held_out
from tunesmith.data.splits import spread
from tunesmith.errors import ArtifactError, DataError, ResourceError
from tunesmith.inference.artifact import MANIFEST, SIGNATURE, Loaded, file_hash, need_space, read_artifact, verify
from tunesmith.inference.forms import AnyEntry, add_form, add_gguf, add_lite, forms_of, keep_only
from tunesmith.inference.gguf_file import GgufFile, check_exportable, export_gguf
from tunesmith.inference.gguf_form import PRECISIONS, GgufForm
from tunesmith.tasks.encoding import Encoded
from tunesmith.writing import refused

ExportForm = Literal["onnx", "onnx-int8", "litert", "gguf", "gguf-q8_0"]
"""All forms in which a model can be written."""


@dataclass(frozen=True)
class Exported:
    """Where a form was written, and what artifact.json says of it.

    Attributes:
        was_signed: whether the artifact was signed before; what was written is not.
        was_there: whether the artifact held this form before, in whose place the new one is.
    """

    folder: Path
    form: ExportForm
    entry: AnyEntry
    was_signed: bool = False
    was_there: bool = False


def export(artifact: Path, form: ExportForm, out: Path | None = None, *, calibrate: int = 0) -> Exported:
    """Write an artifact's model in another form, which `Predictor` answers from.

    Args:
        artifact: the artifact, which holds torch's weights.
        form: of encoders "onnx", "onnx-int8" for 8 bits, or "litert" for TensorFlow's programs; of language models
            "gguf" for 16 bits, or "gguf-q8_0" for 8.
        out: the artifact to write, which holds this form alone; without it the form is put beside the weights.
        calibrate: texts of the training split on which the scales of 8 bits are found; 0 finds them while answering.

    Raises:
        ArtifactError: it is an ensemble or no artifact, holds no weights for torch, or GGUF has no place for its model.
        ModelError: the model has no body that can be exported.
        DataError: there are no texts to calibrate on.
        ResourceError: `out` exists, or the disk is full; nothing is left behind.
        MissingExtraError: the packages of the extra "onnx" (or "litert", or "gguf") are not installed.
    """
    if out is not None and out.exists():
        raise ResourceError("Something is there already.", where=str(out), to_do="Choose another --out.")
    if calibrate and form != "onnx-int8":
        raise DataError("Only an ONNX graph in 8 bits is calibrated.", where="--calibrate", to_do="Leave it out.")
    description, before = verify(artifact), file_hash(artifact / MANIFEST)
    was_signed = (artifact / SIGNATURE).is_file()
    was_there = out is None and form in forms_of(artifact, description)
    _see_single(artifact, description)
    loaded = read_artifact(artifact, description)
    if form == "gguf" or form == "gguf-q8_0":
        check_exportable(loaded, artifact)  # before anything is written, and with the place that the user knows
    calibration = calibration_texts(artifact, loaded, calibrate) if calibrate else ()
    place = (artifact if out is None else out).resolve()  # a link stays one, and "." has a folder around it
    with refused(place, to_do="Choose another --out."):
        place.parent.mkdir(parents=True, exist_ok=True)
    size = sum(path.stat().st_size for path in artifact.iterdir())
    need_space(place.parent, 2 * size + (16 << 20))
    with (
        refused(place, to_do="Choose another --out."),
        tempfile.TemporaryDirectory(dir=place.parent, prefix=".artifact-") as temporary,
    ):
        draft = Path(temporary) / "artifact"
        shutil.copytree(artifact, draft)
        entry = _added(draft, loaded, form, calibration)
        if out is not None:
            keep_only(draft, form)
            draft.replace(place)
        else:
            _see_same(artifact, before)
            _swap(draft, place, Path(temporary) / "before")
    return Exported(artifact if out is None else out, form, entry, was_signed, was_there)


def _see_same(artifact: Path, before: str) -> None:
    """See that an artifact is still the one that was read: what was put beside it since would be lost.

    Raises:
        ResourceError: it is another one.
    """
    if file_hash(artifact / MANIFEST) != before:
        raise ResourceError(
            "The artifact was changed while this form was made; nothing was written.",
            where=str(artifact),
            to_do="Give the same command again, and let one at a time write to it.",
        )


def _added(folder: Path, loaded: Loaded, form: ExportForm, calibration: Sequence[Encoded]) -> AnyEntry:
    if form == "gguf" or form == "gguf-q8_0":
        return add_gguf(folder, loaded, form)
    if form == "litert":
        return add_lite(folder, loaded)
    return add_form(folder, loaded, form, calibration)


def export_file(artifact: Path, form: GgufForm, out: Path, *, calibrate: int = 0) -> GgufFile:
    """Write an artifact's language model as one file, for llama.cpp without Tunesmith.

    Raises:
        ArtifactError: it is an ensemble or no artifact, or no language model of a kind that GGUF has a place for.
        DataError: texts to calibrate on are given.
        ResourceError: the file exists, or the disk is full; nothing is left behind.
        MissingExtraError: the package of the extra "gguf" is not installed.
    """
    if out.exists():
        raise ResourceError("Something is there already.", where=str(out), to_do="Choose another --out.")
    if calibrate:
        raise DataError("Only an ONNX graph in 8 bits is calibrated.", where="--calibrate", to_do="Leave it out.")
    _see_single(artifact, verify(artifact))
    return export_gguf(artifact, out, PRECISIONS[form])


def _see_single(artifact: Path, description: Mapping[str, object]) -> None:
    if "ensemble" in description:
        raise ArtifactError(
            "An ensemble has no form of its own.", where=str(artifact), to_do="Export each of its members' runs."
        )


def _swap(draft: Path, artifact: Path, before: Path) -> None:
    """Put a draft in the artifact's place; if that fails, the artifact is there again as it was."""
    artifact.replace(before)
    try:
        draft.replace(artifact)
    finally:
        if not artifact.exists():
            before.replace(artifact)


def calibration_texts(artifact: Path, loaded: Loaded, count: int) -> Sequence[Encoded]:
    """Encoded training texts of the artifact's recipe, spread over the split; none has padding.

    Raises:
        DataError: the split cannot be read, is not what it was, or is empty.
    """
    examples = held_out(artifact, loaded.task, "train")
    if not len(examples):
        raise DataError("There are no training texts to calibrate on.", where=str(artifact), to_do="Use --calibrate 0.")
    return [loaded.task.encode(example, loaded.encoder) for example in spread(examples, count)]
