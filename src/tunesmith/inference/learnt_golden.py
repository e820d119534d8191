"""Which golden examples an artifact learnt from, noted in it by their places: nothing is told of any other text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import add_file
from tunesmith.inference.folder import read_json

LEARNT = "learnt.json"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was found of one file of golden examples where the artifact's data were.

    Attributes:
        sha256: the file's.
        examples: how many it has.
        places: of those that the artifact was trained on or chosen by, from 0.
    """

    sha256: str
    examples: int
    places: tuple[int, ...]


def receipts_in(folder: Path) -> tuple[Receipt, ...]:
    """What an artifact has noted; nothing in one of before, or where nobody looked.

    Raises:
        ArtifactError: the file cannot be read.
    """
    if not (folder / LEARNT).is_file():
        return ()
    return tuple(_receipt(folder / LEARNT, sha256, told) for sha256, told in read_json(folder / LEARNT).items())


def note(folder: Path, receipt: Receipt) -> None:
    """Write a receipt into an artifact, in the place of an earlier one of the same file, and seal it anew.

    A signature is taken away: it would not hold.
    """
    known = {one.sha256: one for one in (*receipts_in(folder), receipt)}
    plain = {one.sha256: {"examples": one.examples, "learnt": list(one.places)} for one in known.values()}
    add_file(folder, LEARNT, json.dumps(plain, indent=2) + "\n")


def _receipt(path: Path, sha256: str, told: object) -> Receipt:
    if isinstance(told, Mapping):
        size, places = told.get("examples"), told.get("learnt")
        if _is_count(size) and isinstance(places, list) and all(map(_is_count, places)):
            receipt = Receipt(sha256, int(str(size)), tuple(places))
            if all(place < receipt.examples for place in places):
                return receipt
    raise ArtifactError(
        "It does not say which golden examples the artifact learnt from.",
        where=str(path),
        to_do="Take the file away and write it anew: tunesmith golden ARTIFACT --data FILE",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
