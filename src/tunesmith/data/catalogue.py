"""Data sets by name: where their files lie below $TUNESMITH_DATA, how they are read, and what may be done with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, nearest

VARIABLE = "TUNESMITH_DATA"
BESIDE = Path("..") / "shared" / "data"
"""Where the data sets are looked for when the variable is not set."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A known data set.

    `train`, `validation`, `test` are paths below `folder`, and so is `items`, the file of what is recommended;
    `reading` holds settings of `Data` that its form needs; `hub` holds the same splits as paths of the hub, for when
    the folder is not there.
    """

    summary: str
    licence: str
    train: str = ""
    validation: str = ""
    test: str = ""
    folder: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    hub: Mapping[str, str] = field(default_factory=dict)
    items: str = ""


DATA_SETS: Mapping[str, DataSet] = {
    "support-finance": DataSet(
        "customer-service and finance messages, six entity types (en)",
        "CC0-1.0",
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
    ),
    "conll2003": DataSet(
        "news, persons, organisations, places, others (en)",
        "Reuters text, research only",
        "eng.train.xz",
        "eng.testa.xz",
        "eng.testb.xz",
        reading={"format": "conll"},
    ),
    "conllpp": DataSet(
        "the test set of CoNLL-2003 with 186 sentences corrected (en)",
        "Reuters text, research only",
        test="conllpp_test.txt.xz",
        reading={"format": "conll"},
    ),
    "cluener2020": DataSet(
        "news, ten entity types; its dev split is the test here (zh)",
        "research only",
        "train.json.xz",
        test="dev.json.xz",
        reading={"format": "jsonl"},
    ),
    "chnsenticorp": DataSet(
        "reviews of hotels, laptops and books, good or bad (zh)",
        "research only",
        "train.txt.xz",
        "dev.txt.xz",
        "test.txt.xz",
        reading={"format": "lines"},
    ),
    "clinc150": DataSet(
        "150 intents and what is out of scope (en)",
        "CC BY 3.0",
        "data_full.json.xz!train+oos_train",
        "data_full.json.xz!val+oos_val",
        "data_full.json.xz!test+oos_test",
        reading={"header": ("text", "intent")},
        hub={
            "train": "hub:clinc/clinc_oos:plus!train",
            "validation": "hub:clinc/clinc_oos:plus!validation",
            "test": "hub:clinc/clinc_oos:plus!test",
        },
    ),
    "sst2": DataSet(
        "sentences of film reviews, good or bad (en)",
        "no licence stated",
        "stsa.binary.train.xz",
        "stsa.binary.dev",
        "stsa.binary.test.xz",
        folder="sst",
        reading={"format": "lines", "separator": " ", "label_first": True},
    ),
    "sst5": DataSet(
        "sentences of film reviews in five grades (en)",
        "no licence stated",
        "stsa.fine.train.xz",
        "stsa.fine.dev.xz",
        "stsa.fine.test.xz",
        folder="sst",
        reading={"format": "lines", "separator": " ", "label_first": True},
    ),
    "financial-phrasebank": DataSet(
        "sentences of financial news, three moods; unsplit (en)",
        "CC BY-NC-SA 3.0",
        "Sentences_50Agree.txt.xz",
        reading={"format": "lines", "separator": "@"},
    ),
    "toutiao": DataSet(
        "headlines in 15 classes (zh)",
        "no licence stated",
        "train.csv.xz",
        "dev.csv.xz",
        "test.csv.xz",
        folder="toutiao-sample-zh",
    ),
    "cold": DataSet(
        "comments, offensive or not (zh)",
        "Apache-2.0",
        "train.csv.xz",
        "dev.csv.xz",
        "test.csv.xz",
        folder="cold-zh",
        reading={"text": "TEXT"},
    ),
    "ml-100k": DataSet(
        "what 943 people rated of 1,682 films, by time; each one's last is the test (en)",
        "GroupLens terms, research only",
        "u.data.xz!train",
        "u.data.xz!validation",
        "u.data.xz!test",
        reading={"format": "ratings", "encoding": "latin-1"},
        items="u.item.xz",
    ),
}

PACKAGED = "support-finance"


def find(name: str) -> tuple[DataSet, dict[str, str]]:
    """A data set and the path of each split (and of its items): from the package, $TUNESMITH_DATA, or the hub.

    Raises:
        DataError: the name is unknown, or the data set is neither here nor on the hub.
    """
    if name not in DATA_SETS:
        raise DataError(
            f"Unknown data set '{name}'.{nearest(name, DATA_SETS)}",
            where="data.name",
            to_do=f"Use one of {', '.join(DATA_SETS)}; or give data.train.",
        )
    entry = DATA_SETS[name]
    folder = Path(str(files("tunesmith") / "demo")) if name == PACKAGED else data_folder() / (entry.folder or name)
    splits = {"train": entry.train, "validation": entry.validation, "test": entry.test, "items": entry.items}
    if folder.is_dir():
        return entry, {split: str(folder / path) for split, path in splits.items() if path}
    if entry.hub:
        return entry, dict(entry.hub)
    raise DataError(
        f"The data set '{name}' is not on this machine, and the hub has no copy that is read without running code.",
        where=str(folder),
        to_do=f"Put its files there, or set {VARIABLE} to the folder that holds '{entry.folder or name}'.",
    )


def data_folder() -> Path:
    """The folder of data sets: $TUNESMITH_DATA, or ../shared/data."""
    return Path(os.environ.get(VARIABLE, "") or BESIDE)
