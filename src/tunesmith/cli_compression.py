"""The verb that makes a trained model smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import compression_console
from tunesmith.arguments import AsJson
from tunesmith.compressing import compress as make_smaller
from tunesmith.compression import COMPRESSORS
from tunesmith.compression_plan import planned

verbs = typer.Typer()


@verbs.command()
def compress(
    artifact: Annotated[Path, typer.Argument(help="The artifact of a finished run.")],
    out: Annotated[Path, typer.Option(help="The artifact to write; nothing may be there.")],
    steps: Annotated[
        str,
        typer.Option(
            help="The steps in their order, parted by commas without blanks, such as layer_drop,int8; the recipe's if "
            f"left out. There are {', '.join(COMPRESSORS)}."
        ),
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="How a step works, such as head_prune.share=0.5; the largest loss with which it stands, "
            "compression.floor=0.02; how it trains, training.batch_size=16, ...",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a trained model smaller, and undo what costs too much; the same command goes on after an interruption."""
    names = [name.strip() for name in steps.split(",") if name.strip()]
    recipe = planned(artifact, names, changes or ())
    compression_console.show_chain(make_smaller(artifact, out, recipe, quiet=as_json), as_json=as_json)
