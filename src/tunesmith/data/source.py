"""One file (or hub data set), and how it is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Format = Literal[
    "auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "semeval", "lines", "parallel", "squad", "hub",
    "easy_vqa", "fsdd", "ratings", "ag_news",
]  # fmt: skip
"""How a file is written."""

FORMATS: Mapping[Format, str] = {
    "auto": "what the suffix says (.csv, .tsv, .jsonl, .json, .parquet, .conll, .bio, .bmes and their like), else what "
    "the first lines look like",
    "csv": "rows with fields between commas, semicolons, tabs or bars, whichever the first line has most of; the first "
    "line names the columns, unless data.header does",
    "tsv": "the same with tabs",
    "jsonl": "a JSON object per line, or a list whose fields data.header names",
    "json": 'a list of such rows, or an object that holds one, as "set.json!train" or "set.json!train+more"',
    "parquet": "a Parquet file (extra `parquet`)",
    "conll": "a word per line, its tag in the last column, an empty line between sentences (IOB1, IOB2, BIOES, BMES)",
    "semeval": "numbered sentences with marked entities, the relation on the line after (SemEval-2010 task 8)",
    "lines": "a text per line, its label after the last tab (data.separator, data.label_first) or fastText's __label__",
    "parallel": 'two files line by line, "train.en|train.de": the text from the first, its label from the second',
    "squad": "questions about passages, as SQuAD 1.1 and 2.0 and CMRC 2018 have them",
    "hub": 'a data set of the Hugging Face hub (extra `hub`), "hub:owner/name!train"',
    "ratings": 'who took what and when; "ratings.csv!train", "!validation" and "!test" part each user\'s items by time',
    "easy_vqa": 'the wheel of easy-VQA, "easy_vqa.whl!train" or "!test": pictures and questions about them',
    "fsdd": 'an archive of the Free Spoken Digit Dataset, "recordings.tar.xz!train" or "!test"',
    "ag_news": "AG News without a header, in both forms in use",
}
"""What each format reads."""


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
    level_separator: str = ""
    encoding: str = "utf-8"
    label_kind: str = ""
    second: str = ""
    items: str = ""
    image: str = ""
    audio: str = ""
    leave_out: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("text",)
    subgroups: tuple[str, ...] = ()
    weight: str = ""
    chances: str = ""
