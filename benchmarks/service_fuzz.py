"""The service asked what its own OpenAPI page allows and what it does not: thousands of requests drawn by schemathesis.

    python benchmarks/service_fuzz.py PORT KEY --examples 150 --seeds 13 14 15

A response of 5xx (but 503 and 504 in their documented form), one that is not as the page says, or none in time is a
failure. Each seed draws anew; examples are per operation and phase.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    NotAServerErrorConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
)
from schemathesis.engine import events, from_schema

CHECKED = (
    "content_type_conformance",
    "not_a_server_error",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
)
_OTHERS: Mapping[str, Any] = {
    name: SimpleCheckConfig(enabled=False)
    for name in ("use_after_free", "ensure_resource_availability", "ignored_auth", "object_level_authorization")
}
"""Checks of what this service does not have, resources that come and go, and of open doors, which a test opens."""


@dataclass
class Found:
    """What a run met.

    Attributes:
        statuses: how many responses had each status.
        failures: what was not as it should be, with the operation.
        phases: how many requests each phase made.
        longest: seconds of the slowest response.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    @property
    def cases(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()


def fuzzed(address: str, headers: Mapping[str, str], seeds: Sequence[int], examples: int) -> Found:
    """Ask a service at an address, drawn anew by each seed."""
    found = Found()
    for seed in seeds:
        project = ProjectConfig(
            base_url=address,
            headers=dict(headers),
            request_timeout=30,
            continue_on_failure=True,
            generation=GenerationConfig(max_examples=examples, no_shrink=True, database=":memory:"),
            checks=ChecksConfig(
                not_a_server_error=NotAServerErrorConfig(expected_statuses=["2xx", "4xx", "503", "504"]),
                **_OTHERS,
            ),
            phases=PhasesConfig(),
        )
        config = SchemathesisConfig(projects=ProjectsConfig(default=project), seed=seed)
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=dict(headers), config=config)
        for event in from_schema(schema).execute():
            _note(event, found)
    return found


def _note(event: Any, found: Found) -> None:
    if isinstance(event, events.NonFatalError | events.FatalError):
        found.failures[f"error: {event}"[:300]] += 1
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for interaction in recorder.interactions.values():
        if interaction.response is None:
            found.failures[f"no answer: {recorder.label}"] += 1
            continue
        found.statuses[interaction.response.status_code] += 1
        found.phases[event.phase.value] += 1
        found.longest = max(found.longest, interaction.response.elapsed)
    for checks in recorder.checks.values():
        for check in checks:
            if check.name in CHECKED and check.failure_info is not None:
                found.failures[f"{recorder.label}: {check.name}: {check.failure_info.failure}"[:600]] += 1


def main() -> None:
    """Fuzz a service that runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[13])
    arguments = parser.parse_args()
    headers = {"authorization": f"Bearer {arguments.key}"}
    show(fuzzed(f"http://127.0.0.1:{arguments.port}", headers, arguments.seeds, arguments.examples))


def show(found: Found) -> None:
    """Print what was met."""
    print(f"{found.cases} cases; statuses {dict(sorted(found.statuses.items()))}; phases {dict(found.phases)}")
    print(f"slowest {found.longest:.2f} s; failures {found.failures.total()}")
    for what, count in found.failures.most_common(20):
        print(f"  {count} x {what}")


if __name__ == "__main__":
    main()
