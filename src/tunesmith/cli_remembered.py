"""The verbs about feedback on answers: listed, judged, exported to learn from, deleted."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import console, remembered_console
from tunesmith.access.audit import AuditLog
from tunesmith.arguments import AsJson, spread
from tunesmith.doubted_feedback import Doubted, Trusted, sifted
from tunesmith.errors import RecipeError, ResourceError
from tunesmith.private_files import STATE, state_folder
from tunesmith.remembered import encrypting, erasing, reviewing
from tunesmith.remembered.database import OPENING_SECONDS, Database, open_database, revision
from tunesmith.remembered.reviewing import Which
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.text_keys import TextKeys, options
from tunesmith.remembered.training_rows import (
    Copies,
    Exported,
    Wanted,
    released,
    released_by_copies,
    training_rows,
    voices,
)
from tunesmith.writing import is_device, new_files

FILE = "answers.db"
_ASIDE = "quarantined"
"""The status of what is set aside."""

verbs = typer.Typer(help="What people said of answers: listed, judged, exported, deleted.", no_args_is_help=True)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        envvar="TUNESMITH_STORE",
        show_envvar=True,
        help="The database: a file, or postgresql://user@host/name; answers.db in the state folder if left out.",
    ),
]
State = Annotated[Path, typer.Option(help="The service's state folder, with its secrets.")]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="new, accepted, rejected or quarantined; may be given again.")
]
Key = Annotated[str, typer.Option("--key", help="Only feedback of this key id.")]
Model = Annotated[str, typer.Option("--model", help="Only feedback on answers of this model.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Do not write the database anew, which keeps the service from writing.")
]


def opened(store: str, state: Path, *, with_secret: bool = False, make: bool = False) -> Database:
    """The database of --store; with the secret of --state where pseudonyms are asked for."""
    folder = state.expanduser()
    secret = secret_of(folder, make=False) if with_secret else b""
    keys = TextKeys.of(folder, store)
    return open_database(store or str(folder / FILE), secret, keys, make=make, patience=OPENING_SECONDS)


@verbs.command("list")
def list_feedback(
    status: Statuses = None,
    key: Key = "",
    model: Model = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest; 0 for all.", min=0)] = 20,
    with_text: Annotated[bool, typer.Option("--text", help="Show texts and comments, too.")] = False,
    store: StoreOption = "",
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """List feedback, the newest first."""
    which = Which(tuple(status or ()), key, model, limit)
    database = opened(store, state)
    rows = list(reviewing.found(database, which, with_texts=with_text))
    counts = reviewing.by_status(database, which)
    remembered_console.show_feedback(rows, counts, with_text=with_text, as_json=as_json)
    database.close()


@verbs.command()
def review(
    to: Annotated[str, typer.Option("--to", help="accepted, rejected, quarantined or new.")],
    ids: Annotated[list[str] | None, typer.Argument(help="The ids of the feedback.")] = None,
    every: Annotated[str, typer.Option(help="Instead of ids: all of this status (with --key, --model).")] = "",
    key: Key = "",
    model: Model = "",
    by: Annotated[str, typer.Option(help="Who judges; kept with the feedback.")] = "",
    store: StoreOption = "",
    state: State = STATE,
) -> None:
    """Judge feedback: only what is accepted is exported. The audit log says who did."""
    if bool(ids) == bool(every):
        raise RecipeError(
            "Give either ids or --every.",
            where="feedback review",
            to_do=f"See: tunesmith feedback list{options(store, state)}",
        )
    Which((to,))
    database = opened(store, state)
    if every:
        reviewing.see_known(database, Which((every,), key, model))
    chosen = ids or [row.id for row in reviewing.found(database, Which((every,), key, model), with_texts=False)]
    if not chosen:
        of = (f" of key {key}" if key else "") + (f" on model {model}" if model else "")
        console.say(f"No feedback{of} has the status {every}; nothing was changed.")
        database.close()
        return
    before = reviewing.statuses_of(database, chosen)
    log, who = AuditLog(state_folder(state.expanduser())), by or f"uid {os.getuid()}"
    target = chosen[0] if len(chosen) == 1 else f"{len(chosen)} rows"
    with log.recorded(who, "feedback.review", target, before=before, after={to: sum(before.values())}):
        changed = reviewing.review(database, chosen, to, by)
    console.say(f"{changed} of {len(chosen)} are now {to}.")
    database.close()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which feedback is exported, and what it is held against."""

    status: Statuses = None
    key: Key = ""
    model: Model = ""
    against: Annotated[
        Path | None,
        typer.Option(
            help="An artifact in whose space labels are held against trusted examples; what is doubted is set "
            "aside and quarantined."
        ),
    ] = None
    trusted: Annotated[Path | None, typer.Option(help="The trusted examples, a labelled file.")] = None
    aside: Annotated[Path | None, typer.Option(help="Where to write what is set aside; beside --out if left out.")] = (
        None
    )


