"""Questions about spoken digits, asked of the recordings of the Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tunesmith.data.files import Place
from tunesmith.data.labels import read_label
from tunesmith.data.media import digest_of, members_of
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
_TESTED = 5
"""Recordings with a lower index are the test part, as the data set's own README says."""


def examples_of_spoken_digits(source: Source, tally: Tally) -> Iterator[Example]:
    """Five questions about each recording ("recordings.tar.xz!train" or "!test"), made up here from its file's name.

    A file {digit}_{speaker}_{index}.wav says which digit is spoken. Each recording is asked which digit it is, and
    whether it is odd, even, larger than four, smaller than five. So each yes has its no: whoever hears the recording
    without the question is right in two of five at best, and whoever reads the question alone in (4 * 1/2 + 1/10) / 5 =
    42 %. The questions of one recording are a group; attributes are the speaker and what is asked.

    Raises:
        DataError: the archive has no such recordings, or the part is neither train nor test.
    """
    place = Place.of(source.path)
    if place.inside not in ("train", "test"):
        raise DataError(
            f"The recordings have the parts train and test, not '{place.inside}'.",
            where=source.path,
            to_do=f"Write '{place.file.name}!train' or '{place.file.name}!test'.",
        )
    found = [(name, match) for name in sorted(members_of(place.file)) if (match := _match(name))]
    chosen = [(name, match) for name, match in found if (int(match[3]) < _TESTED) == (place.inside == "test")]
    if not chosen:
        raise DataError(
            "The archive has no recordings named as 7_speaker_12.wav.",
            where=source.path,
            to_do="Give the recordings of the Free Spoken Digit Dataset.",
        )
    message = "Each of {count} recordings is asked five questions, made up by the reader from the digit in its name."
    tally.put("questions", "note", message, len(chosen))
    for name, match in chosen:
        path, heard = f"{place.file}!{name}", "audio" in source.inputs
        for kind, (question, answer) in questions_on(int(match[1])).items():
            where = f"{source.path}:{PurePosixPath(name).name}"
            kept = (
                read_label(answer, source.label_kind, question, source.label_separator, where)
                if source.label_kind
                else None
            )
            yield Example(
                f"{PurePosixPath(name).stem}-{kind}",
                question,
                kept,
                group=name,
                origin=where,
                attributes={"speaker": match[2], "question": kind},
                media={"audio": path} if heard else {},
                digests={"audio": digest_of(path)} if heard else {},
            )


def questions_on(digit: int) -> dict[str, tuple[str, str]]:
    """What is asked -> question and right answer."""
    answers = {True: "yes", False: "no"}
    return {
        "digit": ("Which digit is it?", DIGITS[digit]),
        "odd": ("Is the digit odd?", answers[digit % 2 == 1]),
        "even": ("Is the digit even?", answers[digit % 2 == 0]),
        "larger": ("Is the digit larger than four?", answers[digit > 4]),
        "smaller": ("Is the digit smaller than five?", answers[digit < 5]),
    }


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(PurePosixPath(name).name)
