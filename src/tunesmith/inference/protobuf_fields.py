"""The fields of messages of protocol buffers, read as ONNX Runtime reads them, or refused.

A file is looked at before ONNX Runtime reads it, which helps only where both see the same. Readers of protocol buffers
pass over what they do not know, cut what is too long, and put together what stands twice; a file that relies on any of
that is refused here, and no writer makes one. So each message that matters has a table of all of its fields: the kinds
in which they may stand, and whether more than once. A field that is not in the table is refused too, since a later
version of ONNX Runtime may know it.

The encoding: https://protobuf.dev/programming-guides/encoding. The fields are those of onnx.proto (IR version 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ArtifactError

MOST_FIELDS = 1_000_000
"""Fields that are read of one file; a model of 48 layers has some 50,000."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LENGTHS = {_FIXED64: 8, _FIXED32: 4}
_LARGEST_NUMBER, _LONGEST_VARINT = (1 << 64) - 1, 10
Value = int | memoryview


@dataclass(frozen=True, slots=True)
class Kind:
    """How a field stands in a file.

    Attributes:
        wires: its wire types.
        several: whether it may stand more than once in one message.
    """

    wires: tuple[int, ...]
    several: bool = False


NUMBER, FLOAT, BYTES = Kind((_VARINT,)), Kind((_FIXED32,)), Kind((_BYTES,))
"""One whole number, one of 4 bytes, and one text, message or run of bytes."""
EACH = Kind((_BYTES,), several=True)
"""Several texts or messages."""
NUMBERS, FLOATS, DOUBLES = (Kind((wire, _BYTES), several=True) for wire in (_VARINT, _FIXED32, _FIXED64))
"""Several numbers, each in a field of its own or many in one."""

MODEL = {1: NUMBER, 2: BYTES, 3: BYTES, 4: BYTES, 5: NUMBER, 6: BYTES, 7: BYTES}
MODEL |= dict.fromkeys((8, 14, 20, 25, 26), EACH)
GRAPH = {2: BYTES, 10: BYTES} | dict.fromkeys((1, 5, 11, 12, 13, 14, 15, 16), EACH)
NODE = dict.fromkeys((3, 4, 6, 7, 8), BYTES) | dict.fromkeys((1, 2, 5, 9, 10), EACH)
ATTRIBUTE = {2: FLOAT, 3: NUMBER, 7: FLOATS, 8: NUMBERS, 20: NUMBER}
ATTRIBUTE |= dict.fromkeys((1, 4, 5, 6, 13, 14, 21, 22), BYTES) | dict.fromkeys((9, 10, 11, 15, 23), EACH)
TENSOR = {1: NUMBERS, 2: NUMBER, 4: FLOATS, 5: NUMBERS, 7: NUMBERS, 10: DOUBLES, 11: NUMBERS, 14: NUMBER}
TENSOR |= dict.fromkeys((3, 8, 9, 12), BYTES) | dict.fromkeys((6, 13, 16), EACH)


def unreadable(path: Path) -> ArtifactError:
    """What is said of a file that is no ONNX file, or none that any writer makes."""
    return ArtifactError(
        "ONNX Runtime cannot read the graph: it is no ONNX file, or was cut short.",
        where=str(path),
        to_do="Export the artifact again with this version: tunesmith export.",
    )


@dataclass(slots=True)
class FieldReader:
    """Reads one file's messages.

    Attributes:
        path: the file.
        seen: how many fields were read.
    """

    path: Path
    seen: int = 0

    def foreign(self, what: str) -> ArtifactError:
        """What is said of a graph that has something."""
        return ArtifactError(
            f"The graph has {what}, which no export writes.",
            where=str(self.path),
            to_do="Export the artifact again with this version: tunesmith export. Do not load it from elsewhere.",
        )

    def fields(self, message: Value, known: Mapping[int, Kind]) -> Iterator[tuple[int, Value]]:
        """The fields of a message: the number of each, and its content or number.

        Raises:
            ArtifactError: a field that is not known, stands in another kind, or twice where once is meant; or the
                message cannot be read.
        """
        content, at = self.bytes(message), 0
        end, once = len(content), set[int]()
        while at < end:
            self._count()
            key, at = self._varint(content, at)
            number, wire = key >> 3, key & 7
            kind = known.get(number)
            if kind is None:  # ONNX Runtime may know it, as it does a key of more than 32 bits, which it cuts
                raise self.foreign(f"a field of the number {number}")
            if wire not in kind.wires or number in once:
                raise unreadable(self.path)
            if not kind.several:
                once.add(number)
            if wire == _VARINT:
                value, at = self._varint(content, at)
                yield number, value
                continue
            length, at = self._varint(content, at) if wire == _BYTES else (_LENGTHS[wire], at)
            if at + length > end:
                raise unreadable(self.path)
            yield number, content[at : at + length]
            at += length

    def numbers(self, value: Value) -> list[int]:
        """Whole numbers of a field, which holds one or many."""
        if isinstance(value, int):
            return [value]
        found, at = [], 0
        while at < len(value):
            self._count()
            one, at = self._varint(value, at)
            found.append(one)
        return found

    def floats(self, value: Value) -> int:
        """How many numbers of 4 bytes a field holds."""
        count, rest = divmod(len(self.bytes(value)), 4)
        if rest:
            raise unreadable(self.path)
        return count

    def small(self, value: Value) -> int:
        """A number of 31 bits, as kinds and types are; readers cut those that have more."""
        if not isinstance(value, int) or value >= 1 << 31:
            raise unreadable(self.path)
        return value

    def text(self, value: Value) -> str:
        """A field's text."""
        try:
            return bytes(self.bytes(value)).decode("utf-8")
        except UnicodeDecodeError as error:  # two such names could be taken for one
            raise unreadable(self.path) from error

    def bytes(self, value: Value) -> memoryview:
        """A field's bytes, as they are."""
        if isinstance(value, int):
            raise unreadable(self.path)
        return value

    def _count(self) -> None:
        self.seen += 1
        if self.seen > MOST_FIELDS:
            raise self.foreign(f"more than {MOST_FIELDS} fields")

    def _varint(self, message: memoryview, at: int) -> tuple[int, int]:
        found = 0
        for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
            found |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if found > _LARGEST_NUMBER:  # ten bytes hold 70 bits
                    break
                return found, at + place + 1
        raise unreadable(self.path)
