"""Files for Prometheus and Grafana, written to a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tunesmith.errors import RecipeError, ResourceError
from tunesmith.watching.dashboard import dashboard_json
from tunesmith.watching.rules import RuleSet
from tunesmith.writing import refused, written

_TARGET = re.compile(r"[A-Za-z0-9.-]{1,253}:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def scrape_config(target: str) -> str:
    """A sample of prometheus.yml that scrapes one service with a key and loads the rules beside it.

    Raises:
        RecipeError: the target is no host and port.
    """
    if not _TARGET.fullmatch(target):
        raise RecipeError("The target is no host and port.", where=target[:80], to_do="Write it like 127.0.0.1:8080.")
    return f"""\
# A sample: put its parts into your prometheus.yml.
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files:
  - rules.yaml
scrape_configs:
  - job_name: tunesmith  # the rules ask for this name
    metrics_path: /metrics
    scheme: http  # https where the service is not on this machine
    authorization:
      type: Bearer
      credentials_file: metrics.key  # a key that may read metrics, one line, mode 0600: see 'tunesmith keys'
    static_configs:
      - targets: [{json.dumps(target)}]
"""


def export_watching(out: Path, rules: RuleSet, target: str, *, overwrite: bool = False) -> list[tuple[Path, str]]:
    """Write the files; return each with what it is for. Others that were edited are replaced if `overwrite` says so.

    Raises:
        RecipeError: the target is no host and port.
        ResourceError: the folder cannot be written, or a file there is another and may not be replaced.
    """
    files = [
        (
            "rules.yaml",
            rules.for_prometheus(),
            f"{len(rules.rules)} alert rules; look at it with: promtool check rules",
        ),
        ("dashboard.json", dashboard_json(), "for Grafana: Dashboards, New, Import"),
        ("prometheus.yml", scrape_config(target), "how to scrape the service with a key"),
    ]
    edited = [name for name, text, _ in files if not overwrite and _differs(out / name, text)]
    if edited:
        raise ResourceError(
            f"Files there would be replaced by others: {', '.join(edited)}.",
            where=str(out),
            to_do="Choose another --out and compare them, or give --overwrite.",
        )
    with refused(out, to_do="Choose another --out."):
        out.mkdir(parents=True, exist_ok=True)
    for name, text, _ in files:
        with written(out / name) as file:
            file.write(text)
    return [(out / name, what) for name, _, what in files]


def _differs(path: Path, text: str) -> bool:
    """Whether a file is there and says something else."""
    return path.is_file() and path.read_bytes() != text.encode()
