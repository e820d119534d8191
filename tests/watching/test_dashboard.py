"""The dashboard: what Grafana needs of it, and expressions that Prometheus can read."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from tests.watching.prometheus_tools import check_rules

DASHBOARD: dict[str, Any] = json.loads(
    resources.files("tunesmith.watching").joinpath("dashboard.json").read_text(encoding="utf-8")
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_it_has_what_grafana_needs() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["uid"]
    assert "id" not in DASHBOARD, "an id of another Grafana would clash"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["targets"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert panel["datasource"]["uid"] == "${source}"
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_its_variables_are_known() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(PANELS)
    assert variables == {"source", "model"}
    assert "$model" in text
    assert "$m}" not in text
    assert "$w]" not in text


def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    rows = [
        {"record": f"panel{panel['id']}:{target['refId'].lower()}", "expr": shown(target["expr"])}
        for panel in PANELS
        for target in panel["targets"]
    ]
    path = tmp_path / "expressions.yaml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rows}]}), encoding="utf-8")
    check_rules(path)


def shown(expression: str) -> str:
    return str(expression).replace("$model", ".*").replace("$__rate_interval", "5m")
