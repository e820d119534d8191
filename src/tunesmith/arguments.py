"""Arguments that several verbs of the command line have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    str, typer.Option(help="The form that answers where the artifact holds several: torch, onnx, onnx-int8.")
]
