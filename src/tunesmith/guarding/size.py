"""A guard against texts that are too long or too short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import RecipeError
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Size:
    """Refuse texts that are too long or too short, before they cost anything.

    Attributes:
        least_characters: at least so many characters that are no blanks; 0 for no limit.
        most_characters: at most so many in all texts of an example together; 0 for no limit.
        most_tokens: at most so many tokens of the model; 0 for no limit. Whoever asks must count them.
        most_items: at most so many items of a history, or messages of a dialogue; 0 for no limit.
        over: what becomes of a single text with too many characters: "refuse", or "cut" to the limit, which is counted.
    """

    least_characters: Count = 1
    most_characters: Count = 20_000
    most_tokens: Count = 0
    most_items: Count = 0
    over: Literal["refuse", "cut"] = "refuse"

    def __post_init__(self) -> None:
        if 0 < self.most_characters < self.least_characters:
            raise RecipeError("most_characters is below least_characters.", where="size.most_characters")

    @property
    def needs(self) -> frozenset[Need]:
        """The number of tokens, where that has a limit."""
        return frozenset({"tokens"} if self.most_tokens else ())

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Refuse, or cut, what is out of the limits."""
        texts = _texts(example)
        value, filled = sum(map(len, texts)), sum(len("".join(text.split())) for text in texts)
        items = len(example.history) or len(example.turns)
        if filled < self.least_characters and not items:
            return Verdict("refuse", "text_too_short", {"limit": self.least_characters, "value": filled})
        if self.most_items and items > self.most_items:
            return Verdict("refuse", "too_many_items", {"limit": self.most_items, "value": items})
        if self.most_characters and value > self.most_characters:
            if self.over == "cut" and len(texts) == 1:
                return replace(example, text=example.text[: self.most_characters])
            return Verdict("refuse", "text_too_long", {"limit": self.most_characters, "value": value})
        if self.most_tokens and evidence.tokens > self.most_tokens:
            return Verdict("refuse", "too_many_tokens", {"limit": self.most_tokens, "value": evidence.tokens})
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Pass."""
        return prediction


def _texts(example: Example) -> list[str]:
    """All texts of an example, each once: of a dialogue its messages, of a pair both."""
    first = [turn.text for turn in example.turns] or [example.text]
    return [*first, example.second] if example.second else first
