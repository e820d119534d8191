"""The bill of materials: it has the form that others read, and says what is there; licences are ones we may use."""

from __future__ import annotations

import json
import re
import site
from collections.abc import Iterable
from email.message import Message
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tunesmith import cli
from tunesmith.inference.artifact import MANIFEST, file_hash, read_description
from tunesmith.parts import Part, identifiers, installed_parts, is_expression, licence_of
from tunesmith.sbom import bill_of_materials

_HASHES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["alg", "content"],
        "properties": {"alg": {"const": "SHA-256"}, "content": {"pattern": "^[0-9a-f]{64}$"}},
        "additionalProperties": False,
    },
}
_LICENCES = {
    "type": "array",
    "oneOf": [
        {"items": {"required": ["expression"], "additionalProperties": False, "properties": {"expression": {}}}},
        {
            "items": {
                "required": ["license"],
                "additionalProperties": False,
                "properties": {"license": {"required": ["name"], "properties": {"name": {"minLength": 1}}}},
            }
        },
    ],
}
COMPONENT: dict[str, Any] = {
    "type": "object",
    "required": ["type", "name", "bom-ref"],
    "properties": {
        "type": {"enum": ["application", "library", "file", "machine-learning-model"]},
        "bom-ref": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "version": {"type": "string"},
        "purl": {"type": "string", "pattern": "^pkg:pypi/[a-z0-9-]+@[^+ ]+$"},
        "scope": {"enum": ["required", "optional", "excluded"]},
        "description": {"type": "string"},
        "hashes": _HASHES,
        "licenses": _LICENCES,
        "components": {"type": "array", "items": {"$ref": "#/$defs/component"}},
        "pedigree": {"properties": {"ancestors": {"type": "array", "items": {"$ref": "#/$defs/component"}}}},
        "modelCard": {"properties": {"modelParameters": {"properties": {"task": {"type": "string"}}}}},
        "properties": {"items": {"required": ["name", "value"], "properties": {"value": {"type": "string"}}}},
        "externalReferences": {"items": {"required": ["type", "url"]}},
    },
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "required": ["bomFormat", "specVersion"],
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {"pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {
            "properties": {
                "timestamp": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)$"},
                "lifecycles": {"items": {"properties": {"phase": {"const": "operations"}}}},
                "component": {"$ref": "#/$defs/component"},
            },
            "additionalProperties": False,
        },
        "components": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/component"}},
        "dependencies": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "required": ["ref"],
                "properties": {"ref": {"type": "string"}, "dependsOn": {"type": "array", "uniqueItems": True}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
    "$defs": {"component": COMPONENT},
}
"""What we write, as the schema of CycloneDX 1.6 has it (its own file is in no package that is installed here)."""