@verbs.command()
@spread
def export(
    out: Annotated[Path, typer.Option(help="The file to write, JSON lines; a recipe names it in data.train.")],
    chosen: Chosen,
    confirmed_weight: Annotated[
        float | None, typer.Option(help="Write weights: 1 for corrected answers, this for confirmed ones.")
    ] = None,
    store: StoreOption = "",
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Write accepted feedback as examples to learn from, and count what is left out and set aside."""
    aside = chosen.aside or out.parent / f"{out.name.removesuffix('.jsonl')}.aside.jsonl"
    _see_complete(chosen, out, aside)
    which = Which(tuple(chosen.status or ("accepted",)), chosen.key, chosen.model)
    wanted = Wanted(which, confirmed_weight)
    trusted = Trusted.load(chosen.against, chosen.trusted) if chosen.against and chosen.trusted else None
    database, exported = opened(store, state), Exported()
    doubted: Sequence[Doubted] = ()
    if trusted is None:
        rows = training_rows(database, wanted, exported)
    else:
        rows, doubted = _sifted(database, wanted, trusted, exported)
    texts = {out: _lines(rows)}
    if doubted:
        texts[aside] = _lines(
            {**one.row, "reason": one.reason, "copies": [copy.id for copy in one.copies]} for one in doubted
        )
    with new_files(texts):
        exported.changed_meanwhile = _quarantine(database, doubted, state)
    with redirect_stdout(sys.stderr) if is_device(out) else nullcontext():
        remembered_console.show_exported(exported, out, doubted, aside, named=options(store, state), as_json=as_json)
    database.close()


def _see_complete(chosen: Chosen, out: Path, aside: Path) -> None:
    if (chosen.against is None) != (chosen.trusted is None) or (chosen.aside and not chosen.against):
        raise RecipeError(
            "Labels are held against trusted examples in the space of an artifact.",
            where="--against and --trusted",
            to_do="Give both, or none.",
        )
    if chosen.against and not chosen.aside and is_device(out):
        raise RecipeError("Beside a device no file is written.", where="--out", to_do="Name --aside, too.")
    if aside.resolve() == out.resolve():
        raise RecipeError("What is set aside would be written over the rest.", where="--aside", to_do="Name two files.")
    # Seen again when they are written: loading a model and reading take minutes.
    for path, option in ((out, "--out"), (aside, "--aside")):
        if path.is_file() and not is_device(path) and (path is out or chosen.against is not None):
            raise ResourceError("The file exists already.", where=str(path), to_do=f"Choose another {option}.")


def _lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _sifted(
    database: Database, wanted: Wanted, trusted: Trusted, exported: Exported
) -> tuple[Iterator[dict[str, object]], Sequence[Doubted]]:
    """The rows that are kept, and those that are set aside, with their copies; `exported` counts both."""
    copies, which = Copies(list), wanted.which
    rows = list(training_rows(database, wanted, exported, copies))
    free = released_by_copies(released(database, which), rows, copies)
    result = sifted(rows, voices(database, Which(which.statuses, model=which.model)), trusted, free)
    aside = [replace(one, copies=copies[str(one.row["id"])]) for one in result.aside]
    exported.written -= len(aside)
    exported.corrected -= sum(one.row["verdict"] != "correct" for one in aside)
    exported.copies_aside = sum(len(one.copies) for one in aside)
    exported.agreeing -= exported.copies_aside
    exported.set_aside = dict(Counter(one.code for one in aside))
    exported.unjudged = result.unjudged
    return (dict(row) for row in result.kept), aside


def _quarantine(database: Database, doubted: Sequence[Doubted], state: Path) -> int:
    """Give what is set aside the status of it, with the reason, until a person judges; the audit log says so.

    Returns:
        How many rows were judged or deleted since they were read, and so are left as they are.
    """
    rows = [(str(one.row["id"]), str(one.row["status"]), one.reason) for one in doubted]
    rows += [(copy.id, copy.status, one.reason) for one in doubted for copy in one.copies]
    reasons = {one: reason for one, _, reason in rows}
    read = {one: status for one, status, _ in rows if status != _ASIDE}
    still = reviewing.unchanged(database, read)
    if not still:
        return len(read)
    log, before = AuditLog(state_folder(state.expanduser())), Counter(read[one] for one in still)
    after = {_ASIDE: len(still)}
    with log.recorded(f"uid {os.getuid()}", "feedback.set_aside", f"{len(still)} rows", before=before, after=after):
        done = reviewing.review(database, still, _ASIDE, "export --against", reasons, read=read)
    return len(read) - done


@verbs.command()
def forget(
    subject: Annotated[str, typer.Option(help="All answers about or from this person; - reads the name.")] = "",
    key: Annotated[str, typer.Option(help="All feedback that this key gave.")] = "",
    quick: Quick = False,
    store: StoreOption = "",
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Delete one person's data, or one key's feedback."""
    if bool(subject) == bool(key):
        raise RecipeError("Give either --subject or --key.", where="feedback forget", to_do="Name one of them.")
    database = opened(store, state, with_secret=bool(subject))
    if subject:
        name = sys.stdin.readline().strip() if subject in ("-",) else subject
        erased = erasing.forget_subject(database, name, thorough=not quick)
    else:
        erased = erasing.forget_key(database, key, thorough=not quick)
    what = "one person's data" if subject else f"the feedback of key {key}"
    nothing = "Nothing of this person is here." if subject else f"No feedback of key {key} is here."
    remembered_console.show_erased(erased, what, is_file=database.is_sqlite, as_json=as_json, nothing=nothing)
    database.close()


@verbs.command()
def purge(quick: Quick = False, store: StoreOption = "", state: State = STATE, as_json: AsJson = False) -> None:
    """Delete what is past its retention date."""
    database = opened(store, state)
    erased = erasing.purge(database, thorough=not quick)
    remembered_console.show_erased(erased, "what was past its date", is_file=database.is_sqlite, as_json=as_json)
    database.close()


@verbs.command()
def encrypt(
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new key first; earlier ones still read.")] = False,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Delete texts that no key opens; labels and times remain.")
    ] = False,
    quick: Quick = False,
    store: StoreOption = "",
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Encrypt raw texts that an earlier version kept in the clear, and those under an older key."""
    database, folder = opened(store, state), state_folder(state.expanduser())
    how = {"new_key": new_key, "drop_unreadable": drop_unreadable}
    with AuditLog(folder).recorded(f"uid {os.getuid()}", "feedback.encrypt", "raw texts", before={}, after=how):
        done = encrypting.encrypt(database, **how, thorough=not quick)
    remembered_console.show_encrypted(done, TextKeys.of(folder).place, is_file=database.is_sqlite, as_json=as_json)
    database.close()


@verbs.command()
def migrate(store: StoreOption = "", state: State = STATE) -> None:
    """Bring the database to the newest form, as opening it does; a new one is made."""
    file = Path(store.removeprefix("sqlite:///")) if store else state.expanduser() / FILE
    is_there = "://" in str(file) or file.exists()
    database = opened(store, state, make=True)
    made = "" if is_there or not database.is_sqlite else " was not there and was made; it"
    console.say(f"{database.place}{made} is at step {revision(database)}.")
    database.close()
