"""The one extension mechanism: a family is a dictionary from name to dataclass, and a member is built from settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tunesmith.errors import RecipeError, nearest

T = TypeVar("T")


def build(family: Mapping[str, type[T]], settings: str | Mapping[str, object], where: str = "") -> T:
    """Build the member of `family` that `settings` name; the other keys are its constructor's arguments.

    Raises:
        RecipeError: the name or a setting is unknown (the nearest known one is named), or a value has a wrong type.
    """
    given: dict[str, object] = {"name": settings} if isinstance(settings, str) else dict(settings)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError("A component needs a name.", where=where, to_do=f"Add 'name:', one of {_list(family)}.")
    if name not in family:
        raise RecipeError(
            f"Unknown name '{name}'.{nearest(name, family)}", where=where, to_do=f"Use one of {_list(family)}."
        )
    return from_settings(family[name], given, where)


def from_settings(kind: type[T], given: Mapping[str, object], where: str = "") -> T:
    """Build the dataclass `kind` from settings, each value checked against its field's type."""
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise RecipeError(
                f"Unknown key '{key}'.{nearest(str(key), known)}",
                where=where,
                to_do=f"Known keys: {', '.join(known) or 'none'}.",
            )
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RecipeError(f"{key} must be a finite number, not {value}.", where=f"{where}.{key}" if where else key)
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        place = f"{where}.{key}" if where else key
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"{place}: {message}.", where=place, to_do=f"The value given is {first['input']!r}."
        ) from error


def settings_of(component: object) -> dict[str, Any]:
    """The settings of a component as plain values (without its name)."""
    return dataclasses.asdict(component)  # type: ignore[call-overload,no-any-return]


def name_of(family: Mapping[str, type[T]], component: T) -> str:
    """The name under which the component's class stands in its family."""
    return next(name for name, kind in family.items() if type(component) is kind)


def _list(family: Mapping[str, type[T]]) -> str:
    return ", ".join(sorted(family))
