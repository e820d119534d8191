"""Who took what and when (MovieLens ratings, logs of purchases) -> a history and the item after it, per user."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.data.files import Place, read_lines
from tunesmith.data.items import ITEM, described, first_of, read_items
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally, shorten
from tunesmith.errors import DataError, nearest

PARTS = ("train", "validation", "test")
"""What stands behind the '!' of a path: which part of each user's items is meant."""

SHORTEST = 4
"""Items that a user must have: one each for test and validation, and two to learn a step from."""

USER = ("user", "user_id", "userid", "uid", "reviewerid", "用户")
TIME = ("time", "timestamp", "ts", "unixreviewtime", "时间")
"""The names of columns that are looked for: of users, of times."""
_UNNAMED = {4: ("user", "item", "rating", "time"), 3: ("user", "item", "time")}
_GRADES = 10
"""Where no column is named and none of its numbers is higher, what should be times looks like ratings."""


@dataclass
class _Histories:
    """Each user's items with their times and lines, in the order of the file."""

    taken: dict[str, list[tuple[float, int, str]]] = field(default_factory=dict)

    def sequences(self, tally: Tally) -> dict[str, list[tuple[int, str]]]:
        """Each user's items by time (in the order of the file where it is equal), with their lines."""
        found = {}
        for user, taken in self.taken.items():
            first: dict[str, int] = {}
            for _, line, item in sorted(taken):
                if item in first:
                    message = "{count} times a user took an item again; the first time stands."
                    tally.add("repeated_items", "note", message, f"user {user}, item {item} (line {line})")
                first.setdefault(item, line)
            if len(first) < SHORTEST:
                message = f"{{count}} users with fewer than {SHORTEST} items were left out."
                tally.add("short_histories", "warning", message, f"user {user}: {len(first)}")
            else:
                found[user] = [(line, item) for item, line in first.items()]
        return found


def examples_of_ratings(source: Source, tally: Tally) -> Iterator[Example]:
    """One example per user: the history, and as label the item after it.

    The part behind the path's '!' says which item that is: each user's last one is for "test", the one before for
    "validation", and "train" has what is earlier (leave one out). Every rating counts as "taken", whatever its value.
    A user's later times of the same item do not count, since what is recommended is new. The attribute "target" of
    a label to judge by is "cold" where no user's "train" has the item.

    Raises:
        DataError: a line is not read, no part or no file of items is named.
    """
    place = Place.of(source.path)
    part = _part(place, source)
    if not source.items:
        raise DataError(
            "The items have no texts.", where="data.items", to_do="Give data.items, a file with their ids and titles."
        )
    items = read_items(source.items, source.encoding, tally)
    sequences = _read(source, place, items, tally).sequences(tally)
    if not sequences:
        what = f"No user has at least {SHORTEST} items: one each for test and validation, and two to learn from."
        raise DataError(what, where=str(place.file), to_do="Give more of what the users took.")
    known = {item for sequence in sequences.values() for _, item in sequence[:-2]}
    end = {"train": -2, "validation": -1, "test": None}[part]
    for user, sequence in sequences.items():
        line, target = sequence[:end][-1]
        history = tuple(item for _, item in sequence[:end][:-1])
        slices = {} if part == "train" else {"target": "warm" if target in known else "cold"}
        yield Example(
            user, described(history, items), target, origin=f"{place.file}:{line}", attributes=slices, history=history
        )


def _part(place: Place, source: Source) -> str:
    if source.label_kind != "item":
        raise DataError(
            "Ratings hold no texts.", where=source.path, to_do="Use task: recommendation, or another data.format."
        )
    if len(place.keys) == 1 and place.keys[0] in PARTS:
        return place.keys[0]
    named = "+".join(place.keys)
    raise DataError(
        f"'{named}' is no part of the users' items.{nearest(named, PARTS)}"
        if named
        else "Which part of the users' items is meant is not said.",
        where=source.path,
        to_do=f"Write {', '.join(f'{place.file.name}!{part}' for part in PARTS)}.",
    )


def _read(source: Source, place: Place, items: Mapping[str, Example], tally: Tally) -> _Histories:
    found = _Histories()
    for number, user, item, time in _ratings(source, place, tally):
        if item in items:
            found.taken.setdefault(user, []).append((time, number, item))
        else:
            message = f"{{count}} ratings are of items that {source.items} does not have, and were left out."
            tally.add("unknown_items", "error", message, f"item {item} (line {number}){nearest(item, items)}")
    return found


def _ratings(source: Source, place: Place, tally: Tally) -> Iterator[tuple[int, str, str, float]]:
    """Each line's number, user, item and time."""
    columns: tuple[int, int, int] | None = None
    width, highest, is_named = 0, -math.inf, True
    for number, fields in _fields(source, place):
        where = f"{place.file}:{number}"
        if columns is None:
            columns = _columns(fields, source, str(place), tally)
            width = len(fields)
            is_named = bool(source.header) or len(fields) != 3 or not _is_number(fields[-1])
            is_header = fields == list(source.header) if source.header else not _is_number(fields[columns[2]])
            if is_header:
                continue
        if len(fields) != width:
            raise DataError(
                f"The line has {len(fields)} fields; the first has {width}.", where=where, to_do="Correct the line."
            )
        user, item, time = (fields[place] for place in columns)
        if not user or not item:
            raise DataError("The line has no user or no item.", where=where, to_do="Correct or remove the line.")
        if not _is_number(time):
            raise DataError(
                f"The time '{time}' is not a number.",
                where=where,
                to_do="Give times as numbers, such as seconds since 1970.",
            )
        highest = max(highest, float(time))
        yield number, user, item, float(time)
    if not is_named and highest <= _GRADES:
        message = f"The third column was taken for times, but no number in it is above {highest:g}: are these ratings?"
        tally.add("times_like_ratings", "error", message, "Name the columns in data.header; one must be a time.")


def _fields(source: Source, place: Place) -> Iterator[tuple[int, list[str]]]:
    lines = read_lines(Place(place.file), source.encoding)
    mark = source.separator
    for number, raw in enumerate(lines, 1):
        line = raw.strip("\r\n")
        if not line.strip():
            continue
        mark = mark or ("::" if "::" in line else max("\t,;|", key=line.count))
        row = line.split(mark) if len(mark) > 1 else next(csv.reader([line], delimiter=mark))
        yield number, [value.strip() for value in row]


def _columns(first: Sequence[str], source: Source, where: str, tally: Tally) -> tuple[int, int, int]:
    """The places of user, item and time: by the names in the header, or in the usual order."""
    names: Sequence[str] = source.header
    if len(first) == 1:
        raise DataError(
            f"Line 1 is one field: '{shorten(first[0], 60)}'.",
            where=where,
            to_do="Name what parts its fields in data.separator, such as ' '.",
        )
    if names and len(names) != len(first):
        raise DataError(
            f"The header names {len(names)} columns; line 1 has {len(first)}.", where="data.header", to_do="Correct it."
        )
    if not names and _is_number(first[-1]):
        names = _UNNAMED.get(len(first), ())
        if not names:
            raise DataError(
                f"Line 1 has {len(first)} fields; known are user, item, (rating,) time.",
                where=where,
                to_do="Name the columns in data.header, such as [user, item, time].",
            )
    names = names or list(first)
    chosen = [first_of(names, usual, where) for usual in (USER, ITEM, TIME)]
    tally.add("columns", "note", f"Columns: user '{chosen[0]}', item '{chosen[1]}', time '{chosen[2]}'.")
    user, item, time = (list(names).index(name) for name in chosen)
    return user, item, time


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
