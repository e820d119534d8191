"""The verb about variants of a recipe: study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import study_console
from tunesmith.arguments import AsJson
from tunesmith.study.conduct import conduct, forecast
from tunesmith.study.plan import Study

verbs = typer.Typer()


@verbs.command()
def study(
    file: Annotated[Path, typer.Argument(help="The study, a YAML file: a recipe, what is varied, and seeds.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; runs/<name> if left out.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Runs at a time; 0 for as many as cores and memory allow.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every cell, list them and what they would take; train nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do runs again whose recipe was changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run variants of a recipe with several seeds and compare them; given again, it goes on."""
    planned = Study.from_yaml(file)
    if workers is not None:
        planned = replace(planned, workers=workers)
    if dry_run:
        study_console.show_forecast(forecast(planned, out), as_json=as_json)
        return
    findings = conduct(planned, out, overwrite=overwrite, quiet=as_json)
    study_console.show_study(findings, as_json=as_json)
    if findings.failures:
        raise typer.Exit(2)
