"""The small JSON-schema checker says what the reference implementation says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tunesmith.errors import RecipeError
from tunesmith.guarding.json_form import check_form, has_form

FORMS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 2},
    {"enum": [1, "a", None, True]},
    {"type": "number", "minimum": 0, "maximum": 2},
    {"properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}},
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.5]) | st.sampled_from(["", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.sampled_from(FORMS))
def test_values_fit_as_the_reference_says(value: object, form: dict[str, Any]) -> None:
    check_form(form, "form")
    assert has_form(value, form) == Draft202012Validator(form).is_valid(value)


@pytest.mark.parametrize(
    "form",
    [{"$ref": "x"}, {"type": "objekt"}, {"minimum": "1"}, {"required": "a"}, {"items": 3}, {"properties": {"a": 1}}],
)
def test_what_is_not_understood_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        check_form(form, "form")
