"""Whether a value has the form that a JSON schema says: the keywords that answers of models need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.errors import RecipeError, nearest

Form = Mapping[str, Any]

_KINDS: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_LIMITS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("number", lambda value, limit: value >= limit),
    "maximum": ("number", lambda value, limit: value <= limit),
    "minLength": ("string", lambda value, limit: len(value) >= limit),
    "maxLength": ("string", lambda value, limit: len(value) <= limit),
    "minItems": ("array", lambda value, limit: len(value) >= limit),
    "maxItems": ("array", lambda value, limit: len(value) <= limit),
}
_KEYWORDS = ("type", "properties", "required", "additionalProperties", "items", "enum", *_LIMITS)


def check_form(form: Form, where: str) -> None:
    """See that a schema says only what is understood here; what is not would be passed over.

    Raises:
        RecipeError: it has an unknown keyword or type.
    """
    for key, value in form.items():
        if key not in _KEYWORDS:
            raise RecipeError(
                f"Unknown keyword '{key}'.{nearest(key, _KEYWORDS)}", where=where, to_do=f"Use {', '.join(_KEYWORDS)}."
            )
        if key == "type" and value not in _KINDS:
            raise RecipeError(
                f"Unknown type '{value}'.{nearest(str(value), _KINDS)}", where=where, to_do=f"Use {', '.join(_KINDS)}."
            )
        if key in _LIMITS and not _KINDS["number"](value):
            raise RecipeError(f"{key} must be a number.", where=where)
        if key == "additionalProperties" and not isinstance(value, bool):
            raise RecipeError("additionalProperties must be true or false.", where=where)
        if key in ("enum", "required") and not isinstance(value, list | tuple):
            raise RecipeError(f"{key} must be a list.", where=where)
    for key in ("properties", "items"):
        if not isinstance(form.get(key, {}), Mapping):
            raise RecipeError(f"{key} must hold a schema.", where=where)
    for name, inner in form.get("properties", {}).items():
        if not isinstance(inner, Mapping):
            raise RecipeError(f"The property '{name}' must hold a schema.", where=where)
        check_form(inner, f"{where}.{name}")
    if "items" in form:
        check_form(form["items"], f"{where}.items")


def has_form(value: object, form: Form) -> bool:
    """Whether a value fits a schema that was checked."""
    if "type" in form and not _KINDS[form["type"]](value):
        return False
    if "enum" in form and not any(
        value == one and isinstance(value, bool) == isinstance(one, bool) for one in form["enum"]
    ):
        return False
    if any(
        _KINDS[kind](value) and not holds(value, form[key]) for key, (kind, holds) in _LIMITS.items() if key in form
    ):
        return False
    if isinstance(value, Mapping):
        known = form.get("properties", {})
        if not set(form.get("required", ())) <= set(value):
            return False
        if form.get("additionalProperties", True) is False and not set(value) <= set(known):
            return False
        return all(has_form(item, known[name]) for name, item in value.items() if name in known)
    if isinstance(value, list) and "items" in form:
        return all(has_form(item, form["items"]) for item in value)
    return True
