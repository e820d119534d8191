"""What takes the place of personal data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from tunesmith.privacy.keys import RedactionKey

_TOKEN = re.compile(r"<([A-Z][A-Z0-9_]{0,31}):([A-Za-z0-9_-]{22,})>")
KEPT_CHARACTERS = 4
_DIGITS_TO_KEEP_SOME = 8


class Action(Protocol):
    """What is done with a value that was found.

    `needs_key`: a key must be given. `refuses`: the whole text is refused, so that nothing is replaced.
    """

    needs_key: ClassVar[bool]
    refuses: ClassVar[bool]

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """What is written in the place of a value."""


@dataclass(frozen=True)
class Mask:
    """The kind in brackets, such as <ID_CARD>."""

    needs_key: ClassVar[bool] = False
    refuses: ClassVar[bool] = False

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """The kind."""
        return f"<{kind}>"


@dataclass(frozen=True)
class Partial:
    """Asterisks for letters and digits but the last four of a number with eight digits or more; marks stay."""

    needs_key: ClassVar[bool] = False
    refuses: ClassVar[bool] = False

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """The value in asterisks, as long as it was."""
        is_number = sum(character.isdigit() for character in value) >= _DIGITS_TO_KEEP_SOME
        left = sum(map(str.isalnum, value)) - (KEPT_CHARACTERS if is_number else 0)
        masked = []
        for character in value:
            is_hidden = character.isalnum() and left > 0
            left -= is_hidden
            masked.append("*" if is_hidden else character)
        return "".join(masked)


@dataclass(frozen=True)
class Hash:
    """The kind and a keyed hash, such as <EMAIL#1f0c...>: the same value stays the same, and cannot be restored."""

    needs_key: ClassVar[bool] = True
    refuses: ClassVar[bool] = False

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """The kind and 16 hexadecimal digits."""
        assert key is not None
        return f"<{kind}#{key.digest(value, kind)}>"


@dataclass(frozen=True)
class Pseudonymise:
    """The kind and a token, such as <PERSON:Zk2...>, which the key turns back into the value."""

    needs_key: ClassVar[bool] = True
    refuses: ClassVar[bool] = False

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """The kind and the encrypted value."""
        assert key is not None
        return f"<{kind}:{key.sealed(value, kind)}>"


@dataclass(frozen=True)
class Refuse:
    """A text that holds such a value is refused."""

    needs_key: ClassVar[bool] = False
    refuses: ClassVar[bool] = True

    def replacement(self, value: str, kind: str, key: RedactionKey | None) -> str:
        """The kind, for those who only want to see what would be refused."""
        return f"<{kind}>"


def tokens(text: str, key: RedactionKey) -> Iterator[tuple[int, int, str, str]]:
    """Where the tokens stand that this key made, and the kind and value of each."""
    for match in _TOKEN.finditer(text):
        value = key.opened(match.group(2), match.group(1))
        if value is not None:
            yield match.start(), match.end(), match.group(1), value
