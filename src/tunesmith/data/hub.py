"""Data sets of the Hugging Face hub, read through the optional package `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.errors import DataError, import_extra

HUB = "hub:"
"""How the path of a hub data set begins, as in "hub:owner/name:configuration!train"."""


def read_hub(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a hub data set; numbers that stand for names of classes or tags become those names.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
        DataError: the path is malformed, or the data set cannot be loaded (its own code is never run).
    """
    where, _, split = path.removeprefix(HUB).partition("!")
    name, _, configuration = where.partition(":")
    if not name or not split:
        raise DataError(
            "The hub data set needs a name and a split.",
            where=path,
            to_do="Write 'hub:owner/name!train' or 'hub:owner/name:configuration!train'.",
        )
    datasets = import_extra("datasets", "hub")
    try:
        rows = datasets.load_dataset(name, configuration or None, split=split)
    except (ValueError, OSError, RuntimeError) as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(
            f"The hub data set cannot be loaded: {first}.",
            where=path,
            to_do="Check name, configuration, split and the network; or give files.",
        ) from error
    names = {column: _names(feature) for column, feature in rows.features.items()}
    for number, row in enumerate(rows, 1):
        yield number, {column: _named(value, names[column]) for column, value in row.items()}


def _names(feature: Any) -> list[str]:
    """The names of a ClassLabel, or of a list of them; none for other features."""
    inner = feature.feature if hasattr(feature, "feature") else feature[0] if isinstance(feature, list) else feature
    return list(inner.names) if hasattr(inner, "names") else []


def _named(value: Any, names: list[str]) -> Any:
    """The names that numbers stand for; a hidden label, which the hub writes as -1, is no label."""
    if not names:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return None if value is None or value < 0 else names[value]
