"""The verb that lists what runs: a bill of materials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import console
from tunesmith.errors import ResourceError
from tunesmith.sbom import as_json, bill_of_materials
from tunesmith.writing import written

verbs = typer.Typer()


@verbs.command()
def sbom(
    artifact: Annotated[Path | None, typer.Argument(help="An artifact, whose model and files are listed too.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output if left out.")] = None,
) -> None:
    """List the parts of this environment, and of a model, as CycloneDX 1.6 (SBOM)."""
    if out is not None and out.is_file():
        raise ResourceError("The file exists already.", where=str(out), to_do="Choose another --out.")
    bill = bill_of_materials(artifact)
    if out is None:
        console.say(as_json(bill).rstrip("\n"))
        return
    with written(out) as file:
        file.write(as_json(bill))
    console.say(f"Wrote {out}: {len(bill['components'])} components beside Tunesmith itself.")
