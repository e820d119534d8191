"""Values as JSON has them: every text in them redacted, with the name of its key as context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from tunesmith.privacy.keys import RedactionKey
from tunesmith.privacy.redactor import Redacted, Redactor, restore

_DEEPEST = 100
TOO_DEEP = "<TOO_DEEP>"
"""Stands for what lies deeper than 100 levels, which is not looked at and so not shown."""
_DIGITS_OF_A_NUMBER = 7


_TELLS_NOTHING = frozenset(
    ["text", "texts", "message", "messages", "content", "prompt", "input", "output", "context", "title"]
)
"""Names of keys under which any text may stand."""


@dataclass
class NestedRedaction:
    """Changes the texts of values as JSON has them, and counts over all of them.

    Attributes:
        change: gives the changed form of a text, by the words that stand before it.
        counts: the values changed so far, by kind.
    """

    change: Callable[[str, str], Redacted]
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, redactor: Redactor) -> Self:
        """What redacts each text."""
        return cls(lambda text, before: redactor.apply(text, before=before))

    @classmethod
    def restoring(cls, key: RedactionKey) -> Self:
        """What gives each text its values back."""
        return cls(lambda text, _: restore(text, key))

    def apply(self, value: object, name: str = "", depth: int = 0) -> object:
        """The value with each text, each long integer and each key changed.

        An integer of seven digits or more that is personal data becomes a text. `name` is the key under which the value
        stands; values are told by it as by words before them.

        Raises:
            PersonalDataError: a text holds what is refused.
        """
        if depth > _DEEPEST:
            return TOO_DEEP
        if isinstance(value, str):
            return self.text(value, name).text
        if isinstance(value, Mapping):
            named: dict[str, object] = {}
            for key, item in value.items():
                put = self.text(str(key)).text
                named[put if put not in named else f"{put} ({len(named)})"] = self.apply(item, str(key), depth + 1)
            return named
        if isinstance(value, list | tuple):
            return [self.apply(item, name, depth + 1) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10 ** (_DIGITS_OF_A_NUMBER - 1):
            redacted = self.text(str(value), name)
            return redacted.text if redacted.found else value
        return value

    def text(self, value: str, name: str = "") -> Redacted:
        """One text, counted."""
        tells = name and name.lower() not in _TELLS_NOTHING
        redacted = self.change(value, f"{name.replace('_', ' ')}: " if tells else "")
        self.counts.update(redacted.counts)
        return redacted
