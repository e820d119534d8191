"""The verbs `alerts` and `watch export` as a user calls them, and their bad input."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.watching.prometheus_tools import check_rules
from tests.watching.receivers import accepting, serving
from tunesmith import cli
from tunesmith.watching.metrics import Metrics
from tunesmith.watching.rules import shipped
from tunesmith.watching.watch import read_settings

ROOT = Path(__file__).resolve().parents[2]
RULE: dict[str, Any] = {
    "name": "Own",
    "severity": "page",
    "all": [{"measure": {"name": "latest", "of": "workers"}, "below": 1}],
    "summary": {"en": "None.", "zh": "无。"},
    "to_do": {"en": "Look.", "zh": "看。"},
}


def asked(*arguments: object) -> int:
    """The exit code of a command line."""
    return cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))


def ruled(folder: Path, **changes: object) -> Path:
    """A file with one rule, changed."""
    return filed(folder, rules=[{**RULE, **changes}])


def filed(folder: Path, **content: object) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def measured(folder: Path, measure: dict[str, object], **more: object) -> Path:
    return ruled(folder, all=[{"measure": measure, "above": 1, **more}])


def with_bytes(folder: Path, content: bytes) -> Path:
    path = folder / "alerts.yaml"
    path.write_bytes(content)
    return path


def open_key(folder: Path) -> Path:
    path = folder / "key"
    path.write_text("k", encoding="utf-8")
    path.chmod(0o644)
    return path


def two_keys(folder: Path) -> Path:
    path = open_key(folder)
    path.write_text("one\ntwo\n", encoding="utf-8")
    path.chmod(0o600)
    return path


SITUATIONS: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "no such file": (lambda f: ["--rules", f / "none.yaml"], "does not exist"),
    "not text": (lambda f: ["--rules", with_bytes(f, b"\xff\x00")], "cannot be read as text"),
    "not yaml": (lambda f: ["--rules", with_bytes(f, b"rules: [")], "not valid YAML"),
    "a list": (lambda f: ["--rules", with_bytes(f, b"- a")], "holds no keys"),
    "no rules": (lambda f: ["--rules", filed(f, rules=[])], "There are no rules"),
    "none at all": (lambda f: ["--rules", filed(f, shipped=False)], "There are no rules"),
    "a rule that is none": (lambda f: ["--rules", filed(f, rules=["a"])], "A rule is keys and values"),
    "a rule twice": (lambda f: ["--rules", filed(f, rules=[RULE, copy.deepcopy(RULE)])], "stands twice"),
    "unknown section": (lambda f: ["--rules", filed(f, delivery={})], "Did you mean 'deliver'?"),
    "unknown key": (lambda f: ["--rules", ruled(f, severe="page")], "Did you mean 'severity'?"),
    "unknown severity": (lambda f: ["--rules", ruled(f, severity="high")], "severity"),
    "a name of words": (lambda f: ["--rules", ruled(f, name="a b")], "letters and digits"),
    "no condition": (lambda f: ["--rules", ruled(f, all=[])], "must list a condition"),
    "a condition that is none": (lambda f: ["--rules", ruled(f, all=["a"])], "all"),
    "one language": (lambda f: ["--rules", ruled(f, summary={"en": "a"})], "en and zh"),
    "an unknown placeholder": (lambda f: ["--rules", ruled(f, to_do={"en": "{model}", "zh": "a"})], "{model}"),
    "an unknown wait": (lambda f: ["--rules", ruled(f, **{"for": "soon"})], "no length of time"),
    "an unknown measure": (lambda f: ["--rules", measured(f, {"name": "rato"})], "Did you mean 'ratio'?"),
    "an unknown metric": (
        lambda f: ["--rules", measured(f, {"name": "increase", "of": "request_total"}, window="5m")],
        "Did you mean 'requests_total'?",
    ),
    "an unknown label": (
        lambda f: [
            "--rules",
            measured(f, {"name": "increase", "of": "shed_total", "where": {"rason": "a"}}, window="5m"),
        ],
        "Did you mean 'reason'?",
    ),
    "a label that the metric lacks": (
        lambda f: ["--rules", ruled(f, by=["model"])],
        "'workers' has no label 'model'",
    ),
    "growth of what goes up and down": (
        lambda f: ["--rules", measured(f, {"name": "increase", "of": "queue_length"}, window="5m")],
        "it goes up and down",
    ),
    "a pattern that is too much": (
        lambda f: [
            "--rules",
            measured(f, {"name": "increase", "of": "shed_total", "where": {"reason": "(?=a)"}}, window="5m"),
        ],
        "is too much",
    ),
    "a pattern that is none": (
        lambda f: [
            "--rules",
            measured(f, {"name": "increase", "of": "shed_total", "where": {"reason": "("}}, window="5m"),
        ],
        "is no pattern",
    ),
    "no window": (lambda f: ["--rules", measured(f, {"name": "increase", "of": "shed_total"})], "needs a window"),
    "a window of nothing": (
        lambda f: ["--rules", measured(f, {"name": "increase", "of": "shed_total"}, window="0s")],
        "longer than nothing",
    ),
    "a window of now": (
        lambda f: ["--rules", measured(f, {"name": "latest", "of": "workers"}, window="5m")],
        "has no window",
    ),
    "no limit": (
        lambda f: ["--rules", ruled(f, all=[{"measure": {"name": "latest", "of": "workers"}}])],
        "one of above and below",
    ),
    "a limit that is no number": (
        lambda f: ["--rules", ruled(f, all=[{"measure": {"name": "latest", "of": "workers"}, "above": float("nan")}])],
        "finite",
    ),
    "a quantile of 99": (
        lambda f: ["--rules", measured(f, {"name": "quantile", "of": "queue_seconds", "q": 99}, window="5m")],
        "between 0 and 1",
    ),
    "share within what is not gone by": (
        lambda f: [
            "--rules",
            measured(f, {"name": "share", "of": "predictions_total", "within": ["model"]}, window="5m"),
        ],
        "within",
    ),
    "an unknown rule left out": (lambda f: ["--rules", filed(f, without=["NoWorker"])], "Did you mean 'NoWorkers'?"),
    "too often": (lambda f: ["--rules", filed(f, every="10ms")], "every 1s to 5m"),
    "e-mail in clear": (
        lambda f: ["--rules", filed(f, deliver={"mail": {"host": "mail.example.org", "starttls": False}})],
        "needs TLS",
    ),
    "a webhook in clear": (lambda f: ["--webhook", "http://example.org/secret"], "this machine only"),
    "a private webhook": (lambda f: ["--webhook", "https://10.0.0.1/secret"], "no public address"),
    "no address of e-mail": (lambda f: ["--mail-to", "me"], "no address of e-mail"),
    "a url that is none": (lambda f: ["--url", "localhost:8080"], "none of http or https"),
    "a key that is not there": (lambda f: ["--key-file", f / "none"], "cannot be read"),
    "a key that others may read": (lambda f: ["--key-file", open_key(f)], "Others may read"),
    "two keys": (lambda f: ["--key-file", two_keys(f)], "one key and nothing else"),
    "a state in no folder": (lambda f: ["--state", f / "no" / "state", "--url", "http://127.0.0.1:9/"], "written"),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_bad_input_says_what_and_where(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, must_say = SITUATIONS[name]
    assert asked("alerts", "--once", *arguments(tmp_path)) == 2
    said = capsys.readouterr().err
    assert must_say in " ".join(said.split()), said
    assert "secret" not in said
    assert len(said.splitlines()) <= 12


def test_the_example_is_read_and_makes_rules_for_prometheus(tmp_path: Path) -> None:
    example = ROOT / "examples" / "watching" / "alerts.yaml"
    settings = read_settings(example)
    names = [rule.name for rule in settings.rules.rules]
    assert set(names) == {rule.name for rule in shipped().rules} - {"MemoryHigh"} | {"CardNumbersArrive"}
    slow = next(rule for rule in settings.rules.rules if rule.name == "AnswersSlow")
    assert slow.severity == "page"
    assert asked("watch", "export", "--rules", example, "--out", tmp_path / "out") == 0
    check_rules(tmp_path / "out" / "rules.yaml")


def test_export_writes_what_the_package_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("watch", "export", "--out", tmp_path, "--target", "model.example.org:443") == 0
    package = ROOT / "src" / "tunesmith" / "watching"
    for name in ("rules.yaml", "dashboard.json"):
        assert (tmp_path / name).read_bytes() == (package / name).read_bytes()
        assert name in capsys.readouterr().out or name != "rules.yaml"
    assert 'targets: ["model.example.org:443"]' in (tmp_path / "prometheus.yml").read_text(encoding="utf-8")


def test_export_to_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert asked("watch", "export", "--out", tmp_path / "file") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_once_says_by_its_exit_code_whether_an_alert_fires(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    metrics.workers(2)
    rules, state = ruled(tmp_path), tmp_path / "state.json"
    with serving(lambda *_: (200, metrics.text()[0], {})) as service, serving(accepting) as hook:
        line = ["alerts", "--once", "--rules", rules, "--url", service.url, "--webhook", hook.url, "--state", state]
        assert asked(*line) == 0
        assert not hook.asked
        metrics.workers(0)
        assert asked(*line, "--language", "zh") == 1
        assert asked(*line) == 1
        assert [body["alerts"][0]["annotations"]["summary"] for body in hook.bodies()] == ["无。"]
        metrics.workers(1)
        assert asked(*line) == 0
        assert [body["status"] for body in hook.bodies()] == ["firing", "resolved"]
    said = capsys.readouterr().out
    assert "告警 Own (page)" in said
    assert "RESOLVED Own (page)" in said


def test_it_watches_until_it_is_stopped_and_keeps_what_it_knows(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.workers(0)
    rules, state = filed(tmp_path, rules=[RULE], shipped=False, every="1s"), tmp_path / "state.json"
    with serving(lambda *_: (200, metrics.text()[0], {})) as service, serving(accepting) as hook:
        command = [sys.executable, "-m", "tunesmith", "alerts", "--rules", rules, "--url", service.url]
        command += ["--webhook", hook.url, "--state", state]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + 120
        while len(service.asked) < 3 and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, "to be stopped is no failure"
        assert [body["status"] for body in hook.bodies()] == ["firing"]
    assert "FIRING Own (page)" in said
    assert said.endswith("Stopped watching.\n")
    assert json.loads(state.read_text(encoding="utf-8"))["alerts"][0]["state"] == "firing"


@pytest.mark.parametrize(("status", "text"), [(403, ""), (401, ""), (404, ""), (200, ""), (200, "<html>"), (0, "")])
def test_once_that_could_read_nothing_does_not_look_like_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, text: str
) -> None:
    rules, state = ruled(tmp_path, all=[{"measure": {"name": "latest", "of": "workers"}, "above": 9}]), tmp_path / "s"
    with serving(lambda *_: (status, text.encode(), {})) as service:
        url = service.url if status else "http://127.0.0.1:9/metrics"
        assert asked("alerts", "--once", "--rules", rules, "--url", url, "--state", state) == 2
    assert url in capsys.readouterr().out
    assert state.exists(), "the exit code comes after all else"


def test_export_replaces_what_was_edited_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["watch", "export", "--out", tmp_path]
    assert asked(*line) == 0
    assert asked(*line) == 0, "nothing differs"
    edited = tmp_path / "prometheus.yml"
    edited.write_text("mine", encoding="utf-8")
    (tmp_path / "rules.yaml").unlink()
    assert asked(*line) == 2
    said = capsys.readouterr().err
    assert "prometheus.yml" in said
    assert "--overwrite" in said
    assert edited.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "rules.yaml").exists()
    assert asked(*line, "--overwrite") == 0
    assert edited.read_text(encoding="utf-8") != "mine"
