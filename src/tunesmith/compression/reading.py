"""Which pieces of its tokenizer a trained model reads: of examples, around them, and beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tunesmith.compression.pieces import read_by
from tunesmith.compression.trained import Trained
from tunesmith.data.records import Example
from tunesmith.tasks import Describing, Task
from tunesmith.tasks.encoding import Encoded, TextEncoder

_AT_ONCE = 256


def pieces_in(encoder: TextEncoder, texts: Iterable[str]) -> frozenset[int]:
    """The numbers of the pieces that texts are cut into."""
    return frozenset(number for ids in read_by(encoder.tokenizer, texts) for number in ids)


def always_read(trained: Trained) -> frozenset[int]:
    """The pieces that every answer depends on: those around texts, such as a prefix, and the task's own texts."""
    encoder, task = trained.encoder, trained.task
    own = pieces_in(encoder, task.own_texts) if isinstance(task, Describing) else frozenset()
    return own.union(encoder.before, encoder.between, encoder.after)


def encoded_by(task: Task, encoder: TextEncoder, examples: Sequence[Example]) -> Iterator[Encoded]:
    """Examples as the model is asked them, without their labels."""
    for start in range(0, len(examples), _AT_ONCE):
        part = examples[start : start + _AT_ONCE]
        reader = encoder.having_read(text for one in part for text in (one.text, one.second) if text)
        yield from (task.encode(replace(one, label=None), reader) for one in part)


def numbers_of(example: Example, encoded: Encoded) -> list[int]:
    """The pieces that an example is read by, and those that are read beside it, one after another.

    A history is read by the numbers of its items, which are none of pieces: what these say are the task's own texts.
    """
    read = () if example.history else (encoded, *encoded.beside)
    return [number for one in read for piece in one.pieces for number in piece.input_ids.tolist()]
