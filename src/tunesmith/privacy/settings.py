"""A redactor from a YAML file: recognisers of the user's own, and what is done with which kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tunesmith.components import build
from tunesmith.errors import RecipeError, nearest
from tunesmith.privacy.actions import Action, Hash, Mask, Partial, Pseudonymise, Refuse
from tunesmith.privacy.redactor import Recogniser
from tunesmith.recipes import read_recipe

T = TypeVar("T")

ACTIONS: dict[str, type[Action]] = {
    "mask": Mask,
    "partial": Partial,
    "hash": Hash,
    "pseudonymise": Pseudonymise,
    "refuse": Refuse,
}

_KEYS = ("recognisers", "action", "actions", "kinds")


@dataclass(frozen=True)
class RedactionSettings:
    """What a file says of a redactor.

    Attributes:
        recognisers: those besides the ones that are always there.
        action: what is done with a value; None where the file does not say.
        actions: what is done with values of single kinds.
        kinds: the only kinds that count; empty for all.
    """

    recognisers: tuple[Recogniser, ...] = ()
    action: Action | None = None
    actions: Mapping[str, Action] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()


def read_redaction(path: str | Path, family: Mapping[str, type[Recogniser]]) -> RedactionSettings:
    """The settings of a YAML file with the keys recognisers, action, actions and kinds.

    Args:
        path: the file.
        family: the recognisers that it may name.

    Raises:
        RecipeError: the file cannot be read, or a value is not as it should be.
    """
    given = read_recipe(Path(path), "file of recognisers")
    for key in given:
        if key not in _KEYS:
            raise RecipeError(
                f"Unknown key '{key}'.{nearest(str(key), _KEYS)}",
                where=str(path),
                to_do=f"Known keys: {', '.join(_KEYS)}.",
            )
    listed, chosen, kinds = given.get("recognisers", []), given.get("actions", {}), given.get("kinds", [])
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not isinstance(chosen, Mapping):
        raise RecipeError(
            "recognisers must be a list, and actions a name for each kind.",
            where=str(path),
            to_do="Write recognisers: [{name: pattern, kind: STAFF, pattern: 'S-[0-9]{5}'}], actions: {STAFF: hash}.",
        )
    if isinstance(kinds, str) or not isinstance(kinds, Sequence):
        raise RecipeError("kinds must be a list.", where=str(path), to_do="Write kinds: [EMAIL, STAFF].")
    return RedactionSettings(
        tuple(_built(family, one, f"{path}, recognisers.{place}") for place, one in enumerate(listed)),
        _built(ACTIONS, given["action"], f"{path}, action") if "action" in given else None,
        {str(kind): _built(ACTIONS, one, f"{path}, actions.{kind}") for kind, one in chosen.items()},
        tuple(map(str, kinds)),
    )


def see_kinds(kinds: Iterable[str], recognisers: Iterable[Recogniser], where: str) -> None:
    """See that each of these kinds can be found.

    Raises:
        RecipeError: no recogniser finds one.
    """
    there = sorted({kind for one in recognisers for kind in one.kinds})
    for kind in kinds:
        if kind not in there:
            raise RecipeError(
                f"Unknown kind '{kind}'.{nearest(kind, there)}", where=where, to_do=f"Known kinds: {', '.join(there)}."
            )


def _built(family: Mapping[str, type[T]], given: object, where: str) -> T:
    if not isinstance(given, str | Mapping):
        raise RecipeError("There must be a name, or a name with settings.", where=where, to_do="Write {name: ...}.")
    return build(family, given, where)
