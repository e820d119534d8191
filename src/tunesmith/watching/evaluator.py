"""The built-in evaluator: which alerts wait, fire and are resolved, as Prometheus would say of the same samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunesmith.watching.history import History, Labels
from tunesmith.watching.rules import Rule, RuleSet

State = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True)
class Alert:
    """A rule that holds, or held, for a combination of labels; times are Unix seconds."""

    rule: str
    severity: str
    labels: Labels
    value: float
    state: State
    since: float
    until: float | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same rule and labels."""
        return hashlib.sha256(json.dumps([self.rule, self.labels]).encode()).hexdigest()[:16]


class Evaluator:
    """Looks at the history after each scrape and tells which alerts changed."""

    def __init__(self, rules: RuleSet, alerts: Sequence[Alert] = ()) -> None:
        self.rules = rules
        known = {rule.name for rule in rules.rules}
        self._alerts = {(alert.rule, alert.labels): alert for alert in alerts if alert.rule in known}

    @property
    def alerts(self) -> list[Alert]:
        """Those that wait or fire now."""
        return list(self._alerts.values())

    def step(self, history: History, now: float) -> list[Alert]:
        """Evaluate all rules; return the alerts that began to fire and those that were resolved."""
        return [change for rule in self.rules.rules for change in self._follow(rule, history, now)]

    def _follow(self, rule: Rule, history: History, now: float) -> list[Alert]:
        changes = []
        found = {
            tuple(sorted(zip(rule.by, key, strict=True))): value for key, value in rule.holds(history, now).items()
        }
        for labels, value in found.items():
            before = self._alerts.get((rule.name, labels))
            alert = before or Alert(rule.name, rule.severity, labels, value, "pending", now)
            alert = replace(alert, value=value)
            if alert.state == "pending" and now - alert.since >= rule.hold:
                alert = replace(alert, state="firing")
                changes.append(alert)
            self._alerts[rule.name, labels] = alert
        for name, labels in [key for key in self._alerts if key[0] == rule.name and key[1] not in found]:
            gone = self._alerts.pop((name, labels))
            if gone.state == "firing":
                changes.append(replace(gone, state="resolved", until=now))
        return changes
