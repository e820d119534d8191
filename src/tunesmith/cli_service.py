"""The verb that serves trained models."""

from __future__ import annotations

import logging
import os
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
from tunesmith.errors import TunesmithError
from tunesmith.machine import inspect_machine
from tunesmith.service.hushed import hushed
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Doors, Settings, assembled, listening, serve_app
from tunesmith.service.versions import Version, read_version

verbs = typer.Typer()

STATE = Path("~/.local/state/tunesmith")
FIRST_KEY = ("predict", "embed", "feedback")
"""What the first key is for; it changes nothing of the service."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens."""

    host: Annotated[str, typer.Option(help="The address to listen at. Others than this machine's own see no TLS.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65_535)] = 8080


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


@verbs.command()
@spread
def serve(
    artifacts: Annotated[
        list[str], typer.Argument(help="Artifacts, each a folder or NAME=FOLDER; its recipe's name is taken else.")
    ],
    address: Address,
    strength: Strength,
    backend: Backend = "",
    root: Annotated[
        Path | None, typer.Option(help="A folder of further versions, ROOT/MODEL/VERSION, which admins may load.")
    ] = None,
    state: Annotated[Path, typer.Option(help="The folder with the service's keys and logs.")] = STATE,
    drain: Annotated[float, typer.Option(help="Seconds that requests have to end once it is told to stop.")] = 30.0,
) -> None:
    """Serve trained models over HTTP; Ctrl-C or SIGTERM end it once the last answer is out."""
    if root is not None and not root.is_dir():
        raise TunesmithError("There is no such folder.", where=f"--root {root}", to_do="Make it, or leave it out.")
    os.environ["HF_HUB_OFFLINE"] = "1"  # the model workers inherit it: nothing that is served is fetched
    versions = [_version(given, backend) for given in artifacts]
    store = KeyStore(state.expanduser())
    settings = Settings(
        host=address.host,
        port=address.port,
        batch_tokens=strength.batch_tokens,
        waiting_tokens=strength.waiting_tokens,
        drain=drain,
        root=root,
    )
    channel = listening(settings.host, settings.port)
    secret = None
    if not store.keys():
        _, secret = store.create(FIRST_KEY, KeyLimits(), name="first key", by=f"uid {os.getuid()}", lifetime=None)
    app = assembled(versions, _engine(strength), Doors(Gate(store), store.audit), settings)
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
