"""The verb that says what a service can answer, and what a rate takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import capacity_console
from tunesmith.arguments import AsJson, spread
from tunesmith.capacity.load import Connections
from tunesmith.capacity.measuring import Measured, Wish, first_model, measured
from tunesmith.capacity.planning import Target, highest, plan
from tunesmith.errors import DataError, TunesmithError, nearest_file
from tunesmith.machine import inspect_machine
from tunesmith.service_beside import running_service, started_service

verbs = typer.Typer()

_TEXT = "The second quarter was better than expected, said the bank on Monday, and it keeps its outlook for the year. "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be answered."""

    rate: Annotated[float, typer.Option(help="Texts per second at the peak; 0 for no plan.", min=0)] = 0.0
    p99: Annotated[float, typer.Option(help="Milliseconds within which 99 of 100 must be answered.", min=1)] = 100.0
    headroom: Annotated[float, typer.Option(help="What to plan for beyond the rate, as a share of it.", min=0)] = 0.3
    swing: Annotated[float, typer.Option(help="The peak's rate over the mean's.", min=1)] = 1.0
    cores: Annotated[int, typer.Option(help="Cores of one machine; 0 for as many as this one has.", min=0)] = 0


@verbs.command()
@spread
def capacity(
    what: Annotated[str, typer.Argument(help="The address of a running service, or an artifact to measure here.")],
    wanted: Wanted,
    model: Annotated[str, typer.Option(help="Which of its models; the first if left out.")] = "",
    texts: Annotated[
        Path | None, typer.Option(help="A file with a text per line, or JSON lines with questions; yours are best.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long the load test takes.", min=2)] = 20.0,
    key_file: Annotated[
        Path | None, typer.Option(help="A file, yours alone, with a key that may predict and read metrics.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a service can answer: the highest rate at a wished delay, and what a rate takes."""
    cores = wanted.cores or inspect_machine().cores
    target = Target(wanted.rate, wanted.p99 / 1000, wanted.headroom, wanted.swing, cores)
    given = [] if texts is None else _texts_of(texts)
    with _service(what, key_file) as (address, key):
        found = asyncio.run(_measure(address, key, model, given, seconds))
    made = plan(found, target) if target.rate else None
    show = capacity_console.show_json if as_json else capacity_console.show
    show(found, highest(found, target.wish), target, made)


async def _measure(address: str, key: str, model: str, given: Sequence[object], seconds: float) -> Measured:
    connections = Connections(address, key)
    try:
        name, told = await first_model(connections, model)
        bodies = [{"inputs": [one]} for one in given or _questions(told)]
        return await measured(connections, Wish(name, bodies, seconds), inspect_machine().cores)
    finally:
        connections.close()


def _questions(told: Mapping[str, object]) -> Sequence[object]:
    """Texts of our own, where a text is all that the model asks for."""
    if told["inputs"] != ["text"]:
        raise TunesmithError(
            f"The model asks for more than a text: {told['inputs']}.",
            to_do="Give --texts FILE with questions as JSON lines.",
        )
    return [_TEXT * count for count in (1, 2, 1, 3)]


def _texts_of(file: Path) -> Sequence[object]:
    """The texts or questions of a file.

    Raises:
        DataError: there is no such file, it cannot be read, or it holds none.
    """
    where = f"--texts {file}"
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(
            f"The file of texts does not exist.{nearest_file(file)}", where=where, to_do="Correct the path."
        ) from error
    except OSError as error:
        what = f"The file of texts cannot be read: {error.strerror or error}."
        raise DataError(what, where=where, to_do="Give a file of texts that you may read.") from error
    except ValueError as error:
        raise DataError("The texts are not in UTF-8.", where=where, to_do="Give UTF-8, a text per line.") from error
    if not lines:
        raise DataError("The file holds no text.", where=where, to_do="Give a text per line.")
    try:
        return [json.loads(line) if line.startswith("{") else line for line in lines]
    except ValueError as error:
        to_do = "Write each question as a JSON object in a line of its own."
        raise DataError("A line begins with { and is no JSON.", where=where, to_do=to_do) from error


def _service(what: str, key_file: Path | None) -> AbstractContextManager[tuple[str, str]]:
    """The address of a service and a key of it; of an artifact one is started."""
    if "://" in what:
        return nullcontext(running_service(what, key_file))
    return started_service(what, ("predict", "metrics"))
