"""The YAML of recipes and studies as plain keys and values, and changes to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tunesmith.errors import RecipeError, nearest_file

_NEW = ", or write a recipe with 'tunesmith new'"


def _parse(text: str) -> Any:
    """The value of a YAML text; a key that stands twice is an error, since one of the two would be passed over."""
    waiting = [yaml.compose(text, yaml.SafeLoader)]
    seen: set[int] = set()  # an alias leads to a node again
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) in seen:
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=node.start_mark)
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for number, (key, value) in enumerate(node.value):
                if any(key.value == other.value for other, _ in node.value[:number]):
                    raise yaml.MarkedYAMLError(
                        problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                    )
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
    return yaml.safe_load(text)


def read_recipe(path: Path, what: str = "recipe") -> dict[str, object]:
    """The keys and values of a YAML file; `what` it is called in errors."""
    try:
        recipe = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            f"The {what} does not exist.{nearest_file(path)}",
            where=str(path),
            to_do=f"Correct the path{_NEW if what == 'recipe' else ''}.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The {what} cannot be read as text.", where=str(path), to_do="Give a YAML file in UTF-8."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        line = f", line {mark.line + 1}" if mark else ""
        problem = f": {error.problem}" if isinstance(error, yaml.MarkedYAMLError) and error.problem else ""
        raise RecipeError(
            f"The {what} is not valid YAML{problem}.",
            where=f"{path}{line}",
            to_do="Check indentation, quotes and colons there.",
        ) from error
    if not isinstance(recipe, dict):
        to_do = f"Write lines such as 'key: value'{_NEW if what == 'recipe' else ''}."
        raise RecipeError(f"The {what} holds no keys.", where=str(path), to_do=to_do)
    return {str(key): value for key, value in recipe.items()}


def with_changes(recipe: Mapping[str, object], changes: Sequence[str]) -> dict[str, object]:
    """A copy of a recipe with keys overridden by "section.key=value" (the value is read as YAML)."""
    changed = dict(recipe)
    for change in changes:
        path, equals, text = change.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys) or len(keys) > 2:
            raise RecipeError(
                f"'{change}' is no change.",
                where="--set",
                to_do="Write --set section.key=value, for example --set training.epochs=1.",
            )
        try:
            value = _parse(text) if text.strip() else text  # YAML takes an empty text, or blanks, for nothing
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise RecipeError(
                f"The value of '{change}' is not valid YAML.", where="--set", to_do="Put the value in quotes."
            ) from error
        changed = changed_at(changed, keys, value)
    return changed


def changed_at(recipe: Mapping[str, object], keys: Sequence[str], value: object) -> dict[str, object]:
    """A copy of a recipe with another value at a key, or at a key of one of its sections."""
    if len(keys) == 1:
        return {**recipe, keys[0]: value}
    section = recipe.get(keys[0], {})
    named = {"name": section} if isinstance(section, str) else dict(section) if isinstance(section, Mapping) else {}
    return {**recipe, keys[0]: {**named, keys[1]: value}}


def named_settings(text: str, where: str, such_as: str) -> dict[str, object]:
    """A component as it is named on the command line, such as "budget:texts=500,words=2000", as its settings.

    Raises:
        RecipeError: a part is no setting; `such_as` is shown.
    """
    name, _, settings = text.partition(":")
    found: dict[str, object] = {"name": name.strip()}
    for part in re.split(r",(?![^{\[]*[}\]])", settings) if settings else ():  # not within {...} or [...]
        key, equals, value = part.partition("=")
        if not equals:
            raise RecipeError(f"'{part}' is no setting.", where=f"{where} {text}", to_do=f"Write {where} {such_as}.")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(
                f"'{value}' is no value.", where=f"{where} {text}", to_do="Write it as in YAML."
            ) from error
    return found
