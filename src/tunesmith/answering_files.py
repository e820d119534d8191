"""A file of texts answered with the memory of a few thousand, going on where a killed process was.

The texts are read twice. The first time they are counted and a digest is taken, so that a wrong row is found before
the first answer, the bar knows its end, and answers kept from before are known to be answers to these texts. The second
time, which must give the same digest, they are answered by windows of the file, within which texts of like length share
a batch. Where a window ends is decided by the texts alone, and the answers of a window are kept as a whole, so a
process that goes on makes the same batches, and the same answers to the bit, as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.data.source import Source
from tunesmith.data.sources import iterate
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError
from tunesmith.evaluation.results import DialogueForm, answered_row, dialogue_row
from tunesmith.experiment import reading
from tunesmith.inference.artifact import MANIFEST, file_hash
from tunesmith.inference.predictor import CHUNK, Predictor
from tunesmith.kept_answers import Kept, OtherTextsError, kept_answers, part_of
from tunesmith.training.tracking import announce
from tunesmith.versions import versions

WINDOW_CHARACTERS = 1 << 20
"""The characters after which a window ends: long texts take long, and what is lost with a process shall be little."""

WINDOW_WRITTEN = 64
"""Texts in a window where the model writes its answers token by token."""

SECONDS_BETWEEN_LINES = 30.0
"""How often a line says how far it is, where there is no terminal for a bar."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an artifact: the file, and how its answers are written.

    Attributes:
        artifact: the artifact's folder.
        source: the texts and how they are read.
        form: dialogues of this form are written in place of rows; None for rows.
        passes: passes with dropout; 0 for one without.
        backend: the form of the model that answers; its artifact's own if empty.
    """

    artifact: Path
    source: Source
    form: DialogueForm | None = None
    passes: int = 0
    backend: str = ""

    def row(self, example: Example, prediction: Prediction) -> Mapping[str, object]:
        """One line of the answers."""
        if self.form is not None:
            return dialogue_row(example, prediction, self.form)
        return answered_row(example, prediction)


def asked_source(file: Path, changes: Sequence[str], inputs: tuple[str, ...]) -> Source:
    """A file without labels that is read as the changes to the recipe's section `data` say."""
    data = reading(changes)
    return Source(
        str(file),
        data.format,
        data.text,
        id=data.id,
        header=data.header,
        separator=data.separator,
        quoted=data.quoted,
        label_separator=data.label_separator,
        encoding=data.encoding,
        second=data.second,
        image=data.image,
        audio=data.audio,
        inputs=inputs,
    )


def streamed_rows(predictor: Predictor, asked: Asked, tally: Tally) -> Iterator[Mapping[str, object]]:
    """The answers as they come, for output that cannot be gone on with: standard output, a pipe."""
    for window in windows(iterate(asked.source, tally), writes=predictor.task.label_kind == "text"):
        yield from rows_of(predictor, asked, window)


def answer_file(predictor: Predictor, asked: Asked, out: Path, *, quiet: bool = False) -> tuple[int, list[Finding]]:
    """Answer a file of texts into the file `out`, a JSON line each, in the file's order.

    Returns:
        The number of answers in the file, and what was odd about the texts.

    Raises:
        DataError: a row is wrong, or answers kept from before belong to other texts, settings or another artifact.
        OtherTextsError: the file was changed meanwhile; nothing is kept.
        ResourceError: the disk is full; what was answered is kept.
    """
    tally, digest = Tally(), hashlib.sha256()
    texts = sum(1 for _ in noted(iterate(asked.source, tally), digest.update))
    decided = decides(predictor, asked, digest.hexdigest(), texts)
    with kept_answers(out, decided) as kept:
        if kept.began and not quiet:
            announce([f"Going on after the {kept.began:,} answers that {part_of(out).name} holds."])
        with answers_bar(texts, kept.began, quiet=quiet) as bar, said_when_stopped(kept, out):
            rest = islice(read_again(asked.source, digest.digest(), texts), kept.began, None)
            for window in windows(rest, writes=predictor.task.label_kind == "text"):
                kept.add(list(rows_of(predictor, asked, window)))
                bar.advance(len(window))
        return kept.rows, tally.findings()


