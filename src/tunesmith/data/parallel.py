"""Two files of which each line of one is the translation (or summary) of the same line of the other -> examples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tunesmith.data.files import Place, keyless, read_lines
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

MARK = "|"
"""What parts the paths of the two files."""


def parallel_examples(source: Source, tally: Tally) -> Iterator[Example]:
    """One example per line of "train.en|train.de": the text from the first file, its label from the second.

    A second file without a folder lies beside the first. Where no label is asked for the first file may stand alone.
    Pairs of which one line is blank are left out together and counted.

    Raises:
        DataError: the files differ in their number of lines, or the label is no text.
    """
    if source.label_kind not in ("text", ""):
        raise DataError(
            "Parallel files hold written texts and no other labels.",
            where=source.path,
            to_do="Choose a task that writes texts, such as sequence_to_sequence, or another data.format.",
        )
    first, second = places_of(source)
    counts = [0, 0]
    texts = read_lines(first, source.encoding)
    for text, answer in zip_longest(texts, read_lines(second, source.encoding) if second else ()):
        counts = [counts[0] + (text is not None), counts[1] + (answer is not None)]
        if text is None or (second is not None and answer is None):
            continue  # counted to its end, so that the error names both numbers
        if not text.strip() or (answer is not None and not answer.strip()):
            tally.add("empty_pairs", "warning", "{count} pairs with a blank line were left out.", f"line {counts[0]}")
            continue
        label = answer.strip() if answer is not None and source.label_kind else None
        where = f"{first}:{counts[0]}"
        yield Example(f"{first.file.name}-{counts[0]}", text.strip(), label, None, "", where)
    if second is not None and counts[0] != counts[1]:
        raise DataError(
            f"The files have {counts[0]:,} and {counts[1]:,} lines, so that their lines do not belong together.",
            where=f"{first} and {second}",
            to_do="Give two files of which each line translates the same line of the other.",
        )


def places_of(source: Source) -> tuple[Place, Place | None]:
    """The file of the texts and that of their labels; None where a lone file is read without labels.

    Raises:
        DataError: a file does not exist, or only one is named where labels are needed.
    """
    one, _, other = source.path.partition(MARK)
    first = keyless(one, "parallel")
    if not other:
        if source.label_kind:
            raise DataError(
                "Parallel files are two, and only one is named.",
                where=source.path,
                to_do=f"Name both: {first.file.name}{MARK}{first.file.stem}.translated",
            )
        return first, None
    path = Path(other)
    return first, keyless(str(path if path.parent != Path() else first.file.parent / path), "parallel")
