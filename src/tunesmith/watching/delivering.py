"""Notices on their way: to a webhook and by e-mail, tried again with growing waits, and never silently lost."""

from __future__ import annotations

import json
import shlex
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from tunesmith.errors import RecipeError, ResourceError, nearest_file
from tunesmith.watching.evaluator import Alert
from tunesmith.watching.notices import mail_of, webhook_body
from tunesmith.watching.requesting import TIMEOUT, Address, RequestFailedError
from tunesmith.watching.rules import Language, RuleSet

FIRST_WAIT = 5.0
LONGEST_WAIT = 600.0
TRIES = 12
MOST_WAITING = 200


@dataclass(frozen=True)
class Delivered:
    """What came of a try: `retry_after` is in seconds; a failure that would repeat is final."""

    result: Literal["sent", "failed", "refused"]
    why: str = ""
    retry_after: float = 0.0


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def send(self, alerts: Sequence[Alert]) -> Delivered:
        """Try once."""
        ...


@dataclass(frozen=True)
class Webhook:
    """A POST of Alertmanager's body."""

    address: Address
    rules: RuleSet
    language: Language
    source: str
    name: str = "webhook"

    def send(self, alerts: Sequence[Alert]) -> Delivered:
        """Try once; statuses 408, 429 and 5xx may be tried again, others below 200 or above 299 are final."""
        body = json.dumps(webhook_body(alerts, self.rules, self.language, self.source), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "tunesmith-alerts"}
        try:
            answer = self.address.ask("POST", body, headers)
        except RequestFailedError as error:
            return Delivered("failed", str(error))
        except RecipeError as error:
            return Delivered("refused", error.what)
        if 200 <= answer.status < 300:
            return Delivered("sent")
        is_passing = answer.status in (408, 429) or answer.status >= 500
        return Delivered("failed" if is_passing else "refused", f"status {answer.status}", answer.retry_after)


@dataclass(frozen=True)
class MailServer:
    """Where e-mails are handed in. Off this machine TLS is required, by STARTTLS, or from the start on port 465."""

    host: str = "127.0.0.1"
    port: int = 25
    sender: str = "tunesmith@localhost"
    user: str = ""
    password_file: str = ""
    starttls: bool | None = None
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError("port must be from 1 to 65535")
        if any(character in self.sender + self.user for character in "\r\n"):
            raise ValueError("sender and user are one line each")
        if self.starttls is False and not self.is_here:
            raise ValueError("e-mail to another machine needs TLS; leave out starttls")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file go together")

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def needs_starttls(self) -> bool:
        """Whether the connection must be made secret before anything is said."""
        return self.starttls if self.starttls is not None else not self.is_here and self.port != 465


@dataclass(frozen=True)
class Mail:
    """An e-mail to one or several people."""

    server: MailServer
    receivers: tuple[str, ...]
    rules: RuleSet
    language: Language
    name: str = "e-mail"

    def __post_init__(self) -> None:
        for receiver in self.receivers:
            if receiver.count("@") != 1 or any(character in receiver for character in " \r\n,;<>"):
                raise RecipeError(
                    "A receiver is no address of e-mail.",
                    where=repr(receiver[:80]),
                    to_do="Write one such as ops@example.org; give --mail-to again for more.",
                )

    def send(self, alerts: Sequence[Alert]) -> Delivered:
        """Try once; refusals with a code of 500 and above are final."""
        message = mail_of(alerts, self.rules, self.language, self.server.sender, self.receivers)
        server = self.server
        try:
            context = ssl.create_default_context(cafile=server.ca_file or None)
            with self._connected(context) as connection:
                if server.needs_starttls:
                    connection.starttls(context=context)
                if server.user:
                    connection.login(server.user, read_secret(Path(server.password_file)))
                connection.send_message(message)
        except smtplib.SMTPResponseException as error:
            return Delivered("refused" if error.smtp_code >= 500 else "failed", f"code {error.smtp_code}")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return Delivered("refused" if min(codes) >= 500 else "failed", f"code {min(codes)}")
        except ResourceError as error:
            return Delivered("failed", error.what.rstrip("."))
        except (smtplib.SMTPException, OSError, ValueError) as error:  # a server that speaks no SMTP
            return Delivered("failed", type(error).__name__)
        return Delivered("sent")

    def _connected(self, context: ssl.SSLContext) -> smtplib.SMTP:
        if self.server.port == 465:
            return smtplib.SMTP_SSL(self.server.host, self.server.port, timeout=TIMEOUT, context=context)
        return smtplib.SMTP(self.server.host, self.server.port, timeout=TIMEOUT)


@dataclass(frozen=True)
class Waiting:
    """A notice that is to be sent to one channel, not before `due` (Unix seconds)."""

    channel: str
    alerts: tuple[Alert, ...]
    due: float
    tries: int = 0


class Outbox:
    """Notices that wait for their channel. Of more than 200 the oldest are given up, and said to be."""

    def __init__(self, channels: Sequence[Channel], waiting: Sequence[Waiting] = ()) -> None:
        self._channels = {channel.name: channel for channel in channels}
        self.waiting = [notice for notice in waiting if notice.channel in self._channels]

    def put(self, alerts: Sequence[Alert], now: float) -> None:
        """Take in one notice for each channel."""
        self.waiting += [Waiting(name, tuple(alerts), now) for name in self._channels if alerts]

    def flush(self, now: float) -> list[str]:
        """Try what is due; return a line on each try that failed, and on each notice that is given up.

        While a channel fails, its later notices wait with the first, so that they arrive in order.
        """
        said, kept = [], []
        blocked: dict[str, float] = {}
        given_up, tried = self.waiting[:-MOST_WAITING], self.waiting[-MOST_WAITING:]
        said += [f"{notice.channel}: gave up a notice of {_names(notice)}: too many wait." for notice in given_up]
        for notice in tried:
            if (until := blocked.get(notice.channel, notice.due)) > now:
                blocked[notice.channel] = until
                kept.append(notice)
                continue
            outcome = self._channels[notice.channel].send(notice.alerts)
            if outcome.result == "sent":
                continue
            tries = notice.tries + 1
            if outcome.result == "refused" or tries >= TRIES:
                said.append(f"{notice.channel}: gave up a notice of {_names(notice)}: {outcome.why}.")
                continue
            wait = max(min(FIRST_WAIT * 2**notice.tries, LONGEST_WAIT), min(outcome.retry_after, LONGEST_WAIT))
            kept.append(replace(notice, due=now + wait, tries=tries))
            blocked[notice.channel] = now + wait
            said.append(f"{notice.channel}: {outcome.why}; next try in {wait:.0f} s.")
        self.waiting = kept
        return said


def read_secret(path: Path) -> str:
    """The one line of a file that holds a key or a password.

    Raises:
        ResourceError: it cannot be read, or others may read it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise ResourceError(
            f"The file with the key cannot be read: {why}.{'' if path.exists() else nearest_file(path)}",
            where=str(path),
            to_do=f"Write the key into it, a line, and run: chmod 600 {shlex.quote(str(path))}",
        ) from error
    if mode & 0o077:
        raise ResourceError(
            "Others may read the file with the key.",
            where=str(path),
            to_do=f"Run: chmod 600 {shlex.quote(str(path))}",
        )
    if not text or any(character.isspace() for character in text):
        raise ResourceError(
            "The file must hold one key and nothing else.",
            where=str(path),
            to_do="Write the key into it as it was printed, in a line of its own.",
        )
    return text


def _names(notice: Waiting) -> str:
    return ", ".join(sorted({alert.rule for alert in notice.alerts}))
