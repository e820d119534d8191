"""News in four topics, as AG's corpus is passed on."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.data.files import keyless, read_lines
from tunesmith.data.labels import read_label
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tables import Row, read_csv
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, LabelError

TOPICS = ("World", "Sports", "Business", "Sci/Tech")


def examples_of_ag_news(source: Source, tally: Tally) -> Iterator[Example]:
    """The news of a CSV file without a header, in either of the two forms that are in use.

    The original (Zhang et al. 2015, sec. 4) has rows "topic from 1, title, description"; the other has rows "title and
    description as one text, topic from 0". In both, the text is the title, a blank and the description.

    Raises:
        DataError: the first row has neither two fields nor three.
        LabelError: a topic is none of the four.
    """
    place = keyless(source.path, "ag_news")
    width, rows = _opened(source, tally)
    message = "{count} news, their topics by number: 1 to 4." if width == 3 else "{count} news, topics 0 to 3."
    for number, row in rows:
        where = f"{source.path}:{number}"
        fields = list(row.values())
        given, text = (fields[0], f"{fields[1]} {fields[2]}") if width == 3 else (fields[1], fields[0])
        first = 1 if width == 3 else 0
        numbers = {str(first + place): topic for place, topic in enumerate(TOPICS)}
        if given.strip() not in numbers:
            raise LabelError(
                f"The topic '{given}' is none of {', '.join(numbers)}.",
                where=where,
                to_do="Correct the row, or name another data.format.",
            )
        tally.add("topics", "note", message)
        topic = numbers[given.strip()]
        label = read_label(topic, source.label_kind, text, source.label_separator, where) if source.label_kind else None
        yield Example(f"{place.file.name}-{number}", text, label, origin=where)


def _opened(source: Source, tally: Tally) -> tuple[int, Iterator[Row]]:
    """The number of fields per row, and the rows."""
    place = keyless(source.path, "ag_news")
    next(read_lines(place, source.encoding), None)  # a file that cannot be read at all says so itself
    for columns in (("topic", "title", "description"), ("text", "topic")):
        try:
            next(read_csv(place, source.encoding, ",", columns, Tally()), None)
        except DataError:
            continue
        return len(columns), read_csv(place, source.encoding, ",", columns, tally)
    raise DataError(
        "The first row is neither topic, title, description nor text, topic.",
        where=f"{source.path}:1",
        to_do="Name another data.format, such as csv.",
    )
