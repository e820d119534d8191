"""The verbs that make one model of several finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import combining_console
from tunesmith.arguments import AsJson
from tunesmith.ensembles import make_ensemble
from tunesmith.inference.ensemble import Combination
from tunesmith.soups import make_soup

verbs = typer.Typer()

Runs = Annotated[list[Path], typer.Argument(help="The folders of finished runs, two or more.")]
Out = Annotated[Path, typer.Option(help="The artifact to write; nothing may be there.")]


@verbs.command()
def soup(runs: Runs, out: Out, as_json: AsJson = False) -> None:
    """Average the weights of runs that began at one model, keeping those with which validation does not fall."""
    combining_console.show_soup(make_soup(runs, out), as_json=as_json)


@verbs.command()
def ensemble(
    runs: Runs,
    out: Out,
    by: Annotated[Combination, typer.Option(help="How the members' answers become one.")] = "probabilities",
    as_json: AsJson = False,
) -> None:
    """Let several runs answer together, and say what that costs and gains."""
    combining_console.show_ensemble(make_ensemble(runs, out, by), as_json=as_json)
