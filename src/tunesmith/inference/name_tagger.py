"""A trained tagger as what finds names in a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.privacy import TAGGED_KINDS, Names, kind_of


def kinds_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The kinds of personal data that a tagger with these labels finds."""
    return tuple(dict.fromkeys(filter(None, map(kind_of, labels))))


def names_by(artifact: Path) -> Names:
    """The names of people and places that a trained tagger finds, of those kinds alone that it has labels for.

    Raises:
        RecipeError: the artifact answers with something else than spans, or none of its labels means people or places.
    """
    predictor = Predictor.load(artifact)
    if predictor.task.label_kind != "spans":
        raise RecipeError(
            "This model does not tag names in a text.",
            where=str(artifact),
            to_do="Name the artifact of a token_classification run.",
        )
    kinds = kinds_of(predictor.task.labels)
    if not kinds:
        raise RecipeError(
            f"No label of this model means a person or a place: {', '.join(predictor.task.labels)}.",
            where=str(artifact),
            to_do=f"Name a model with one of {', '.join(TAGGED_KINDS)}.",
        )

    def tagged(text: str) -> Iterable[Span]:
        if not text.strip():
            return ()
        (answer,) = predictor.predict([Example("1", text)])
        return [span for span in answer.label if isinstance(span, Span)] if isinstance(answer.label, tuple) else ()

    return Names(tagged, {label: kind for label, kind in TAGGED_KINDS.items() if kind in kinds})
