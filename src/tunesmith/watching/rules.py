"""Rules: when to alert whom. One YAML file is the source of Prometheus's rules and of the built-in evaluator."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal

from tunesmith.components import build, from_settings
from tunesmith.errors import RecipeError, nearest
from tunesmith.recipes import read_recipe
from tunesmith.watching.durations import duration_of, seconds_of
from tunesmith.watching.history import History
from tunesmith.watching.measures import MEASURES, By, Measure, Share, Values, projected, quotient
from tunesmith.watching.metric_table import METRIC_ROWS, PREFIX, PROCESS_ROWS, known_series

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Condition:
    """A measure over a window, maybe compared with the same over a longer one, above or below a number."""

    measure: Measure
    by: By
    window: float
    above: float | None
    below: float | None
    against: float
    compare: Literal["difference", "distance", "times"]

    def promql(self) -> str:
        """The expression, which is empty where the condition does not hold."""
        value = self.measure.promql(self.by, self.window)
        if self.against:
            long = self.measure.promql(self.by, self.against)
            value = {
                "difference": f"({value}) - ({long})",
                "distance": f"abs(({value}) - ({long}))",
                "times": f"({value}) / ({long})",
            }[self.compare]
        sign, limit = ("<", self.below) if self.above is None else (">", self.above)
        return f"({value}) {sign} {limit:.12g}"

    def holds(self, history: History, now: float) -> Values:
        """The values for which the condition holds."""
        values = self.measure.values(history, now, self.by, self.window)
        if self.against:
            long = self.measure.values(history, now, self.by, self.against)
            values = {key: self._compared(value, long[key]) for key, value in values.items() if key in long}
        return {key: value for key, value in values.items() if self._is_met(value)}

    def longest(self) -> float:
        """The longest window that it looks back over, in seconds."""
        return max(self.window, self.against)

    def shortened(self, factor: float) -> Condition:
        """The same with windows divided by `factor`."""
        return replace(self, window=self.window / factor, against=self.against / factor)

    def _compared(self, value: float, long: float) -> float:
        if self.compare == "times":
            return quotient(value, long)
        return value - long if self.compare == "difference" else abs(value - long)

    def _is_met(self, value: float) -> bool:
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


@dataclass(frozen=True)
class Rule:
    """An alert: it fires once all its conditions have held for so many seconds, per combination of labels."""

    name: str
    severity: Literal["page", "ticket"]
    by: By
    hold: float
    conditions: tuple[Condition, ...]
    summary: Mapping[Language, str]
    to_do: Mapping[Language, str]

    def promql(self) -> str:
        """The expression for Prometheus."""
        first, *more = self.conditions
        text = f"({first.promql()})"
        for condition in more:
            on = "" if condition.by == self.by else f" on ({', '.join(condition.by)})"
            text += f"\nand{on} ({condition.promql()})"
        return text

    def holds(self, history: History, now: float) -> Values:
        """The values of the first condition, where all hold."""
        first, *more = self.conditions
        values = first.holds(history, now)
        for condition in more:
            found = condition.holds(history, now)
            values = {key: v for key, v in values.items() if projected(key, self.by, condition.by) in found}
        return values

    def text(self, which: Mapping[Language, str], language: Language, labels: Mapping[str, str], value: str) -> str:
        """A summary, or what to do, with labels and value put in."""
        return _PLACEHOLDER.sub(lambda found: {**labels, "value": value}.get(found[1], ""), which[language])


@dataclass(frozen=True)
class RuleSet:
    """All rules of a file."""

    rules: tuple[Rule, ...]

    def shortened(self, factor: float) -> RuleSet:
        """The same rules with every window and wait divided by `factor`: for trying them out within seconds."""
        return RuleSet(
            tuple(
                replace(rule, hold=rule.hold / factor, conditions=tuple(c.shortened(factor) for c in rule.conditions))
                for rule in self.rules
            )
        )

    def series(self) -> dict[str, set[str]]:
        """The series that are read, each with the labels that a rule names."""
        found: dict[str, set[str]] = {}
        for rule in self.rules:
            for condition in rule.conditions:
                for name, labels in condition.measure.series().items():
                    found.setdefault(name, set()).update(labels, condition.by)
        return found

    def longest(self) -> float:
        """The longest window in seconds."""
        return max((c.longest() for rule in self.rules for c in rule.conditions), default=0.0)

    def for_prometheus(self) -> str:
        """A rules file of Prometheus; annotations in both languages."""
        head = "# Written by 'tunesmith watch export' from Tunesmith's alert rules; change those instead.\n"
        return head + "groups:\n- name: tunesmith\n  rules:\n" + "\n".join(_for_prometheus(r) for r in self.rules)


def shipped() -> RuleSet:
    """The rules that come with the package."""
    with resources.as_file(resources.files("tunesmith.watching").joinpath("alerts.yaml")) as path:
        return read_rules(read_recipe(path, "file of rules"), str(path))


def read_rules(given: Mapping[str, object], where: str) -> RuleSet:
    """The rules under the key `rules`.

    Raises:
        RecipeError: a key, a metric, a label or a value is unknown or wrong.
    """
    rows = given.get("rules")
    if not isinstance(rows, list) or not rows:
        raise RecipeError("There are no rules.", where=where, to_do="List them under 'rules:'.")
    rules = tuple(_rule(row, f"{where}, rule {number}") for number, row in enumerate(rows, 1))
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"The rule '{name}' stands twice.", where=where, to_do="Give it another name.")
    return RuleSet(rules)


@dataclass(frozen=True)
class _RuleForm:
    """A rule as it stands in the file."""

    name: str
    severity: Literal["page", "ticket"]
    all: list[dict[str, Any]]
    summary: dict[Language, str]
    to_do: dict[Language, str]
    by: tuple[str, ...] = ()
    hold: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,63}", self.name):
            raise ValueError("name must be letters and digits")
        if not self.all:
            raise ValueError("all must list a condition")
        if not set(self.summary) == set(self.to_do) == set(LANGUAGES):
            raise ValueError("summary and to_do must be given in en and zh")


@dataclass(frozen=True)
class _ConditionForm:
    """A condition as it stands in the file."""

    measure: dict[str, Any]
    window: str = ""
    above: float | None = None
    below: float | None = None
    by: tuple[str, ...] | None = None
    against: str = ""
    compare: Literal["difference", "distance", "times"] = "difference"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below")


def _rule(row: object, where: str) -> Rule:
    if not isinstance(row, Mapping):
        raise RecipeError("A rule is keys and values.", where=where, to_do="Look at examples/watching/alerts.yaml.")
    # `for` is the word of Prometheus, and one of Python.
    form = from_settings(_RuleForm, {"hold" if key == "for" else str(key): value for key, value in row.items()}, where)
    where = f"{where} ({form.name})"
    conditions = tuple(_condition(one, form.by, where) for one in form.all)
    if conditions[0].by != form.by:
        raise RecipeError("The first condition goes by what the rule goes by.", where=where, to_do="Leave out its by.")
    for text in (*form.summary.values(), *form.to_do.values()):
        for name in _PLACEHOLDER.findall(text):
            if name not in (*form.by, "value"):
                raise RecipeError(
                    f"The text names {{{name}}}, by which the rule does not go.",
                    where=where,
                    to_do=f"Known: {', '.join((*form.by, 'value'))}.",
                )
    hold = seconds_of(form.hold, where) if form.hold else 0.0
    return Rule(form.name, form.severity, form.by, hold, conditions, form.summary, form.to_do)


def _condition(given: Mapping[str, Any], rule_by: By, where: str) -> Condition:
    form = from_settings(_ConditionForm, given, where)
    measure = build(MEASURES, form.measure, where)
    by = rule_by if form.by is None else form.by
    if not set(by) <= set(rule_by):
        raise RecipeError("A condition can only go by labels of its rule.", where=where, to_do=f"Known: {rule_by}.")
    if measure.has_window != bool(form.window):
        needs = "needs a window, like 5m" if measure.has_window else "is of now and has no window"
        raise RecipeError(f"The measure {needs}.", where=where)
    if form.against and not measure.has_window:
        raise RecipeError("A measure of now cannot be compared with a window.", where=where, to_do="Drop 'against'.")
    if isinstance(measure, Share) and not set(measure.within) <= set(by):
        raise RecipeError("What a share is within must be among the labels of 'by'.", where=where)
    condition = Condition(
        measure=measure,
        by=by,
        window=seconds_of(form.window, where) if form.window else 0.0,
        above=form.above,
        below=form.below,
        against=seconds_of(form.against, where) if form.against else 0.0,
        compare=form.compare,
    )
    condition.promql()  # complains of patterns
    _check_series(condition, where)
    return condition


def _check_series(condition: Condition, where: str) -> None:
    known = {name.removeprefix(PREFIX): labels for name, labels in known_series().items()}
    gauges = {row.name for row in (*METRIC_ROWS, *PROCESS_ROWS) if row.kind == "gauge"}
    for full, labels in condition.measure.series().items():
        name = full.removeprefix(PREFIX)
        if name not in known:
            raise RecipeError(f"No metric is called '{name}'.{nearest(name, known)}", where=where)
        if condition.measure.has_window and name in gauges:
            raise RecipeError(f"'{name}' is of now: it goes up and down.", where=where, to_do="Measure its latest.")
        for label in (*sorted(labels), *condition.by):
            if label not in known[name]:
                raise RecipeError(
                    f"'{name}' has no label '{label}'.{nearest(label, known[name])}",
                    where=where,
                    to_do=f"Its labels: {', '.join(known[name])}.",
                )


def _for_prometheus(rule: Rule) -> str:
    texts = {"summary": rule.summary["en"], "to_do": rule.to_do["en"]}
    texts |= {"summary_zh": rule.summary["zh"], "to_do_zh": rule.to_do["zh"]}
    lines = [f"  - alert: {rule.name}", "    expr: |"]
    lines += [f"      {line}" for line in rule.promql().splitlines()]
    lines += [f"    for: {duration_of(rule.hold)}"] if rule.hold else []
    lines += ["    labels:", f"      severity: {rule.severity}", "    annotations:"]
    for name, text in texts.items():  # text in quotes as JSON writes it is YAML
        lines.append(f"      {name}: {json.dumps(_PLACEHOLDER.sub(_template, text), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _template(found: re.Match[str]) -> str:
    return "{{ $value | humanize }}" if found[1] == "value" else f"{{{{ $labels.{found[1]} }}}}"


def texts_of(rule: Rule, language: Language, labels: Sequence[tuple[str, str]], value: float) -> dict[str, str]:
    """Summary and what to do, in one language, as annotations of an alert."""
    shown = f"{value:.4g}"
    return {
        "summary": rule.text(rule.summary, language, dict(labels), shown),
        "to_do": rule.text(rule.to_do, language, dict(labels), shown),
    }