PERMISSIVE = {
    *("MIT", "MIT-0", "MIT-CMU", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib", "PSF-2.0"),
    *("CC0-1.0", "CNRI-Python", "LLVM-exception", "Unlicense", "MPL-2.0"),
    "BSL-1.0",  # Boost; the Business Source License is BUSL-1.1
    *("MIT License", "BSD License", "BSD", "3-Clause BSD License", "ISC License"),
    *("Apache", "Apache 2.0", "Apache 2.0 License", "Apache Software License"),
}
FOR_EXTRAS = {"LGPL-3.0-only"}
"""Of what a user installs for an extra, and we do not ship: psycopg."""


def refused(parts: tuple[Part, ...]) -> dict[str, str]:
    """The parts with a licence that is not on the list, and that licence."""
    return {
        part.name: part.licence
        for part in parts
        if not part.licence
        or not set(identifiers(part.licence)) <= PERMISSIVE | (FOR_EXTRAS if part.is_optional else set())
    }


@pytest.fixture(scope="module")
def parts() -> tuple[Part, ...]:
    return installed_parts()


STARTERS = {"distutils-precedence.pth", "_editable_impl_tunesmith.pth", "beside.pth"}
"""What may run or change the search path whenever Python starts: setuptools', our own source, .venv/extras' .venv."""


def test_nothing_unknown_runs_when_python_starts(tmp_path: Path) -> None:
    assert starters(map(Path, site.getsitepackages())) - STARTERS == set()
    for name in ("litellm_init.pth", "sitecustomize.py"):
        (tmp_path / name).touch()
    assert starters([tmp_path]) == {"litellm_init.pth", "sitecustomize.py"}


def starters(places: Iterable[Path]) -> set[str]:
    return {path.name for place in places for kind in ("*.pth", "*customize.py") for path in place.glob(kind)}


def refs(bill: dict[str, Any]) -> list[str]:
    top = [bill["metadata"]["component"], *bill["components"]]
    return [one["bom-ref"] for part in top for one in (part, *part.get("components", ()))]


def test_every_dependency_has_a_licence_that_is_allowed(parts: tuple[Part, ...]) -> None:
    assert refused(parts) == {}


@pytest.mark.parametrize(
    "licence",
    ["BUSL-1.1", "SSPL-1.0", "AGPL-3.0-only", "GPL-3.0-or-later", "MIT AND SSPL-1.0", "Other/Proprietary", ""],
)
def test_other_licences_are_refused_by_name(licence: str) -> None:
    assert refused((Part("strange", "1", licence, False, ()), Part("fine", "1", "MIT", False, ()))) == {
        "strange": licence
    }


def test_what_is_for_an_extra_may_be_under_the_lesser_licence_and_the_rest_not() -> None:
    assert refused((Part("a", "1", "LGPL-3.0-only", True, ()), Part("b", "1", "LGPL-3.0-only", False, ()))) == {
        "b": "LGPL-3.0-only"
    }


def test_what_runs_is_listed_and_what_needs_it(parts: tuple[Part, ...]) -> None:
    known = {part.name: part for part in parts}
    assert known["torch"].version == version("torch")
    assert {"torch", "pydantic", "cryptography", "pyjwt"} <= set(known["tunesmith"].needs)
    assert "cryptography" in known["pyjwt"].needs, "what an extra of a package needs, where it is asked for"
    assert "pydantic-core" in known["pydantic"].needs
    assert not known["pydantic-core"].is_optional
    assert not {"pytest", "ruff", "mypy"} & set(known), "what only builds and tests does not run"
    assert all(set(part.needs) <= set(known) for part in parts)
    bill = bill_of_materials(parts=parts)
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(needs) == set(refs(bill))
    torch = f"pkg:pypi/torch@{version('torch').replace('+', '%2B')}"
    assert torch in needs[bill["metadata"]["component"]["bom-ref"]]


@pytest.mark.parametrize("with_model", [False, True])
def test_a_bill_has_the_form_of_cyclonedx(with_model: bool, parts: tuple[Part, ...], finished_run: Path) -> None:
    bill = bill_of_materials(finished_run / "artifact" if with_model else None, parts)
    jsonschema.Draft7Validator(SCHEMA).validate(json.loads(json.dumps(bill)))
    assert len(refs(bill)) == len(set(refs(bill)))
    used = {one for entry in bill["dependencies"] for one in (entry["ref"], *entry["dependsOn"])}
    assert used <= set(refs(bill))
    assert bill["serialNumber"] != bill_of_materials(parts=parts)["serialNumber"]


def test_a_model_is_listed_with_each_file_and_its_base(parts: tuple[Part, ...], finished_run: Path) -> None:
    artifact = finished_run / "artifact"
    model = bill_of_materials(artifact, parts)["components"][-1]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"][0]["content"] == file_hash(artifact / MANIFEST)
    listed = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert listed == {path.name: file_hash(path) for path in artifact.iterdir()}
    (base,) = model["pedigree"]["ancestors"]
    assert base["description"] == read_description(artifact)["base_model"]
    assert re.search(r"[0-9a-f]{64}", base["description"])[0] == base["hashes"][0]["content"]  # type: ignore[index]
    assert "licenses" not in base, "a folder of one's own has none that is known"


def test_the_base_model_of_the_catalogue_has_its_licence(
    parts: tuple[Part, ...], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {**read_description(finished_run / "artifact"), "model_name": "roberta-base"}
    monkeypatch.setattr("tunesmith.sbom.verify", lambda folder: told)
    (base,) = bill_of_materials(finished_run / "artifact", parts)["components"][-1]["pedigree"]["ancestors"]
    assert base["licenses"] == [{"expression": "MIT"}]
    assert base["externalReferences"][0]["url"].endswith("FacebookAI/roberta-base")


def test_a_licence_is_read_from_wherever_it_is_stated() -> None:
    def stated(**fields: str) -> str:
        message = Message()
        for key, value in fields.items():
            message[key.replace("_", "-")] = value
        return licence_of(message)

    assert stated(License_Expression="MIT", License="BSD") == "MIT"
    assert (
        stated(License="Copyright (c) 2001\n" * 9, Classifier="License :: OSI Approved :: BSD License") == "BSD License"
    )
    assert stated(License="UNKNOWN", Classifier="Topic :: Software") == ""
    assert is_expression("Apache-2.0 WITH LLVM-exception AND (MIT OR 0BSD)")
    assert not is_expression("3-Clause BSD License")


def test_the_verb_writes_a_file_and_refuses_what_is_no_artifact(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*arguments: object) -> int:
        return cli.guarded(lambda: cli.app(["sbom", *map(str, arguments)], standalone_mode=False))

    out = tmp_path / "parts.json"
    assert asked(finished_run / "artifact", "--out", out) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["components"][-1]["type"] == "machine-learning-model"
    written = out.read_bytes()
    for wrong in (
        [finished_run / "artifact", "--out", out],
        [tmp_path / "no"],
        [finished_run, "--out", tmp_path / "b"],
    ):
        capsys.readouterr()
        assert asked(*wrong) == 2
        assert 2 <= len(capsys.readouterr().err.splitlines()) <= 6
    assert out.read_bytes() == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.json"]
    assert asked() == 0
    assert json.loads(capsys.readouterr().out)["bomFormat"] == "CycloneDX"
