"""A trained tagger as what finds names in a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.privacy import TAGGED_KINDS, kind_of


def tagger_of(artifact: Path) -> Callable[[str], Iterable[Span]]:
    """The spans that a trained tagger finds in a text.

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
    if not any(map(kind_of, predictor.task.labels)):
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

    return tagged
