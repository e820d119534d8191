"""The verbs about a running service: what to give to Prometheus and Grafana, and alerts without them."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from tunesmith.console import say
from tunesmith.watching.exporting import export_watching
from tunesmith.watching.notices import paragraph
from tunesmith.watching.requesting import Address
from tunesmith.watching.rules import Language
from tunesmith.watching.watch import Round, Watch, channels_of, read_settings

_FIRES, _BLIND = 1, 2
"""Exit codes of one look: an alert fires; none does, but no metrics were read either."""

verbs = typer.Typer()
watch = typer.Typer(help="What Prometheus and Grafana need to watch a service.", no_args_is_help=True)
verbs.add_typer(watch, name="watch")


@watch.command()
def export(
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("watching"),
    rules: Annotated[Path | None, typer.Option(help="Alert rules of your own; those of Tunesmith if left out.")] = None,
    target: Annotated[str, typer.Option(help="Host and port of the service.")] = "127.0.0.1:8080",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files there that say something else.")
    ] = False,
) -> None:
    """Write alert rules for Prometheus, a dashboard for Grafana, and how to scrape with a key."""
    for path, what in export_watching(out, read_settings(rules).rules, target, overwrite=overwrite):
        say(f"{path}  {what}")


@verbs.command()
def alerts(
    url: Annotated[str, typer.Option(help="The service's /metrics.")] = "http://127.0.0.1:8080/metrics",
    rules: Annotated[
        Path | None, typer.Option(help="A file of rules and of where notices go; Tunesmith's own rules if left out.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="A file, yours alone, with a key that may read metrics.")
    ] = None,
    webhook: Annotated[str, typer.Option(help="An address that gets notices as Alertmanager sends them.")] = "",
    mail_to: Annotated[list[str] | None, typer.Option(help="An address of e-mail; give it again for more.")] = None,
    language: Annotated[Language, typer.Option(help="The language of notices.")] = "en",
    state: Annotated[Path | None, typer.Option(help="A file that keeps history and alerts over restarts.")] = None,
    once: Annotated[
        bool, typer.Option(help="Look once; exit code 1 when an alert fires, 2 when nothing could be read.")
    ] = False,
) -> None:
    """Watch a service without Prometheus: scrape it, evaluate the alert rules, tell by webhook and e-mail."""
    settings = read_settings(rules)
    deliver = settings.deliver
    deliver = replace(deliver, webhook=webhook or deliver.webhook, mail_to=tuple(mail_to or deliver.mail_to))
    settings = replace(settings, deliver=deliver)
    channels = channels_of(settings, language, url)
    target = Address(url, frozenset(deliver.allowed_hosts))
    watched = Watch(target, settings.rules, channels, key_file=key_file, state=state)
    if once:
        seen = watched.look(time.time())
        _show([seen.trouble] if seen.trouble else [], seen, watched, language)
        watched.keep(time.time())
        fires = any(alert.state == "firing" for alert in watched.evaluator.alerts)
        raise typer.Exit(_FIRES if fires else _BLIND if seen.is_blind else 0)
    names = " and ".join(channel.name for channel in channels) or "this terminal only"
    say(f"Watching {url} every {settings.every:g} s by {len(settings.rules.rules)} rules; notices go to {names}.")
    signal.signal(signal.SIGTERM, _stop)
    watched.keep(time.time())  # a file that cannot be written is said now
    trouble = ""
    try:
        for seen in watched.rounds(settings.every):
            _show([seen.trouble or f"{url} answers again."] if seen.trouble != trouble else [], seen, watched, language)
            trouble = seen.trouble
    except KeyboardInterrupt:
        say("Stopped watching.")
    finally:
        watched.keep(time.time())


def _show(lines: list[str], seen: Round, watched: Watch, language: Language) -> None:
    for line in (*lines, *seen.said):
        say(line)
    for alert in seen.changes:
        say(paragraph(alert, watched.evaluator.rules, language))


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
