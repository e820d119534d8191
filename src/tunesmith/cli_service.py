"""The verb that serves trained models."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith import service_console
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.logs import json_handler
from tunesmith.access.principal import Limits as KeyLimits
from tunesmith.arguments import Backend, spread
from tunesmith.errors import RecipeError, TunesmithError, nearest
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.saved import read_guards
from tunesmith.machine import inspect_machine
from tunesmith.privacy import ACTIONS, RECOGNISERS, RedactionKey, RedactionSettings, Redactor, read_redaction, standard
from tunesmith.remembered.labels import LabelSchema, label_check
from tunesmith.remembered.records import Policy
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.store import Store
from tunesmith.service.hushed import hushed
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Behind, Doors, Settings, assembled, listening, serve_app
from tunesmith.service.versions import Version, read_version

verbs = typer.Typer()

STATE = Path("~/.local/state/tunesmith")
FIRST_KEY = ("predict", "embed", "feedback")
"""What the first key is for; it changes nothing of the service."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens, and how it stops."""

    host: Annotated[str, typer.Option(help="The address to listen at. Others than this machine's own see no TLS.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65_535)] = 8080
    drain: Annotated[float, typer.Option(help="Seconds that requests have to end once it is told to stop.", min=0)] = (
        30.0
    )


@dataclass(frozen=True, slots=True)
class Strength:
    """How much of the machine the service takes."""

    profile: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="throughput: a worker of one thread per core; latency: one worker with all cores."),
    ] = "throughput"
    workers: Annotated[int, typer.Option(help="Model workers; 0 leaves it to the profile.", min=0)] = 0
    threads: Annotated[int, typer.Option(help="Threads of each; 0 leaves it to the profile.", min=0)] = 0
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch, padding counted.", min=1)] = 512
    waiting_tokens: Annotated[int, typer.Option(help="Tokens that may wait before requests are refused.", min=1)] = (
        65_536
    )


