"""What is sent when alerts change: a body as Alertmanager's webhook sends it, and an e-mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from tunesmith.watching.evaluator import Alert
from tunesmith.watching.rules import Language, RuleSet, texts_of

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {"firing": "FIRING", "resolved": "RESOLVED", "since": "since", "until": "until", "to_do": "What to do"},
    "zh": {"firing": "告警", "resolved": "已恢复", "since": "开始于", "until": "结束于", "to_do": "处理建议"},
}
NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of an alert that has none."""


def webhook_body(alerts: Sequence[Alert], rules: RuleSet, language: Language, source: str) -> dict[str, object]:
    """The body of Alertmanager's webhook, version 4; `source` is the address that was scraped."""
    rows = [_row(alert, rules, language, source) for alert in alerts]
    status = "firing" if any(alert.state == "firing" for alert in alerts) else "resolved"
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "tunesmith",
        "groupLabels": {},
        "commonLabels": _shared([row["labels"] for row in rows]),
        "commonAnnotations": _shared([row["annotations"] for row in rows]),
        "externalURL": source,
        "alerts": rows,
    }


def mail_of(
    alerts: Sequence[Alert], rules: RuleSet, language: Language, sender: str, receivers: Sequence[str]
) -> EmailMessage:
    """A plain e-mail: a subject that says it all for one alert, and a paragraph for each."""
    words = WORDS[language]
    first = alerts[0]
    more = f" (+{len(alerts) - 1})" if len(alerts) > 1 else ""
    message = EmailMessage()
    message["Subject"] = f"[Tunesmith {words[first.state]}] {first.rule}{more}"
    message["From"] = sender
    message["To"] = ", ".join(receivers)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="tunesmith.invalid")
    message["Auto-Submitted"] = "auto-generated"
    text = "\n\n".join(paragraph(alert, rules, language) for alert in alerts) + "\n"
    message.set_content(text, cte="quoted-printable")  # not every server takes 8 bits
    return message


def paragraph(alert: Alert, rules: RuleSet, language: Language) -> str:
    """An alert in words, for e-mails and the command line."""
    words, texts = WORDS[language], _texts(alert, rules, language)
    ended = f", {words['until']} {_time(alert.until)}" if alert.until is not None else ""
    head = f"{words[alert.state]} {alert.rule} ({alert.severity}) {words['since']} {_time(alert.since)}{ended}"
    return f"{head}\n  {texts['summary']}\n  {words['to_do']}: {texts['to_do']}"


def _row(alert: Alert, rules: RuleSet, language: Language, source: str) -> dict[str, object]:
    return {
        "status": alert.state,
        "labels": {"alertname": alert.rule, "severity": alert.severity, **dict(alert.labels)},
        "annotations": _texts(alert, rules, language),
        "startsAt": _time(alert.since),
        "endsAt": NEVER if alert.until is None else _time(alert.until),
        "generatorURL": source,
        "fingerprint": alert.fingerprint,
    }


def _texts(alert: Alert, rules: RuleSet, language: Language) -> dict[str, str]:
    rule = next(rule for rule in rules.rules if rule.name == alert.rule)
    return texts_of(rule, language, alert.labels, alert.value)


def _shared(rows: Sequence[object]) -> dict[str, str]:
    mappings = [row for row in rows if isinstance(row, dict)]
    first = mappings[0] if mappings else {}
    return {key: value for key, value in first.items() if all(row.get(key) == value for row in mappings)}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
