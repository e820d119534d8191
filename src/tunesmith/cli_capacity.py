"""The verb that says what a service can answer, and what a rate takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
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
from tunesmith.errors import DataError, TunesmithError
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
    with _service(what, key_file) as (address, key):
        found = asyncio.run(_measure(address, key, model, texts, seconds))
    made = plan(found, target) if target.rate else None
    show = capacity_console.show_json if as_json else capacity_console.show
    show(found, highest(found, target.wish), target, made)


async def _measure(address: str, key: str, model: str, texts: Path | None, seconds: float) -> Measured:
    connections = Connections(address, key)
    try:
        name, told = await first_model(connections, model)
        bodies = [{"inputs": [one]} for one in _questions(texts, told)]
        return await measured(connections, Wish(name, bodies, seconds), inspect_machine().cores)
    finally:
        connections.close()


def _questions(texts: Path | None, told: Mapping[str, object]) -> list[object]:
    if texts is None:
        if told["inputs"] != ["text"]:
            raise TunesmithError(
                f"The model asks for more than a text: {told['inputs']}.",
                to_do="Give --texts FILE with questions as JSON lines.",
            )
        return [_TEXT * count for count in (1, 2, 1, 3)]
    try:
        lines = [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [json.loads(line) if line.startswith("{") else line for line in lines]
    except (OSError, ValueError) as error:
        raise DataError("The texts cannot be read.", where=str(texts), to_do="Give UTF-8, a text per line.") from error
    if not found:
        raise DataError("The file holds no text.", where=str(texts), to_do="Give a text per line.")
    return found


def _service(what: str, key_file: Path | None) -> AbstractContextManager[tuple[str, str]]:
    """The address of a service and a key of it; of an artifact one is started."""
    if "://" in what:
        return nullcontext(running_service(what, key_file))
    return started_service(what, ("predict", "metrics"))
