"""A bill of materials (SBOM): what runs, and what a model is made of, as CycloneDX 1.6 in JSON."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import MANIFEST, file_hash, verify
from tunesmith.inference.folder import read_json
from tunesmith.inference.held_texts import texts_in
from tunesmith.models.catalogue import MODELS
from tunesmith.parts import OURSELVES, Part, installed_parts, is_expression
from tunesmith.recipes import read_recipe

SPECIFICATION = "1.6"
_SHA256 = re.compile(r"sha256 ([0-9a-f]{64})")
Plain = dict[str, Any]


def bill_of_materials(artifact: Path | None = None, parts: Sequence[Part] | None = None) -> Plain:
    """The bill of this environment, and of an artifact's model where one is given.

    Raises:
        ArtifactError: the artifact is damaged or none.
    """
    known = installed_parts() if parts is None else tuple(parts)
    ours = next(part for part in known if part.name == OURSELVES)
    components = [_library(part) for part in known if part is not ours]
    needs = [{"ref": _ref(part), "dependsOn": [_ref(one) for one in known if one.name in part.needs]} for part in known]
    root = {**_library(ours), "type": "application"}
    if artifact is not None:
        model = _model(artifact)
        components.append(model)
        needs.append({"ref": model["bom-ref"], "dependsOn": [root["bom-ref"]]})
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "lifecycles": [{"phase": "operations"}],
            "component": root,
        },
        "components": components,
        "dependencies": needs,
    }


def _ref(part: Part) -> str:
    """The package URL, by which other tools look a part up in lists of weaknesses."""
    return f"pkg:pypi/{part.name}@{part.version.replace('+', '%2B')}"


def _library(part: Part) -> Plain:
    return {
        "type": "library",
        "bom-ref": _ref(part),
        "name": part.name,
        "version": part.version,
        "purl": _ref(part),
        "scope": "optional" if part.is_optional else "required",
        **_licences(part.licence),
    }


def _licences(said: str) -> Plain:
    if not said:
        return {}
    return {"licenses": [{"expression": said} if is_expression(said) else {"license": {"name": said}}]}


def _model(artifact: Path) -> Plain:
    """The model of an artifact: each of its files by its sha256, and the model that it was made of."""
    description = verify(artifact)
    digest = file_hash(artifact / MANIFEST)
    files = {**{name: str(one) for name, one in read_json(artifact / MANIFEST).items()}, MANIFEST: digest}
    task = description["task"]
    assert isinstance(task, dict)
    ref = f"model:{digest}"
    told = {"task": task["name"], "labels": len(task.get("labels") or ()), "seed": description.get("seed")}
    told |= {"holds texts": held} if (held := texts_in(description)) else {}
    told |= {f"fingerprint of {name}": one for name, one in _mapping(description.get("data_fingerprints")).items()}
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": _name_of(artifact),
        "version": digest[:12],
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "modelCard": {"modelParameters": {"task": str(task["name"]).replace("_", "-")}},
        "pedigree": {"ancestors": [_base(description, ref)]},
        "properties": [{"name": f"tunesmith:{name}", "value": str(value)} for name, value in told.items()],
        "components": [
            {
                "type": "file",
                "bom-ref": f"{ref}/{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": one}],
            }
            for name, one in sorted(files.items())
        ],
    }


def _base(description: Plain | Any, ref: str) -> Plain:
    """The model that this one was made of, with its weights' sha256 and its licence where these are known."""
    name, identity = str(description.get("model_name") or ""), str(description["base_model"])
    entry, found = MODELS.get(name), _SHA256.search(identity)
    place = {"externalReferences": [_page(entry.hub_id)]} if entry and entry.hub_id else {}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"{ref}#base",
        "name": Path(name).name or identity,
        "description": identity,
        **({"hashes": [{"alg": "SHA-256", "content": found[1]}]} if found else {}),
        **(_licences(entry.licence) if entry else {}),
        **place,
    }


def _page(hub_id: str) -> Plain:
    return {"type": "distribution", "url": f"https://huggingface.co/{hub_id}"}


def _mapping(value: object) -> Plain:
    return value if isinstance(value, dict) else {}


def _name_of(artifact: Path) -> str:
    told = read_recipe(artifact / "recipe.yaml").get("name")
    if not told:
        raise ArtifactError("The recipe of the artifact has no name.", where=str(artifact / "recipe.yaml"))
    return str(told)


def as_json(bill: Plain) -> str:
    """The bill as a file has it."""
    return json.dumps(bill, ensure_ascii=False, indent=2) + "\n"
