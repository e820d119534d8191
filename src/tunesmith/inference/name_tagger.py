"""A trained tagger as what finds names in a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor


def tagger_of(artifact: Path) -> Callable[[str], Iterable[Span]]:
    """The spans that a trained tagger finds in a text.

    Raises:
        RecipeError: the artifact answers with something else than spans.
    """
    predictor = Predictor.load(artifact)
    if predictor.task.label_kind != "spans":
        raise RecipeError(
            "This model does not tag names in a text.",
            where=str(artifact),
            to_do="Name the artifact of a token_classification run.",
        )

    def tagged(text: str) -> Iterable[Span]:
        if not text.strip():
            return ()
        (answer,) = predictor.predict([Example("1", text)])
        return [span for span in answer.label if isinstance(span, Span)] if isinstance(answer.label, tuple) else ()

    return tagged
