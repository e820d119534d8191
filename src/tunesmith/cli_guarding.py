"""The verbs about guards: guard fit and guard check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import guarding_console
from tunesmith.arguments import AsJson
from tunesmith.guard_checking import check_guards
from tunesmith.guard_fitting import fit_guards

guard = typer.Typer(help="Fit guards for a model, and see what they cost and what they save.", no_args_is_help=True)

Guarded = Annotated[Path, typer.Argument(help="The artifact whose answers are guarded.")]
Outside = Annotated[str, typer.Option(help="Texts of another kind: a file, or a known data set's test split.")]


@guard.command()
def fit(
    artifact: Guarded,
    guards: Annotated[Path, typer.Option(help="The guards: a YAML file with a list under 'guards'.")],
    data: Annotated[str, typer.Option(help="Labelled file that sets the limits; validation if left out.")] = "",
    outside: Outside = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder for guards.json; 'guards' beside the artifact if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set the limits of guards by examples that the model has not learnt from."""
    guarding_console.show_fit(fit_guards(artifact, guards, data=data, outside=outside, out=out), as_json=as_json)


@guard.command()
def check(
    artifact: Guarded,
    guards: Annotated[Path, typer.Option(help="The guards: guards.json, or a YAML file if nothing must be fitted.")],
    data: Annotated[str, typer.Option(help="A labelled file or known data set; the test split if left out.")] = "",
    outside: Outside = "",
    as_json: AsJson = False,
) -> None:
    """Show what each guard would have done: what is refused, what is answered, and how often that is right."""
    guarding_console.show_check(check_guards(artifact, guards, data=data, outside=outside), as_json=as_json)
