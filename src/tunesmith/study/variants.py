"""What a study varies, as names and changes of the recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tunesmith.errors import RecipeError, TunesmithError

Changes = Mapping[str, object]
"""Dotted keys of a recipe, such as "training.epochs", and their values."""

Variant = tuple[str, Changes]
"""A name that can stand in a folder's name, and what it changes."""


def variants(axis: str, key: str, values: Sequence[object] | Mapping[str, object]) -> Iterator[Variant]:
    """The name and the changes of each value below `axis` and `key` of a study's file.

    Raises:
        RecipeError: there is none, or one is not what it should be.
    """
    where = f"{axis}.{key}" if key else axis
    if not values:
        raise RecipeError("There is nothing to vary.", where=where, to_do="List at least one value.")
    if not isinstance(values, Mapping):
        for value in values:
            yield named(name_of(key, value)), {checked(key, axis): value}
        return
    for name, changes in values.items():
        if not isinstance(changes, Mapping):
            raise RecipeError(
                f"'{name}' must hold keys of the recipe and their values, not {changes!r}.",
                where=where,
                to_do=f"Write '{name}: {{method: lora, training.learning_rate: 1e-3}}', or a plain list of values.",
            )
        yield named(str(name)), {checked(str(own), axis): value for own, value in changes.items()}


def merged(chosen: Sequence[Variant], where: str) -> Changes:
    """The changes of several variants together.

    Raises:
        RecipeError: two of them change the same key.
    """
    changes: dict[str, object] = {}
    for name, own in chosen:
        if twice := sorted(changes.keys() & own.keys()):
            raise RecipeError(f"'{twice[0]}' is varied twice.", where=f"{where}: {name}", to_do="Set it once.")
        changes |= own
    return changes


def name_of(key: str, value: object) -> str:
    """The name of a value: a component by its name and settings, others as "epochs=3"."""
    if isinstance(value, Mapping):
        rest = [f"{name}={item}" for name, item in value.items() if name != "name"]
        return "-".join([str(value.get("name", key)), *rest])
    return str(value) if isinstance(value, str) and "." not in key else f"{key.rpartition('.')[2]}={value}"


def named(name: str) -> str:
    """The name with what cannot stand in a folder's name replaced."""
    return re.sub(r"[^\w.=,+-]+", "-", name).strip(".-") or "-"


def checked(key: str, axis: str = "vary") -> str:
    """A key of the recipe that can be varied.

    Raises:
        RecipeError: it is none.
    """
    parts = key.split(".")
    if not all(parts) or len(parts) > 2 or parts[0] in ("name", "seed"):
        raise RecipeError(
            f"'{key}' is no key that can be varied.",
            where=axis,
            to_do="Write section or section.key, such as method or training.epochs; seeds stand in 'seeds'.",
        )
    return key


@contextmanager
def placed(place: str) -> Iterator[None]:
    """A block whose errors also say in which file or cell they are."""
    try:
        yield
    except TunesmithError as error:
        where = f"{place}: {error.where}" if error.where else place
        raise type(error)(error.what, where=where, to_do=error.to_do) from error
