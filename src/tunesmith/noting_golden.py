"""Golden examples looked up in what an artifact learnt from, where its data are, and noted in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.duplicates import text_key
from tunesmith.errors import DataError
from tunesmith.inference.artifact import SIGNATURE, file_hash, task_of, verify
from tunesmith.inference.learnt_golden import Receipt, note
from tunesmith.judging import examples_of_file
from tunesmith.learnt_from import learnt_by, sources_of


@dataclass(frozen=True)
class Noted:
    """What was noted in an artifact.

    Attributes:
        was_signed: its signature was taken away, since it would not hold.
    """

    folder: Path
    receipt: Receipt
    was_signed: bool


def note_golden(folder: Path, data: Path) -> Noted:
    """Note in an artifact which of the labelled examples of a file it was trained on or chosen by.

    Texts are compared without regard to case, width and blanks. Nothing is written where the artifact's data cannot be
    read as they were for its run.

    Raises:
        ArtifactError: it is damaged, or was changed.
        DataError: the file, or the artifact's data, cannot be read.
    """
    description = verify(folder)
    task = task_of(description, folder)
    if not data.is_file():
        raise DataError(
            "There is no such file.", where=str(data), to_do="Give the file that 'serve --golden' is given."
        )
    sources = sources_of(folder)
    examples = examples_of_file(sources[0].experiment.data, task, str(data))
    learnt = learnt_by(sources, task)
    if learnt is None:
        raise DataError(
            "What it learnt from cannot be read here, or is not what it was for the run, so nothing was noted.",
            where=str(folder),
            to_do="Run this where the data are that its recipe.yaml names, as they were then.",
        )
    places = tuple(place for place, one in enumerate(examples) if text_key(one.content) in learnt)
    receipt = Receipt(file_hash(data), len(examples), places)
    was_signed = (folder / SIGNATURE).is_file()
    note(folder, receipt)
    return Noted(folder, receipt, was_signed)
