"""Text of users, wrapped so that a careless log line, message or trace shows its length and nothing else."""

from __future__ import annotations

from typing import NoReturn


class UserText:
    """A text that is only read by asking for it: `reveal()`.

    It is no `str`, so that joining, formatting and JSON cannot take it for one; it prints as "<text, 123 characters>",
    and cannot be pickled or changed. Equal texts are equal.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_UserText__text", text)

    def reveal(self) -> str:
        """The text itself."""
        text: str = object.__getattribute__(self, "_UserText__text")
        return text

    def __repr__(self) -> str:
        return f"<text, {len(self)} characters>"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __len__(self) -> int:
        return len(self.reveal())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UserText):
            return NotImplemented
        return self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(("UserText", self.reveal()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("A UserText cannot be changed.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("A UserText cannot be changed.")

    def __copy__(self) -> UserText:
        return self

    def __deepcopy__(self, memo: object) -> UserText:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("A UserText cannot be pickled; reveal it where that is meant.")

    def __reduce__(self) -> NoReturn:
        raise TypeError("A UserText cannot be pickled; reveal it where that is meant.")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()
