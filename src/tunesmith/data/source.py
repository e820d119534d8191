"""One file (or hub data set), and how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal[
    "auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "semeval", "lines", "parallel", "squad", "hub",
    "easy_vqa", "fsdd", "ratings", "ag_news",
]  # fmt: skip
"""How a file is written."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file (or hub data set) and how it is to be read; see `Data` for what each setting means.

    `label_kind` is one of `LABEL_KINDS`; the empty one reads texts without labels. `inputs` names what an example
    consists of, by the fields of `Example`: "text" alone, or for example "text" and "second"; what has a
    question mark may be missing where no labels are read.
    """

    path: str
    format: Format = "auto"
    text: str = ""
    label: str = ""
    id: str = ""
    group: str = ""
    keep: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    separator: str = ""
    quoted: bool = True
    label_first: bool = False
    label_separator: str = "|"
    encoding: str = "utf-8"
    label_kind: str = ""
    second: str = ""
    items: str = ""
    image: str = ""
    audio: str = ""
    leave_out: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("text",)
