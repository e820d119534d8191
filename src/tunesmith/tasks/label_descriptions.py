"""What labels mean in words: descriptions, the sentences that a template makes of them, and whether these differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from tunesmith.errors import RecipeError, nearest

Descriptions = dict[str, str | tuple[str, ...]]
"""Label -> what it means, in one way or in several."""

PLACE = "{label}"
"""Where a template takes the description."""


def check_template(template: str) -> None:
    """See that a template has one place for the label, and no other.

    Raises:
        RecipeError: otherwise.
    """
    places = re.findall(r"\{[^{}]*\}", template)
    if places == [PLACE]:
        return
    wrong = next((place for place in places if place != PLACE), "")
    what = f"The template has a wrong slot '{wrong}'." if wrong else "The template must have the slot {label} once."
    raise RecipeError(
        what, where="task.template", to_do='Write {label} once and no other slot: "This text is about {label}."'
    )


def complete(descriptions: Descriptions, labels: Sequence[str]) -> Descriptions:
    """The descriptions of each label; one without any is described by its own name.

    Raises:
        RecipeError: a description is empty, or is for a label that there is not.
    """
    for label in descriptions:
        if label not in labels:
            raise RecipeError(
                f"descriptions names the unknown label '{label}'.{nearest(label, labels)}",
                where="task.descriptions",
                to_do=f"Describe one of {', '.join(labels[:8])}, or add the label to task.labels.",
            )
    full: Descriptions = {label: ways(descriptions.get(label, label.replace("_", " "))) for label in labels}
    for label, given in full.items():
        if not given or not all(way.strip() for way in given):
            raise RecipeError(
                f"Label '{label}' has an empty description.",
                where="task.descriptions",
                to_do="Say what it means, or leave it out: then its own name is taken.",
            )
    return full


def ways(description: str | tuple[str, ...]) -> tuple[str, ...]:
    """The ways in which a label is described."""
    return (description,) if isinstance(description, str) else description


def sentences(descriptions: Mapping[str, str | tuple[str, ...]], template: str) -> list[tuple[str, ...]]:
    """For each label the template filled with each of its descriptions."""
    return [tuple(template.replace(PLACE, way) for way in ways(given)) for given in descriptions.values()]


def see_that_they_differ(descriptions: Descriptions, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that the tokenizer reads every description, and none as another label's.

    Raises:
        RecipeError: otherwise.
    """
    owner: dict[tuple[str, ...], str] = {}
    for label, given in descriptions.items():
        for way in ways(given):
            parts = tuple(tokenizer.tokenize(way))
            if not parts or tokenizer.unk_token in parts:
                raise RecipeError(
                    f"The tokenizer does not know the description '{way}' of label '{label}'.",
                    where="task.descriptions",
                    to_do="Use other words, or a model that reads this language.",
                )
            if owner.setdefault(parts, label) != label:
                raise RecipeError(
                    f"The labels '{owner[parts]}' and '{label}' have the same description, '{way}'.",
                    where="task.descriptions",
                    to_do="Give each label a description of its own.",
                )
