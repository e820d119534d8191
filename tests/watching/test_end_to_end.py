"""With the real Prometheus and Alertmanager: a service in trouble, an alert that arrives at a webhook, and its end."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.watching.prometheus_tools import program, promtool
from tests.watching.receivers import accepting, serving
from tunesmith.errors import RecipeError
from tunesmith.watching.evaluator import Alert
from tunesmith.watching.exporting import export_watching, scrape_config
from tunesmith.watching.metrics import Metrics
from tunesmith.watching.notices import webhook_body
from tunesmith.watching.rules import shipped

FASTER = 120
PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A program that is stopped at the end, and has not ended before."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(20)


def until(is_so: Callable[[], bool], what: str, folder: Path) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in folder.glob("*.log"))
            pytest.fail(f"after {PATIENCE:.0f} s not: {what}\n{logs}")
        time.sleep(0.1)


def test_the_sample_of_a_configuration_is_one(tmp_path: Path) -> None:
    (tmp_path / "metrics.key").write_text("key", encoding="utf-8")
    written = export_watching(tmp_path, shipped(), "127.0.0.1:8080")
    assert [path.name for path, _ in written] == ["rules.yaml", "dashboard.json", "prometheus.yml"]
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(shipped().rules)} rules" in done.stdout + done.stderr


@pytest.mark.parametrize("target", ["", "host", "host:1/path", 'a"]\nb: c', "http://host:1", "host:123456"])
def test_a_target_that_is_no_host_and_port_is_refused(target: str) -> None:
    with pytest.raises(RecipeError, match="no host and port"):
        scrape_config(target)


def configured(folder: Path, service_port: int, alertmanager_port: int) -> None:
    """The files of `tunesmith watch export`, made faster, and where alerts go."""
    export_watching(folder, shipped().shortened(FASTER), f"127.0.0.1:{service_port}")
    (folder / "metrics.key").write_text("the-key\n", encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"}
    settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]}
    (folder / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")


def alertmanager_settings(hook: str) -> str:
    route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "100ms", "group_interval": "500ms"}
    receiver = {"name": "hook", "webhook_configs": [{"url": hook, "send_resolved": True}]}
    return json.dumps({"route": route, "receivers": [receiver]})


def test_an_alert_fires_from_the_service_to_the_webhook_and_is_resolved(tmp_path: Path) -> None:
    prometheus, alertmanager = (program(n, n) for n in ("prometheus", "prometheus-alertmanager"))
    metrics = Metrics()
    metrics.workers(1)
    metrics.dropped(0)
    metrics.swapped("news", "v1", "a" * 64, "torch", 0.5)

    def answer(_path: str, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if headers.get("Authorization") != "Bearer the-key":
            return 401, b"", {}
        body, kind = metrics.text()
        return 200, body, {"Content-Type": kind}

    ports = free_port(), free_port()
    with serving(answer) as service, serving(accepting) as hook:
        configured(tmp_path, service.port, ports[1])
        (tmp_path / "alertmanager.yml").write_text(alertmanager_settings(hook.url), encoding="utf-8")
        watching = [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ]
        telling = [
            alertmanager,
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
        ]

        def told(name: str, status: str) -> bool:
            found = [alert for body in hook.bodies() for alert in body["alerts"]]
            return any(alert["labels"]["alertname"] == name and alert["status"] == status for alert in found)

        with running(telling, tmp_path / "alertmanager.log"), running(watching, tmp_path / "prometheus.log"):
            until(lambda: len(service.asked) > 8, "Prometheus scrapes", tmp_path)
            assert not hook.asked, hook.bodies()
            metrics.retired("news", "v1")
            metrics.dropped(3)
            until(lambda: told("NoModelReady", "firing"), "the alert of a model that is gone arrives", tmp_path)
            until(lambda: told("AnswersNotRemembered", "firing"), "the alert of lost answers arrives", tmp_path)
            metrics.swapped("news", "v2", "b" * 64, "torch", 0.5)
            until(lambda: told("NoModelReady", "resolved"), "the first alert is resolved", tmp_path)
            until(lambda: told("AnswersNotRemembered", "resolved"), "the second alert is resolved", tmp_path)
        bodies = hook.bodies()
    assert {body["version"] for body in bodies} == {"4"}
    names = {alert["labels"]["alertname"] for body in bodies for alert in body["alerts"]}
    assert names == {"NoModelReady", "AnswersNotRemembered"}
    annotations = bodies[0]["alerts"][0]["annotations"]
    assert set(annotations) == {"summary", "to_do", "summary_zh", "to_do_zh"}
    assert same_form(bodies)


def same_form(bodies: list[dict[str, Any]]) -> bool:
    """Whether Alertmanager's bodies have the keys that our own webhook sends."""
    ours = webhook_body([Alert("NoModelReady", "page", (), 0.0, "firing", 0.0)], shipped(), "en", "u")
    rows = ours["alerts"]
    assert isinstance(rows, list)
    return all(set(body) == set(ours) and set(body["alerts"][0]) == set(rows[0]) for body in bodies)
