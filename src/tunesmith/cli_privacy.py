"""The verb about personal data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import privacy_console
from tunesmith.arguments import AsJson, HowWritten, spread
from tunesmith.components import build, name_of
from tunesmith.experiment import reading
from tunesmith.inference.name_tagger import names_by
from tunesmith.privacy import (
    ACTIONS,
    RECOGNISERS,
    Action,
    Mask,
    Recogniser,
    RedactionKey,
    RedactionSettings,
    Redactor,
    read_redaction,
    see_kinds,
    standard,
)
from tunesmith.private_files import STATE
from tunesmith.redacting import redact_file, restore_file
from tunesmith.writing import see_new

verbs = typer.Typer()

KEY_FILE = "redaction.key"
_READ = ("format", "text", "label", "id", "header", "separator", "quoted", "encoding")
"""The settings of `data` that say how a file is written which is redacted in all its columns."""


@dataclass(frozen=True, slots=True)
class HowRedacted:
    """What is looked for, and what is done with it."""

    action: Annotated[
        str, typer.Option(help=f"What is done with a value: {', '.join(ACTIONS)}; mask if nothing is said.")
    ] = ""
    kinds: Annotated[str, typer.Option(help="Only these kinds, parted by commas, such as EMAIL,ID_CARD.")] = ""
    names: Annotated[
        list[Path] | None, typer.Option(help="An artifact that tags people and places. May be given several times.")
    ] = None
    recognisers: Annotated[
        Path | None, typer.Option(help="A YAML file with recognisers of your own, and an action for each kind.")
    ] = None


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key of hashes and pseudonyms is."""

    key: Annotated[Path | None, typer.Option(help="The key's file; made where there is none. Else in --state.")] = None
    state: Annotated[Path, typer.Option(help="The folder where Tunesmith keeps its secrets.")] = STATE

    @property
    def file(self) -> Path:
        """The key's file."""
        return self.key or self.state.expanduser() / KEY_FILE


@verbs.command()
@spread
def redact(
    file: Annotated[
        Path, typer.Argument(help="A table (CSV, JSON lines, Parquet), words with tags, or lines of text.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write: .csv, .tsv, or JSON lines; lines for a text.")],
    how: HowRedacted,
    place: KeyPlace,
    restore: Annotated[bool, typer.Option("--restore", help="Turn pseudonyms back into values, by the key.")] = False,
    changes: HowWritten = None,
    as_json: AsJson = False,
) -> None:
    """Take personal data out of a file, or put it back."""
    see_new(out)
    source = reading(changes or (), _READ).source(str(file), "")
    if restore:
        told = restore_file(source, out, RedactionKey.from_file(place.file))
        privacy_console.show_restored(told, out, as_json=as_json)
        return
    settings = read_redaction(how.recognisers, RECOGNISERS) if how.recognisers else RedactionSettings()
    redactor = redactor_of(settings, how, place.file)
    told = redact_file(source, out, redactor)
    actions = {kind: name_of(ACTIONS, action) for kind, action in redactor.actions.items()}
    privacy_console.show_redaction(told, out, {"": name_of(ACTIONS, redactor.action), **actions}, as_json=as_json)


def redactor_of(settings: RedactionSettings, how: HowRedacted, key: Path) -> Redactor:
    """The redactor that the options ask for; what stands on the command line comes before what the file says.

    Raises:
        RecipeError: an action or a kind is unknown.
        ResourceError: the key cannot be read or made.
    """
    chosen = build(ACTIONS, how.action, "--action") if how.action else settings.action or Mask()
    taggers: list[Recogniser] = [names_by(artifact) for artifact in how.names or ()]
    recognisers = (*settings.recognisers, *standard(), *taggers)
    kinds = tuple(kind.strip().upper() for kind in how.kinds.split(",") if kind.strip()) or settings.kinds
    see_kinds((*kinds, *settings.actions), recognisers, "--kinds" if how.kinds else str(how.recognisers))
    return Redactor(recognisers, chosen, settings.actions, kinds, key_for((chosen, *settings.actions.values()), key))


def key_for(actions: Iterable[Action], place: Path) -> RedactionKey | None:
    """The key, made where there is none; None where no action needs one."""
    return RedactionKey.from_file(place, make=True) if any(action.needs_key for action in actions) else None