def read_again(source: Source, digest: bytes, texts: int) -> Iterator[Example]:
    """The examples of a file that was read before.

    Raises:
        OtherTextsError: they are not those of the first reading, in which no row was wrong.
    """
    again, count = hashlib.sha256(), 0
    to_do = "Leave the file as it is while it is answered, and give the command again."
    try:
        for example in noted(iterate(source, Tally()), again.update):
            count += 1
            yield example
    except DataError as error:
        raise OtherTextsError(
            f"The file was changed after its first reading: {error.what}", where=error.where, to_do=to_do
        ) from error
    if again.digest() != digest:
        raise OtherTextsError(
            f"The file was changed: it had {texts:,} texts at first, and then {count:,}, or others.",
            where=source.path,
            to_do=to_do,
        )


def noted(examples: Iterable[Example], take: Callable[[bytes], object]) -> Iterator[Example]:
    """The examples as they come, each of which a digest takes in."""
    for example in examples:
        take(repr(replace(example, origin="")).encode(errors="surrogatepass"))
        yield example


def decides(predictor: Predictor, asked: Asked, digest: str, texts: int) -> dict[str, object]:
    """All that an answer depends on, by the names that a refusal uses."""
    how = asdict(asked.source)
    del how["path"]
    return {
        "file of texts": f"{texts} texts, sha256 {digest}",
        "artifact": file_hash(asked.artifact / MANIFEST),
        "way of reading (--set)": hashlib.sha256(repr(how).encode()).hexdigest(),
        "form (--format)": asked.form,
        "number of passes": asked.passes,
        "form of the model (--backend)": asked.backend,
        "device": str(predictor.model.device),
        # Sums are cut among threads, so that the last bits of a number depend on how many there are.
        "number of threads (OMP_NUM_THREADS)": torch.get_num_threads(),
        "set of versions": versions(*predictor.runtimes),
    }


def windows(examples: Iterable[Example], *, writes: bool) -> Iterator[list[Example]]:
    """Cut a stream of examples where enough is held for batches of like length; the texts alone decide where."""
    most = WINDOW_WRITTEN if writes else CHUNK
    held: list[Example] = []
    characters = 0
    for example in examples:
        held.append(example)
        characters += len(example.text) + len(example.second) + sum(len(turn.text) for turn in example.turns)
        if len(held) == most or characters >= WINDOW_CHARACTERS:
            yield held
            held, characters = [], 0
    if held:
        yield held


def rows_of(predictor: Predictor, asked: Asked, window: Sequence[Example]) -> Iterator[Mapping[str, object]]:
    """The answers to a window, in its order."""
    for example, prediction in zip(window, predictor.predict(window), strict=True):
        yield asked.row(example, prediction)


@contextmanager
def said_when_stopped(kept: Kept, out: Path) -> Iterator[None]:
    """Say how to go on when Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        if kept.rows:
            announce([f"{kept.rows:,} answers are kept in {part_of(out).name}; the same command goes on after them."])
        else:
            announce(["Stopped before the first answers could be kept: nothing is left behind."])
        raise


class AnswersBar:
    """How many texts are answered, at what rate; without a terminal a line now and then."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("answering", total=total, completed=done, rate="")
        self._done = 0
        self._start = self._said = time.perf_counter()

    def advance(self, texts: int) -> None:
        """So many more."""
        now = time.perf_counter()
        self._done += texts
        rate = f"{self._done / max(now - self._start, 1e-9):.0f} texts/s"
        self._progress.update(self._task, advance=texts, rate=rate)
        console = self._progress.console
        if not console.is_terminal and not self._progress.disable and now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            (task,) = self._progress.tasks
            console.print(f"{task.completed:,.0f} of {task.total:,.0f} texts, {rate}", highlight=False)


@contextmanager
def answers_bar(total: int, done: int, *, quiet: bool) -> Iterator[AnswersBar]:
    """A live bar on standard error."""
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        yield AnswersBar(progress, total, done)
