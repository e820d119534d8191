"""Requests drawn from the service's own page: never a 5xx, never an answer that the page does not describe."""

from __future__ import annotations

import json

import jsonschema
import pytest
from benchmarks.service_fuzz import fuzzed, show

from tests.service.running import Running
from tunesmith.service.openapi import ANSWERS

pytest.importorskip("schemathesis")


@pytest.mark.parametrize(
    ("seeds", "examples", "least"),
    [([13], 4, 300), pytest.param(list(range(20, 60)), 40, 10_000, marks=pytest.mark.slow)],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_drawn_from_the_page_is_answered_as_it_says(
    seeds: list[int], examples: int, least: int, service: Running
) -> None:
    cases = 0
    for seed in seeds:
        found = fuzzed(f"http://127.0.0.1:{service.port}", {}, [seed], examples)
        show(found)
        assert not found.failures
        assert found.longest < 20
        cases += found.cases
        if cases >= least:
            break
    assert cases >= least


def test_every_route_says_what_it_answers_and_how_it_refuses(service: Running) -> None:
    page = service.get("/openapi.json").body
    assert page["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert set(ANSWERS) <= set(page["paths"])
    for path, operations in page["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "401", "413", "429", "500"} <= set(operation["responses"])
            content = operation["responses"]["200"]["content"]
            assert all(one["schema"] for one in content.values()), path
            assert all(parameter["description"] for parameter in operation.get("parameters", ())), path
    for schema in page["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
