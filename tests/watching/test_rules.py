"""The shipped alert rules: each fires, does not fire and is resolved, in Prometheus and in the built-in evaluator."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.watching.prometheus_tools import check_rules, promtool
from tests.watching.series import Given, asked_of_promtool, evaluated, read_notation, read_values, states
from tunesmith.watching.dashboard import dashboard_json
from tunesmith.watching.durations import seconds_of
from tunesmith.watching.metric_table import known_series
from tunesmith.watching.rules import Rule, RuleSet, shipped

FOLDER = Path(__file__).with_name("rules")
RULES = {rule.name: rule for rule in shipped().rules}
PACKAGE = resources.files("tunesmith.watching")


def the_test_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def complaint(folder: Path, rule: Rule) -> str:
    """What promtool says of the rule's test when the rule reads so."""
    (folder / "rules.yaml").write_text(RuleSet((rule,)).for_prometheus(), encoding="utf-8")
    test = folder / "test.yaml"
    test.write_text(yaml.safe_dump({**the_test_of(rule.name), "rule_files": ["rules.yaml"]}), encoding="utf-8")
    done = promtool("test", "rules", test)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_files_in_the_package_are_made_of_the_rules_and_panels() -> None:
    """Make them anew with: tunesmith watch export."""
    assert PACKAGE.joinpath("rules.yaml").read_text(encoding="utf-8") == shipped().for_prometheus()
    assert PACKAGE.joinpath("dashboard.json").read_text(encoding="utf-8") == dashboard_json()


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    for number, rules in enumerate((shipped(), shipped().shortened(180), shipped().shortened(7))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(rules.for_prometheus(), encoding="utf-8")
        check_rules(path)


def test_every_rule_has_a_test_that_sees_it_fire_stay_quiet_and_end() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(RULES)
    for name in RULES:
        first, *quiet = the_test_of(name)["tests"]
        fired = [bool(check["exp_samples"]) for check in first["promql_expr_test"]]
        assert fired == [False, True, False], f"{name}: quiet before, firing, resolved"
        assert quiet, f"{name}: no series for which it does not fire"
        assert not any(check["exp_samples"] for test in quiet for check in test["promql_expr_test"])


@pytest.mark.parametrize("name", RULES)
def test_prometheus_fires_and_resolves_as_the_test_says(name: str, tmp_path: Path) -> None:
    assert not complaint(tmp_path, RULES[name])


def mutants() -> list[tuple[str, Rule]]:
    """Each rule without one of its conditions, and without its wait."""
    found = []
    for rule in RULES.values():
        if rule.hold:
            found.append((f"{rule.name} without its wait", replace(rule, hold=0.0)))
        for number in range(1, len(rule.conditions)):
            rest = rule.conditions[:number] + rule.conditions[number + 1 :]
            found.append((f"{rule.name} without condition {number + 1}", replace(rule, conditions=rest)))
    return found


@pytest.mark.parametrize(("what", "rule"), mutants(), ids=[what for what, _ in mutants()])
def test_no_condition_can_be_left_out_unseen(what: str, rule: Rule, tmp_path: Path) -> None:
    assert complaint(tmp_path, rule), f"the test of {what} does not notice"


@pytest.mark.parametrize("name", RULES)
def test_the_built_in_evaluator_fires_and_resolves_as_the_test_says(name: str) -> None:
    content = the_test_of(name)
    for test in content["tests"]:
        given = {read_notation(row["series"]): read_values(row["values"]) for row in test["input_series"]}
        checks = {seconds_of(check["eval_time"]): check["exp_samples"] for check in test["promql_expr_test"]}
        interval = seconds_of(test["interval"])
        rounds = int(max(checks) / interval) + 1
        for now, alerts in evaluated(RuleSet((RULES[name],)), given, interval, rounds):
            if now in checks:
                firing = [row for row in states(alerts) if row["alertstate"] == "firing"]
                expected = [dict(read_notation(sample["labels"])[1]) for sample in checks[now]]
                assert firing == sorted(expected, key=lambda row: sorted(row.items())), (test["name"], now)


def wandering(seed: int, rounds: int) -> Given:
    """Series of every kind that the rules read; good and bad times, restarts and gaps, by chance."""
    chance = random.Random(seed)
    given: dict[tuple[str, tuple[tuple[str, str], ...]], list[float | None]] = {}

    def moods(*levels: float) -> list[float]:
        found: list[float] = []
        while len(found) < rounds:
            found += [chance.choice(levels)] * chance.randint(2, 60)
        return found[:rounds]

    def counter(name: str, rates: list[float], restarts: set[int], gaps: set[int], **labels: str) -> None:
        value, values = 0.0, list[float | None]()
        for number in range(rounds):
            value = 0.0 if number in restarts else value + round(rates[number] * chance.uniform(0.5, 1.5), 3)
            values.append(None if number in gaps else value)
        given[f"tunesmith_{name}", tuple(sorted(labels.items()))] = values

    restarts = {chance.randrange(rounds) for _ in range(2)}
    gaps = {number + step for number in [chance.randrange(rounds)] for step in range(chance.randint(1, 8))}
    for code, levels in (("200", (5, 60, 200)), ("500", (0, 0.05, 4)), ("503", (0, 0.4))):
        counter("requests_total", moods(*levels), restarts, gaps, code=code)
    counter("shed_total", moods(0, 20), restarts, gaps, reason="queue_full")
    counter("limit_refusals_total", moods(0, 90), restarts, gaps, reason="requests")
    counter("worker_restarts_total", moods(0, 0, 2), restarts, gaps, reason="killed")
    counter("guard_actions_total", moods(1, 60), restarts, gaps, guard="injection", action="refuse")
    counter("answers_dropped_total", moods(0, 0, 0, 2), restarts, gaps)
    for verdict in ("wrong", "correct"):
        counter("feedback_total", moods(0, 3), restarts, gaps, verdict=verdict)
    for model in ("a", "b"):
        counter("tokens_total", moods(1000, 5000), restarts, gaps, model=model)
        counter("padding_tokens_total", moods(500, 6000), restarts, gaps, model=model)
        for label in ("x", "y"):
            counter("predictions_total", moods(5, 90), restarts, gaps, model=model, version="v1", label=label)
        counter("confidence_count", [100.0] * rounds, restarts, gaps, model=model)
        counter("confidence_sum", moods(40, 90), restarts, gaps, model=model)
        counter("request_duration_seconds_count", [50.0] * rounds, restarts, gaps, model=model)
        slow = moods(0.1, 1, 10)
        for bound, share in (("0.5", 0.0), ("1.0", 0.2), ("2.5", 0.6), ("+Inf", 1.0)):
            rates = [50 + share * rate for rate in slow]
            counter("request_duration_seconds_bucket", rates, restarts, gaps, model=model, le=bound)
        queue = [None if number in gaps else level for number, level in enumerate(moods(3, 400))]
        given["tunesmith_queue_length", (("model", model),)] = queue
    for name, low, high in (("models_ready", 0, 2), ("workers", 0, 1), ("process_resident_memory_bytes", 1e9, 5e9)):
        gauge = [None if number in gaps else level for number, level in enumerate(moods(low, high, high))]
        given[f"tunesmith_{name}", ()] = gauge
    given["up", (("instance", "a"), ("job", "tunesmith"))] = [0.0 if n in gaps else 1.0 for n in range(rounds)]
    return given


@pytest.mark.parametrize("seed", range(4))
def test_the_built_in_evaluator_agrees_with_prometheus_on_any_series(seed: int, tmp_path: Path) -> None:
    rules, interval, rounds = shipped().shortened(36), 10.0, 360
    given = wandering(seed, rounds)
    expected = {now: states(alerts) for now, alerts in evaluated(rules, given, interval, rounds)}
    seen = {row["alertname"] for rows in expected.values() for row in rows if row["alertstate"] == "firing"}
    assert len(seen) >= 12, f"too few rules fire to compare much: {seen}"
    assert not asked_of_promtool(tmp_path, rules, given, interval, expected)


def test_the_comparison_with_prometheus_notices_a_difference(tmp_path: Path) -> None:
    given: Given = {("tunesmith_models_ready", ()): [0.0] * 20}
    rules = RuleSet((RULES["NoModelReady"],))
    expected = {now: states(alerts) for now, alerts in evaluated(rules, given, 60, 20)}
    assert not asked_of_promtool(tmp_path, rules, given, 60, expected)
    assert asked_of_promtool(tmp_path, rules, given, 60, {**expected, 300.0: []})


def selected(expression: str) -> dict[str, set[str]]:
    """The series that an expression of PromQL reads, each with the labels that it selects by; and those it goes by."""
    found: dict[str, set[str]] = {}
    for name, inside in re.findall(r"\b(tunesmith_\w+|up\b)(?:{([^}]*)})?", expression):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*=~?", inside))
    return found


def grouped(expression: str) -> set[str]:
    """The labels that an expression goes by."""
    lists = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for inside in lists for label in inside.split(",") if label.strip()}


def test_rules_and_panels_name_only_metrics_and_labels_that_exist() -> None:
    known = known_series()
    groups = yaml.safe_load(PACKAGE.joinpath("rules.yaml").read_text(encoding="utf-8"))["groups"]
    panels = yaml.safe_load(PACKAGE.joinpath("dashboard.json").read_text(encoding="utf-8"))["panels"]
    expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    expressions += [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for expression in expressions:
        series = selected(expression)
        assert series, f"reads nothing: {expression}"
        for name, labels in series.items():
            assert labels <= set(known.get(name, ())), (name, labels, expression)
        labels_of_all = {label for name in series for label in known[name]}
        assert grouped(expression) <= labels_of_all, expression
    for rule in (rule for group in groups for rule in group["rules"]):
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= grouped(rule["expr"]), rule["alert"]


def test_every_metric_stands_in_the_dashboard() -> None:
    panels = yaml.safe_load(PACKAGE.joinpath("dashboard.json").read_text(encoding="utf-8"))["panels"]
    text = " ".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    missing = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known_series() if name != "up"}
    missing -= {re.sub(r"_(bucket|sum|count)$", "", name) for name in selected(text)}
    assert not missing
