"""Arguments that several verbs of the command line have, and options of one verb that belong together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from tunesmith.evaluation.results import DialogueForm

Recipe = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as training.epochs=1.")
]
HowWritten = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="How the file is written, such as data.encoding=gb18030."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Passes = Annotated[
    int, typer.Option(help="Answer by the mean of so many passes with dropout; 0 for one pass without.", min=0)
]
Backend = Annotated[
    str,
    typer.Option(
        help="The form that answers where the artifact holds several: torch, onnx, onnx-int8, litert, gguf, gguf-q8_0."
    ),
]


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """Texts on the command line."""

    text: Annotated[
        list[str] | None,
        typer.Option(
            help="A text to answer, or for recommendation a history: ids of items such as 50,181, the oldest first. "
            "May be given several times."
        ),
    ] = None
    second: Annotated[
        list[str] | None, typer.Option(help="The other text of each --text: the question about it, or a pair's second.")
    ] = None


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file of texts, and where and how its answers are written."""

    file: Annotated[
        Path | None,
        typer.Option(help="A file of texts (CSV, JSONL, ...); texts and answers are written as JSON lines."),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the answers; standard output if left out. Stopped, the same command goes on."
        ),
    ] = None
    changes: HowWritten = None
    form: Annotated[
        DialogueForm | None, typer.Option("--format", help="Write a file's answers as dialogues of this form.")
    ] = None


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose parameters that are dataclasses are given as their fields, each an option of its own.

    Typer reads a verb's options from its signature; this one has the fields in the place of each such parameter.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if name not in groups:
            flat.append(parameter.replace(annotation=hints[name]))
            continue
        kinds = get_type_hints(groups[name], include_extras=True)
        flat += [
            inspect.Parameter(one.name, parameter.kind, default=one.default, annotation=kinds[one.name])
            for one in fields(groups[name])
        ]

    def _together(**given: Any) -> None:
        put = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group)}) for name, group in groups.items()
        }
        verb(**given, **put)

    _together.__name__, _together.__doc__ = verb.__name__, verb.__doc__
    _together.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    _together.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return _together