@dataclass(frozen=True, slots=True)
class Protections:
    """What stands before and behind the models."""

    guards: Annotated[
        list[str] | None,
        typer.Option(help="Guards of a model, NAME=FILE, or FILE for all; may be given several times."),
    ] = None
    redact: Annotated[
        Literal["off", "mask", "partial", "hash", "pseudonymise", "refuse"],
        typer.Option(help="What becomes of personal data before a model sees it."),
    ] = "off"
    recognisers: Annotated[
        Path | None, typer.Option(help="A YAML file of further recognisers, and of an action for each kind.")
    ] = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of answers, so that feedback can be given."""

    store: Annotated[
        str,
        typer.Option(
            envvar="TUNESMITH_STORE",
            help="Where answers and feedback are kept: a file (SQLite) or postgresql://...; nothing if left out.",
        ),
    ] = ""
    keep: Annotated[
        Literal["none", "masked", "raw"], typer.Option(help="What is kept of texts. masked takes personal data out.")
    ] = "masked"
    keep_days: Annotated[float, typer.Option(help="How long answers without feedback are kept.", min=0.01)] = 30.0


@verbs.command()
@spread
def serve(
    artifacts: Annotated[
        list[str], typer.Argument(help="Artifacts, each a folder or NAME=FOLDER; its recipe's name is taken else.")
    ],
    address: Address,
    strength: Strength,
    protections: Protections,
    memory: Memory,
    backend: Backend = "",
    root: Annotated[
        Path | None, typer.Option(help="A folder of further versions, ROOT/MODEL/VERSION, which admins may load.")
    ] = None,
    state: Annotated[Path, typer.Option(help="The folder with the service's keys and logs.")] = STATE,
) -> None:
    """Serve trained models over HTTP; Ctrl-C or SIGTERM end it once the last answer is out."""
    if root is not None and not root.is_dir():
        raise TunesmithError("There is no such folder.", where=f"--root {root}", to_do="Make it, or leave it out.")
    os.environ["HF_HUB_OFFLINE"] = "1"  # the model workers inherit it: nothing that is served is fetched
    versions = [_version(given, backend) for given in artifacts]
    folder = state.expanduser()
    store = KeyStore(folder)
    redactor = _redactor(protections, folder)
    guards = _guards(protections.guards or [], versions)
    opened = _store(memory, folder) if memory.store else None
    behind = Behind(redactor, guards, _further(guards), opened)
    settings = Settings(
        host=address.host,
        port=address.port,
        batch_tokens=strength.batch_tokens,
        waiting_tokens=strength.waiting_tokens,
        drain=address.drain,
        root=root,
    )
    channel = listening(settings.host, settings.port)
    secret = None
    if not store.keys():
        _, secret = store.create(FIRST_KEY, KeyLimits(), name="first key", by=f"uid {os.getuid()}", lifetime=None)
    app = assembled(versions, _engine(strength), Doors(Gate(store), store.audit), settings, behind)
    with hushed() as shown:
        logging.basicConfig(level=logging.INFO, handlers=[json_handler(shown)], force=True)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        serve_app(
            app,
            channel,
            settings,
            ready=lambda where: service_console.show_ready(where, secret, versions, settings.host),
        )


def _version(given: str, backend: str) -> Version:
    name, equals, folder = given.partition("=")
    if not equals or Path(given).is_dir():
        name, folder = "", given
    return read_version(Path(folder), name=name, backend=backend)


def _engine(strength: Strength) -> LocalEngine:
    cores = inspect_machine().cores
    is_quick = strength.profile == "latency"
    workers = strength.workers or (1 if is_quick else cores)
    return LocalEngine(workers, strength.threads or (max(1, cores // workers) if is_quick else 1))


def _redactor(given: Protections, state: Path) -> Redactor | None:
    """What takes personal data out; None where nothing asks for it."""
    if given.redact == "off":
        if given.recognisers is not None:
            raise RecipeError(
                "Recognisers alone do nothing.",
                where="--recognisers",
                to_do="Say what to do: --redact mask, for example.",
            )
        return None
    read = read_redaction(given.recognisers, RECOGNISERS) if given.recognisers else RedactionSettings()
    action = read.action or ACTIONS[given.redact]()
    needs_key = any(one.needs_key for one in (action, *read.actions.values()))
    key = RedactionKey.from_file(state / "redaction.key", make=True) if needs_key else None
    return Redactor((*read.recognisers, *standard()), action, read.actions, read.kinds, key)


def _guards(given: Sequence[str], versions: Sequence[Version]) -> dict[str, Guards]:
    """The guards of each model that has some."""
    found: dict[str, Guards] = {}
    for one in given:
        name, equals, file = one.partition("=")
        names = [name] if equals else [version.model for version in versions]
        read = read_guards(Path(file if equals else one))
        for model in names:
            version = next((version for version in versions if version.model == model), None)
            if version is None:
                known = [version.model for version in versions]
                raise RecipeError(
                    f"No model is served as '{model}'.{nearest(model, known)}",
                    where=f"--guards {one}",
                    to_do=f"Name one of {', '.join(known)}.",
                )
            read.check_fits(version.slot.folder)
            found[model] = Guards(read.members)
    return found


def _further(guards: Mapping[str, Guards]) -> dict[str, Version]:
    """The models that guards ask, by the folder that these know them by."""
    folders = {folder for one in guards.values() for folder in one.models}
    return {folder: read_version(Path(folder), name=f"guard-{place}") for place, folder in enumerate(sorted(folders))}


def _store(memory: Memory, state: Path) -> Callable[[Mapping[str, LabelSchema]], Store]:
    """What opens the store of answers."""
    masking = Redactor(standard())

    def mask(text: str) -> list[tuple[int, int, str]]:
        return [(found.start, found.end, f"<{found.kind}>") for found in masking.find(text)]

    policy = Policy(text=memory.keep, mask=mask, keep_days=memory.keep_days)
    secret = secret_of(state, make=True)
    return lambda schemas: Store.open(memory.store, policy, secret, label_check(schemas))
