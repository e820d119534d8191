"""What a guard says, what it may be told of a text beyond the text itself, and how sure a look at it must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.data.records import Example, Prediction
from tunesmith.guarding.messages import MESSAGES, Language

Action = Literal["refuse", "unknown"]
"""The request is refused, or answered with "I don't know"."""

Need = Literal["tokens", "vector", "energy", "model"]
"""What a guard must be told: how long the text is in tokens, its embedding, its energy, what another model answers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard's objection. It holds numbers and no text of the user.

    Attributes:
        action: what becomes of the request.
        code: a stable name, a key of `MESSAGES`.
        numbers: what the judgement rests on, such as {"limit": 100, "value": 140}.
    """

    action: Action
    code: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def message(self, language: Language = "en") -> str:
        """The sentence for the user, in English or Simplified Chinese."""
        shown = {name: f"{value:.4g}" for name, value in self.numbers.items()}
        return MESSAGES[self.code][language].format(**shown)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What guards that cannot judge by the text alone are told.

    Attributes:
        tokens: the length of the text in the model's tokens; 0 where nobody counted.
        vector: the text's embedding by the model that is guarded; empty without one.
        energy: minus the log of the summed exponentials of its logits; nan without one.
        answers: by the folder of a further model, its answer to the text (before), or to the written answer (after).
    """

    tokens: int = 0
    vector: tuple[float, ...] = ()
    energy: float = math.nan
    answers: Mapping[str, Prediction] = field(default_factory=dict)


NOTHING = Evidence()
"""No evidence."""

Before = Example | Verdict
"""The example as it may go on (itself, or changed), or the objection."""
After = Prediction | Verdict
"""The answer as it may go out (itself, or changed), or the objection."""
