"""The verb about golden examples: golden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.arguments import AsJson
from tunesmith.console import say, say_json
from tunesmith.noting_golden import Noted, note_golden

verbs = typer.Typer()


@verbs.command()
def golden(
    artifacts: Annotated[list[Path], typer.Argument(help="The artifacts that shall be served.")],
    data: Annotated[Path, typer.Option(help="The golden examples, the file that 'serve --golden' is given.")],
    as_json: AsJson = False,
) -> None:
    """Note in artifacts which golden examples they learnt from, so that 'serve --golden' leaves these out.

    Run it where the training data are, after an export and before 'sign': the artifact's sum is another one then.
    """
    noted = [note_golden(one, data) for one in artifacts]
    if as_json:
        say_json([_plain(one) for one in noted])
        return
    for one in noted:
        say(
            f"{one.folder}: was trained on or chosen by {len(one.receipt.places)} of the {one.receipt.examples} golden "
            f"examples, which is noted in it."
            + (" Its signature does not hold any more: sign it anew." if one.was_signed else "")
        )


def _plain(noted: Noted) -> dict[str, object]:
    return {
        "artifact": str(noted.folder),
        "golden": noted.receipt.sha256,
        "examples": noted.receipt.examples,
        "learnt": len(noted.receipt.places),
        "was_signed": noted.was_signed,
    }
