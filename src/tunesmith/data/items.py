"""What is recommended: a file of items -> their ids and texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith.data.files import Place, keyless, read_lines
from tunesmith.data.records import Example
from tunesmith.data.tables import Row, read_csv, read_json, read_jsonl, read_parquet
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

ITEM = ("item", "item_id", "itemid", "movie_id", "movieid", "product_id", "asin", "id", "编号", "物品", "商品")
TITLE = ("title", "name", "text", "标题", "名称")
DETAILS = ("genres", "genre", "categories", "category", "brand", "description", "类别", "描述")
"""The names of columns that are looked for: of ids, of titles, and of what else tells items apart."""
_FLAGS = 5
"""Fields of MovieLens' u.item before the flags of its genres: id, title, release, video release, address."""


def read_items(path: str, encoding: str, tally: Tally) -> dict[str, Example]:
    """The items by id: their text is the title and what else tells them apart; "title" is among the attributes.

    Read are MovieLens' u.item (genres by the u.genre beside it) and movies.dat, and tables (CSV, TSV, JSON, JSON lines,
    Parquet) with columns for id and title.

    Raises:
        DataError: the file cannot be read, or has no column of ids or titles.
    """
    found: dict[str, Example] = {}
    for line, item, title, details in _rows(keyless(path, "items"), encoding, tally):
        if not item:
            tally.add("items_without_id", "warning", "{count} items have no id and were left out.", f"line {line}")
        elif item in found:
            tally.add("duplicate_items", "warning", "{count} items occur again; the first stands.", f"{item} ({line})")
        elif not title:
            tally.add("items_without_text", "warning", "{count} items have no title and were left out.", item)
        else:
            text = f"{title}. {details}" if details else title
            found[item] = Example(item, text, origin=f"{path}:{line}", attributes={"title": title})
    if not found:
        raise DataError("There is no item in it.", where=path, to_do="Give a file with an id and a title per line.")
    return found


def title_of(item: str, items: Mapping[str, Example]) -> str:
    """An item's title, or its id where no title is known."""
    return items[item].attributes["title"] if item in items else item


def described(history: Sequence[str], items: Mapping[str, Example], most: int = 3) -> str:
    """A history as people read it: the titles of its newest items, the newest last."""
    shown = " > ".join(title_of(item, items) for item in history[-most:])
    return f"... > {shown}" if len(history) > most else shown


_Item = tuple[int, str, str, str]
"""An item's line, its id, its title, and its details."""


def _rows(place: Place, encoding: str, tally: Tally) -> Iterator[_Item]:
    tables: Mapping[str, Callable[[], Iterator[Row]]] = {
        ".jsonl": lambda: read_jsonl(place, encoding, (), tally),
        ".ndjson": lambda: read_jsonl(place, encoding, (), tally),
        ".json": lambda: read_json(place, encoding, (), tally),
        ".parquet": lambda: read_parquet(place, lambda there: there),
    }
    if place.suffix in tables:
        yield from _named(place, tables[place.suffix](), tally)
        return
    first = next(read_lines(place, encoding), "")
    if first.count("|") >= _FLAGS:
        yield from _flagged(place, encoding)
    elif "::" in first:
        for number, line in enumerate(read_lines(place, encoding), 1):
            if line.strip():
                item, title, *more = (*line.strip().split("::"), "")
                yield number, item.strip(), title.strip(), ", ".join(more[0].split("|")) if more else ""
    else:
        yield from _named(place, read_csv(place, encoding, "", (), tally), tally)


def _flagged(place: Place, encoding: str) -> Iterator[_Item]:
    """MovieLens' u.item: a bar between fields, at the end a flag for each genre."""
    beside = [Path(place.file.parent / name) for name in ("u.genre", "u.genre.xz")]
    genres: list[str] = []
    for path in beside:
        if path.is_file():
            genres = [line.partition("|")[0] for line in read_lines(Place(path), encoding) if line.strip()]
            break
    for number, line in enumerate(read_lines(place, encoding), 1):
        if line.strip():
            item, *rest = line.rstrip("\r\n").split("|")
            if len(rest) < _FLAGS:
                raise DataError(
                    f"Line {number} has {len(rest) + 1} fields between bars; line 1 has more.",
                    where=f"{place}:{number}",
                    to_do="Correct the line.",
                )
            title, flags = rest[0], rest[_FLAGS - 1 :]
            own = [genre for genre, flag in zip(genres, flags, strict=False) if flag == "1" and genre != "unknown"]
            yield number, item.strip(), title.strip(), ", ".join(own)


def _named(place: Place, rows: Iterator[Row], tally: Tally) -> Iterator[_Item]:
    """A table's rows, by the names that are usual for ids, titles and details."""
    id_column = title_column = ""
    details: list[str] = []
    for number, row in rows:
        if not id_column:
            id_column, title_column = (first_of(row, names, str(place)) for names in (ITEM, TITLE))
            details = [name for name in row if name.lower() in DETAILS and name != title_column]
            with_details = f", details from {', '.join(details)}" if details else ""
            tally.add(
                "item_columns", "note", f"Items: id from '{id_column}', title from '{title_column}'{with_details}."
            )
        values = [_told(row.get(name)) for name in details]
        more = ", ".join(value for value in values if value)
        yield number, id_of(row.get(id_column)), id_of(row.get(title_column)), more


def first_of(there: Mapping[str, object] | Sequence[str], names: Sequence[str], where: str) -> str:
    """The first column that has one of these names; capitals do not matter.

    Raises:
        DataError: there is none.
    """
    lower = {name.lower(): name for name in there}
    for name in names:
        if name in lower:
            return lower[name]
    raise DataError(
        f"No column is named {', '.join(names[:5])} or the like.",
        where=where,
        to_do=f"Name one of these so: {', '.join(list(there)[:12])}.",
    )


def id_of(value: object) -> str:
    """An id or a title as text; a whole number is the same with and without its ".0", and a missing one is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _told(value: object) -> str:
    """A detail as text; lists are joined, and of genres between bars each is told."""
    if isinstance(value, list):
        return ", ".join(_told(item) for item in value)
    return ", ".join(part.strip() for part in id_of(value).split("|") if part.strip())
