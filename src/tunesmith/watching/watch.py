"""Watching a service without Prometheus: scrape, evaluate, tell, and the same again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.components import from_settings
from tunesmith.errors import DataError, RecipeError, ResourceError, nearest
from tunesmith.recipes import read_recipe
from tunesmith.watching.delivering import Channel, Mail, MailServer, Outbox, Webhook, read_secret
from tunesmith.watching.durations import seconds_of
from tunesmith.watching.evaluator import Alert, Evaluator
from tunesmith.watching.history import History, Sample
from tunesmith.watching.requesting import Address, RequestFailedError
from tunesmith.watching.rules import Language, RuleSet, read_rules, shipped
from tunesmith.watching.scraping import down, scraped
from tunesmith.watching.watch_state import keep_state, read_state

KEPT_EVERY = 60.0
SHORTEST = 1.0


@dataclass(frozen=True)
class Deliver:
    """How notices go out: hosts of private networks that may be asked, and the server for e-mail."""

    allowed_hosts: tuple[str, ...] = ()
    webhook: str = ""
    mail_to: tuple[str, ...] = ()
    mail: MailServer = field(default_factory=MailServer)


@dataclass(frozen=True)
class WatchSettings:
    """The file of `tunesmith alerts`: rules, or those of the package; how often to look; where notices go."""

    rules: RuleSet
    every: float
    deliver: Deliver


@dataclass(frozen=True)
class Round:
    """One look: what was wrong with the scrape, the alerts that changed, what is to be said of notices.

    `is_blind` says that no metrics were read, so that the look says nothing of the service but that.
    """

    trouble: str
    changes: list[Alert]
    said: list[str]
    is_blind: bool = False


def read_settings(path: Path | None) -> WatchSettings:
    """The settings of a file, or those of the package.

    Raises:
        RecipeError: a key or a value is wrong.
    """
    if path is None:
        return WatchSettings(shipped(), 15.0, Deliver())
    given, where = read_recipe(path, "file of rules"), str(path)
    form = from_settings(_SettingsForm, given, where)
    every = seconds_of(form.every, where)
    if not SHORTEST <= every <= 300:  # a scrape each five minutes is the least that keeps series alive
        raise RecipeError(f"every is {form.every}.", where=where, to_do="Look every 1s to 5m.")
    return WatchSettings(_rules(form, given, where), every, from_settings(Deliver, form.deliver, f"{where}, deliver"))


def channels_of(settings: WatchSettings, language: Language, source: str) -> list[Channel]:
    """The ways to people that the settings name."""
    found: list[Channel] = []
    deliver = settings.deliver
    if deliver.webhook:
        address = Address(deliver.webhook, frozenset(deliver.allowed_hosts))
        found.append(Webhook(address, settings.rules, language, source))
    if deliver.mail_to:
        if deliver.mail.password_file:
            read_secret(Path(deliver.mail.password_file))  # a wrong file is said now, not when something burns
        if deliver.mail.ca_file and not Path(deliver.mail.ca_file).is_file():
            raise RecipeError(
                "There is no such file of certificates.",
                where=f"deliver.mail.ca_file {deliver.mail.ca_file}",
                to_do="Correct the path; it is relative to the folder you are in.",
            )
        found.append(Mail(deliver.mail, deliver.mail_to, settings.rules, language))
    return found


def _rules(form: _SettingsForm, given: Mapping[str, object], where: str) -> RuleSet:
    """The shipped rules, if wanted, and those of the file, which take the place of shipped ones of their name."""
    ours = shipped().rules if form.shipped else ()
    names = [rule.name for rule in ours]
    for name in form.without:
        if name not in names:
            raise RecipeError(
                f"No shipped rule is called '{name}'.{nearest(name, names)}",
                where=where,
                to_do=f"Known: {', '.join(names) or 'none, since shipped is false'}.",
            )
    own = read_rules(given, where).rules if form.rules is not None or not ours else ()
    replaced = {*form.without, *(rule.name for rule in own)}
    return RuleSet((*(rule for rule in ours if rule.name not in replaced), *own))


class Watch:
    """A service that is watched: its history, its alerts, and the notices on their way."""

    def __init__(
        self,
        target: Address,
        rules: RuleSet,
        channels: list[Channel],
        *,
        key_file: Path | None = None,
        state: Path | None = None,
    ) -> None:
        self._target, self._key_file, self._state = target, key_file, state
        if key_file:
            read_secret(key_file)  # a wrong file is said at once
        self.history = History(rules.series(), keep=rules.longest() + 300)
        before = read_state(state, target.url) if state else None
        if before is not None:
            before.restore(self.history)
        self.evaluator = Evaluator(rules, before.alerts if before else ())
        self.outbox = Outbox(channels, before.waiting if before else ())
        self._kept_at = 0.0

    def look(self, now: float) -> Round:
        """Scrape once, evaluate, and try to send what is due."""
        trouble, samples = self._scrape()
        is_blind = bool(trouble)
        self.history.add(now, samples)
        if self.history.left_out:
            trouble = f"{self.history.left_out} series were left out: too many."
        changes = self.evaluator.step(self.history, now)
        self.outbox.put(changes, now)
        said = self._kept(now) if changes else []  # before sending: a notice is rather sent twice than lost
        said += self.outbox.flush(now)
        if changes or now - self._kept_at >= KEPT_EVERY:
            said += self._kept(now)
        return Round(trouble, changes, said, is_blind)

    def rounds(self, every: float) -> Iterator[Round]:
        """Look again and again, `every` so many seconds; whoever stops calls `keep`."""
        due = time.monotonic()
        while True:
            yield self.look(time.time())
            due = max(due + every, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def keep(self, now: float) -> None:
        """Write the state, if there is a file for it."""
        self._kept_at = now
        if self._state:
            source = self._target.url
            keep_state(self._state, source, self.history, self.evaluator.alerts, self.outbox.waiting)

    def _kept(self, now: float) -> list[str]:
        try:
            self.keep(now)
        except ResourceError as error:
            return [f"{error.what} {error.where}"]
        return []

    def _scrape(self) -> tuple[str, list[Sample]]:
        headers = {"Accept": "text/plain;version=0.0.4"}
        try:
            if self._key_file:  # read anew, since keys are changed
                headers["Authorization"] = f"Bearer {read_secret(self._key_file)}"
            answer = self._target.ask("GET", headers=headers)
            samples = scraped(answer, self._target.url)
        except RequestFailedError as error:
            return f"No answer from {self._target.url}: {error}.", down()
        except (DataError, RecipeError, ResourceError) as error:  # what watches does not end where it is needed
            return f"{error.what} {error.where}", down()
        if answer.status == 200:
            has_ours = any(name.startswith("tunesmith_") for name, _, _ in samples)
            return "" if has_ours else f"{self._target.url} shows no metrics of Tunesmith.", samples
        hint = " Give a key that may read metrics by --key-file." if answer.status in (401, 403) else ""
        return f"Status {answer.status} from {self._target.url}.{hint}", samples


@dataclass(frozen=True)
class _SettingsForm:
    every: str = "15s"
    shipped: bool = True
    without: tuple[str, ...] = ()
    rules: list[object] | None = None
    deliver: dict[str, object] = field(default_factory=dict)
