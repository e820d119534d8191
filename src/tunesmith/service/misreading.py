"""What is wrong with a body that is not of a route's form: bounds and allowed values, never what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tunesmith.service.refusals import NoAnswerError

_TEXT, _LIST, _OBJECT = "a text is wanted", "a list is wanted", "an object with fields is wanted"
_WHOLE, _NUMBER, _YES = "a whole number is wanted", "a number is wanted", "true or false is wanted"
_WANTED: Mapping[str, str] = {
    "string_type": _TEXT,
    "sequence_str": _LIST,
    "list_type": _LIST,
    "sequence_type": _LIST,
    "is_instance_of": _LIST,
    "dataclass_type": _OBJECT,
    "mapping_type": _OBJECT,
    "dict_type": _OBJECT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _YES,
    "bool_parsing": _YES,
}
"""What is wanted in the place of a value of another type, by pydantic's type of the error."""
_EITHER: Mapping[frozenset[str], str] = {
    frozenset({_TEXT, _LIST}): "a text or a list is wanted",
    frozenset({_TEXT, _OBJECT}): "a text, or an object with fields, is wanted",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "the least is {limit}"),
    "greater_than": ("gt", "more than {limit} is wanted"),
    "less_than_equal": ("le", "the most is {limit}"),
    "less_than": ("lt", "less than {limit} is wanted"),
    "string_too_long": ("max_length", "at most {limit} characters are taken"),
    "too_long": ("max_length", "at most {limit} entries are taken"),
    "too_short": ("min_length", "at least {limit} entries are wanted"),
    "literal_error": ("expected", "it must be {limit}"),
}
"""By pydantic's type of the error, which part of its context is the form's own bound, and what is said with it."""
UNKNOWN = "a field is unknown; the nearest known one is '{field}'"
INSIDE = "the field '{field}' stands in the wrong place: it belongs into each entry of '{given}'"
ABOVE = "the field '{field}' stands in the wrong place: it belongs at the top of the request"


def misread(error: ValidationError, form: TypeAdapter[Any]) -> NoAnswerError:
    """What is wrong with a body; names that the client made up are not repeated, the nearest known one is told."""
    schema = form.json_schema()
    known = {name for _, names in _levels(schema, schema) for name in names}
    # Of a value that may be of several forms the error that lies deepest is of the form that it comes nearest to.
    errors = error.errors(include_url=False, include_input=False)
    first = max(errors, key=lambda one: len(_place(one["loc"], known)))
    where, kind = _place(first["loc"], known), str(first["type"])
    last = str(first["loc"][-1]) if first["loc"] else ""
    at = ".".join(where)
    if last in known and kind.startswith("missing"):
        return NoAnswerError("bad_request", where=at, field=last, detail="the field '{field}' is missing")
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return _unknown(first["loc"], last, schema, at)
    if kind in _BOUNDS:
        key, said = _BOUNDS[kind]
        return NoAnswerError("bad_request", where=at, limit=first["ctx"][key], detail=said)
    beside = [str(one["type"]) for one in errors if _place(one["loc"], known) == where]
    if kind in _WANTED:
        wanted = frozenset(_WANTED[one] for one in beside if one in _WANTED)
        return NoAnswerError("bad_request", where=at, detail=_EITHER.get(wanted, _WANTED[kind]))
    said = "a value is not of its type or range ({given})"
    return NoAnswerError("bad_request", where=at, given=kind.replace("_", " "), detail=said)


def _place(loc: Sequence[int | str], known: set[str]) -> list[str]:
    """Where a value stands, in the form's own names."""
    return [str(part) for part in loc if isinstance(part, int) or part in known]


def _unknown(loc: Sequence[int | str], last: str, schema: Mapping[str, Any], where: str) -> NoAnswerError:
    """A field that is not known where it stands: where it belongs, or which one is nearest to it."""
    own = {name for node in _nodes_at(schema, loc[:-1]) for name in node.get("properties", {})}
    levels = list(_levels(schema, schema))
    at = next((above for above, names in levels if last in names), None)
    if at is None:
        field = max(
            sorted(own or {name for _, names in levels for name in names}),
            key=lambda name: SequenceMatcher(None, name, last).ratio(),
        )
        return NoAnswerError("bad_request", where=where, field=field, detail=UNKNOWN)
    if at:
        return NoAnswerError("bad_request", where=where, field=last, given=at, detail=INSIDE)
    return NoAnswerError("bad_request", where=where, field=last, detail=ABOVE)


def _forms(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The forms that a value may have, without references."""
    if "$ref" in node:
        yield from _forms(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    elif "anyOf" in node:
        for one in node["anyOf"]:
            yield from _forms(one, schema)
    else:
        yield node


def _levels(node: Mapping[str, Any], schema: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, set[str]]]:
    """The fields of a form and of those within it, each with the name of the field that holds them."""
    for one in _forms(node, schema):
        fields = one.get("properties", {})
        if fields:
            yield above, set(fields)
        for name, inner in fields.items():
            yield from _levels(inner, schema, name)
        if isinstance(one.get("items"), Mapping):
            yield from _levels(one["items"], schema, above)


def _nodes_at(schema: Mapping[str, Any], loc: Sequence[int | str]) -> list[Mapping[str, Any]]:
    """The forms that a value at this place may have; names of forms, which pydantic puts between, are passed over."""
    nodes = list(_forms(schema, schema))
    for part in loc:
        inner = [one["items"] if isinstance(part, int) else one["properties"][part] for one in nodes if _has(one, part)]
        nodes = [form for one in inner for form in _forms(one, schema)] or nodes
    return nodes


def _has(node: Mapping[str, Any], part: int | str) -> bool:
    return "items" in node if isinstance(part, int) else part in node.get("properties", {})
