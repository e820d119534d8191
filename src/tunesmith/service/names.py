"""Names that a trained tagger finds in what a service is asked and answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import torch

from tunesmith.data.records import Span
from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import MANIFEST, file_hash
from tunesmith.inference.name_tagger import names_by
from tunesmith.privacy import Names
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.spare_memory import SpareMemory
from tunesmith.service.versions import Version
from tunesmith.service.worker import FAILURES

LONGEST = 20_000
"""Characters that are read at once, as many as a request's text may have: requests wait while feedback is read."""


def names_of(version: Version) -> Names:
    """The names that an artifact finds; whichever thread asks, one text is read at a time, by one thread.

    Raises:
        RecipeError: it tags no people and places.
        ArtifactError: it was changed since the version was read.
    """
    torch.set_num_threads(1)  # the cores are the workers'; nothing else computes in the front
    folder = version.slot.folder
    names = names_by(folder)
    if file_hash(folder / MANIFEST) != version.sha256:
        raise ArtifactError("The artifact was changed just now.", where=str(folder), to_do="Give the command again.")
    turn, spare = threading.Lock(), SpareMemory()

    def found(text: str) -> Sequence[Span]:
        if len(text) > LONGEST:
            raise NoAnswerError("unanswerable")
        with turn:
            try:
                return tuple(names.tagger(text))
            except FAILURES as error:  # such a text goes to nobody: its names are not known
                raise NoAnswerError("unanswerable") from error
            finally:
                spare.hand_back()

    return replace(names, tagger=found)
