"""Questions about passages, as SQuAD 1.1 and 2.0 and CMRC 2018 are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.data.answers import find_answers
from tunesmith.data.duplicates import text_key
from tunesmith.data.files import keyless
from tunesmith.data.records import Example, Label
from tunesmith.data.rows import distinct
from tunesmith.data.source import Source
from tunesmith.data.tables import read_document
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, LabelError

_CONTEXT = ("context", "context_text")
_QUESTION = ("question", "query_text")
_ID = ("id", "query_id")


def looks_like_squad(lines: Sequence[str]) -> bool:
    """Whether these first lines are of a file of articles with questions."""
    return any('"qas"' in line for line in lines)


def squad_examples(source: Source, tally: Tally) -> Iterator[Example]:
    """The questions of a file, each with its passage as text; questions about one article are a group.

    An article without a title is its passage. `is_impossible` says that a question has no answer; plausible answers
    are not read.

    Raises:
        DataError: the task asks no questions about texts, or the file has another form.
        LabelError: a question has no answers, not even an empty list, or these have another form.
    """
    place = keyless(source.path, "squad")
    if source.label_kind not in ("answers", "") or "second" not in source.inputs:
        raise DataError(
            "The file has questions about passages, which the task does not ask.",
            where=str(place),
            to_do="Use task question_answering, or give another file.",
        )
    seen: set[int] = set()
    for number, (title, passage, asked) in enumerate(
        _questions(read_document(place, source.encoding, tally), place), 1
    ):
        where = f"{place}:{number}"
        text, question = _text(passage, _CONTEXT, where), _text(asked, _QUESTION, where)
        if not text.strip() or not question.strip():
            tally.add("empty_texts", "warning", "{count} questions without text were left out.", where)
            continue
        label: Label | None = None
        if source.label_kind:
            label = _answers(asked, text, where, tally)
            if label is None:
                continue
        name = next((str(asked[key]) for key in _ID if key in asked), f"{place.file.name}-{number}")
        group = title.strip() or f"passage {text_key(text)}"
        yield distinct(Example(name, text, label, None, group, where, second=question.strip()), seen, number, tally)


def _answers(asked: Mapping[str, Any], text: str, where: str, tally: Tally) -> Label | None:
    if asked.get("is_impossible") is True:
        return find_answers([], text, "|", where, tally)
    if "answers" not in asked:
        raise LabelError(
            "The question has no 'answers'.", where=where, to_do="Give a list; an empty one means that there is none."
        )
    return find_answers(asked["answers"], text, "|", where, tally)


def _questions(document: object, place: object) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each question with its passage and the title of its article."""
    articles = document.get("data") if isinstance(document, Mapping) else document
    for article in _objects(articles, "articles in 'data'", place):
        title = str(article.get("title") or "")
        passages = [article] if "qas" in article else article.get("paragraphs")
        for passage in _objects(passages, "passages in 'paragraphs'", place):
            for asked in _objects(passage.get("qas"), "questions in 'qas'", place):
                yield title, passage, asked


def _objects(value: object, what: str, place: object) -> list[Mapping[str, Any]]:
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return value
    raise DataError(
        f"The file does not hold a list of {what}, as SQuAD's do.",
        where=str(place),
        to_do='Give {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}, '
        "or rows with context, question and answers as jsonl.",
    )


def _text(item: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    for key in keys:
        if isinstance(item.get(key), str):
            return str(item[key])
    raise DataError(f"There is no '{keys[0]}'.", where=where, to_do=f"Its keys are {', '.join(map(str, item))[:80]}.")
