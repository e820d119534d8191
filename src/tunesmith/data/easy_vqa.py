"""Questions about pictures, as the easy-VQA package holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tunesmith.data.files import Place
from tunesmith.data.labels import read_label
from tunesmith.data.media import content_of, digest_of
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

_PARTS = ("train", "test")


def examples_of_easy_vqa(source: Source, tally: Tally) -> Iterator[Example]:
    """The questions of one part of the easy-VQA wheel ("easy_vqa-1.0-py3-none-any.whl!train") with their pictures.

    Questions about one picture are a group; the attribute "question" says what is asked for: presence, colour or shape.

    Raises:
        DataError: the file is no such wheel, or the part is neither train nor test.
    """
    place = Place.of(source.path)
    if place.inside not in _PARTS:
        raise DataError(
            f"easy-VQA has the parts train and test, not '{place.inside}'.",
            where=source.path,
            to_do=f"Write '{place.file.name}!train' or '{place.file.name}!test'.",
        )
    folder = f"{place.file}!easy_vqa/data/{place.inside}"
    try:
        questions = [(str(text), str(answer), f"{image}") for text, answer, image in _rows(f"{folder}/questions.json")]
    except (ValueError, TypeError) as error:
        raise DataError(
            f"The questions are not as easy-VQA writes them: {error}.",
            where=f"{folder}/questions.json",
            to_do="Give the package's own wheel.",
        ) from error
    pictures = len({image for _, _, image in questions})
    tally.put("questions", "note", f"{{count}} questions about {pictures:,} pictures.", len(questions))
    for number, (text, answer, image) in enumerate(questions, 1):
        where = f"{source.path}:{number}"
        label = (
            read_label(answer, source.label_kind, text, source.label_separator, where) if source.label_kind else None
        )
        path = f"{folder}/images/{image}.png"
        shown = "image" in source.inputs
        yield Example(
            f"{place.inside}-{number}",
            text,
            label,
            group=f"{place.inside} {image}",
            origin=where,
            attributes={"question": _asked(text)},
            media={"image": path} if shown else {},
            digests={"image": digest_of(path)} if shown else {},
        )


def _rows(path: str) -> list[list[object]]:
    rows: list[list[object]] = json.loads(content_of(path))
    return rows


def _asked(text: str) -> str:
    """What a question asks for."""
    if not text.startswith(("what", "which")):
        return "presence"
    return "colour" if "color" in text else "shape"
