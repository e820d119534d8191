"""Files of any supported form -> examples, with a finding for everything that was not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from tunesmith.data.conll import looks_like_conll
from tunesmith.data.files import Place, keyless, read_lines
from tunesmith.data.histories import examples_of_histories
from tunesmith.data.hub import HUB, read_hub
from tunesmith.data.lines import FASTTEXT
from tunesmith.data.parallel import MARK
from tunesmith.data.readers import COLUMNS, READERS
from tunesmith.data.records import Example, Finding
from tunesmith.data.rows import examples_of_rows, wanted_columns
from tunesmith.data.source import Format, Source
from tunesmith.data.squad import looks_like_squad
from tunesmith.data.stored import keep
from tunesmith.data.subgroups import in_subgroup
from tunesmith.data.tables import Row, is_one_json_value, read_csv, read_json, read_jsonl, read_parquet
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

_SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".conll": "conll", ".iob": "conll", ".iob2": "conll", ".bio": "conll", ".bioes": "conll", ".bmes": "conll",
}  # fmt: skip
_IDLE: Mapping[Format, tuple[str, ...]] = {
    "csv": ("label_first",),
    "tsv": ("label_first",),
    "jsonl": ("separator", "quoted", "label_first"),
    "json": ("separator", "quoted", "label_first"),
    "parquet": ("header", "separator", "quoted", "label_first", "encoding"),
    "hub": ("separator", "quoted", "label_first", "encoding"),
}
"""The settings that these formats of tables have no use for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The examples of a source, in its order, and what was seen while reading."""

    examples: Sequence[Example]
    findings: tuple[Finding, ...]


def read(source: Source) -> Reading:
    """Read a whole source; many examples are kept on disk.

    Raises:
        DataError: it cannot be read, holds no example, or a row is wrong; the message names the row.
    """
    tally = Tally()
    read_in = iterate(source, tally)
    parted = (in_subgroup(example, source.subgroups) for example in read_in) if source.subgroups else read_in
    examples = keep(parted)
    if not len(examples):
        raise DataError(
            "There is no example in it.", where=source.path, to_do="Give a file with at least one row of text."
        )
    return Reading(examples, tuple(tally.findings()))


def iterate(source: Source, tally: Tally) -> Iterator[Example]:
    """Yield the examples of a source one by one, and note in `tally` what was not as it should be.

    Raises:
        DataError: it cannot be read, a row is wrong, or labels without levels are to be cut to the first.
    """
    if not source.level_separator or not source.label_kind:
        return _examples(source, tally)
    if source.label_kind not in ("class", "classes"):
        raise DataError(
            "Only labels that are classes have levels.",
            where="data.level_separator",
            to_do="Remove it.",
        )
    return (_at_first_level(example, source, tally) for example in _examples(source, tally))


def _at_first_level(example: Example, source: Source, tally: Tally) -> Example:
    """The example with the first level of its label, or of each of its labels."""

    def first(label: str) -> str:
        before, mark, _ = label.partition(source.level_separator)
        if mark:
            tally.add("levels", "note", "{count} labels were cut to their first level.", f"{label}: {before}")
        return before if before.strip() else label

    label = example.label
    if isinstance(label, str):
        return replace(example, label=first(label))
    if isinstance(label, tuple):
        return replace(example, label=tuple(sorted({first(str(one)) for one in label})))
    return example


def _examples(source: Source, tally: Tally) -> Iterator[Example]:
    form = format_of(source)
    see_used(source)
    if form in READERS:
        yield from READERS[form].read(source, tally)
        return
    place = _place(source) if form in ("json", "hub") else keyless(source.path, form)
    examples = examples_of_histories if "history" in source.inputs else examples_of_rows
    yield from examples(source, place, table_rows(form, source, place, tally), tally)


def _place(source: Source) -> Place:
    return Place(source.path, "") if source.path.startswith(HUB) else Place.of(source.path)  # type: ignore[arg-type]


def names_format(suffix: str) -> bool:
    """Whether a suffix tells how a file is written."""
    return suffix in _SUFFIXES or suffix == ".json"


def format_of(source: Source) -> Format:
    """The format that the recipe names, or that the suffix or the first lines tell.

    Raises:
        DataError: neither tells.
    """
    if source.path.startswith(HUB):
        return "hub"
    if source.format != "auto":
        return source.format
    if MARK in source.path:
        return "parallel"
    place = _place(source)
    if place.suffix in _SUFFIXES:
        return _SUFFIXES[place.suffix]
    head = list(islice(read_lines(place, source.encoding), 200))
    if place.suffix == ".json" and "second" in source.inputs and looks_like_squad(head):
        return "squad"
    if place.suffix == ".json":
        return "json" if place.keys or is_one_json_value(head) else "jsonl"
    if looks_like_conll(head):
        return "conll"
    filled = [line for line in head if line.strip()]
    if source.separator or not source.label_kind or all("\t" in line or line.startswith(FASTTEXT) for line in filled):
        return "lines"
    raise DataError(
        f"The format of a '{place.suffix}' file is not clear from its name or its first lines.",
        where=str(place),
        to_do=f"Set data.format to csv, tsv, jsonl, json, parquet, {', '.join(READERS)}.",
    )


def idle_settings(source: Source) -> list[str]:
    """The settings that are set and that the source's format has no use for."""
    form = format_of(source)
    idle = READERS[form].idle if form in READERS else _IDLE[form]
    given, usual = asdict(source), asdict(Source(source.path))
    return [name for name in idle if given[name] != usual[name]]


def see_used(source: Source, further: Sequence[str] = ()) -> None:
    """See that the source's format has a use for every setting that is set, and that none of `further` is set.

    Raises:
        DataError: it has none for one.
    """
    given, usual = asdict(source), asdict(Source(source.path))
    idle = [*idle_settings(source), *(name for name in further if given[name] != usual[name])]
    if not idle:
        return
    form = format_of(source)
    why = ", which has no columns" if form == "lines" and idle[0] in COLUMNS else ""
    raise DataError(
        f"'{idle[0]}' has no meaning for a file of format {form}{why}.",
        where=source.path,
        to_do=f"Remove data.{idle[0]}, or name another format in data.format.",
    )


def usable(source: Source) -> Source:
    """The source without what its format has no use for, for a file that is not the one the settings were made for."""
    usual = asdict(Source(source.path))
    return replace(source, **{name: usual[name] for name in idle_settings(source)})


def _wanted(source: Source, there: Sequence[str]) -> list[str]:
    return list(there) if "history" in source.inputs else wanted_columns(source, there)


def table_rows(form: Format, source: Source, place: Place, tally: Tally, *, every: bool = False) -> Iterator[Row]:
    """The rows of a table with their lines; of a Parquet file `every` column, or those that the source names."""

    def table(separator: str) -> Iterator[Row]:
        return read_csv(place, source.encoding, separator, source.header, tally, quoted=source.quoted)

    readers: Mapping[str, Callable[[], Iterator[Row]]] = {
        "csv": lambda: table(source.separator),
        "tsv": lambda: table(source.separator or "\t"),
        "jsonl": lambda: read_jsonl(place, source.encoding, source.header, tally),
        "json": lambda: read_json(place, source.encoding, source.header, tally),
        "parquet": lambda: read_parquet(place, lambda there: there if every else _wanted(source, there)),
        "hub": lambda: read_hub(source.path),
    }
    return readers[form]()
