"""Guards in files: as they are asked for (YAML), and as they were fitted for one artifact (JSON)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunesmith.components import build, name_of, settings_of
from tunesmith.errors import ArtifactError, RecipeError, nearest_file
from tunesmith.guarding import GUARDS, Guard, Toxicity
from tunesmith.guarding.guards import check_order
from tunesmith.recipes import read_recipe
from tunesmith.writing import written

FORMAT = 1
NAME = "guards.json"
MANIFEST = "manifest.json"
"""The artifact's, as `inference.artifact` names it, which a service's front must not need: that imports torch."""
_KEYS = ("guards", "format", "artifact_sha256", "figures")


@dataclass(frozen=True)
class Saved:
    """Guards, the artifact that they were fitted on (empty for none), and what was found in fitting, by guard."""

    members: tuple[Guard, ...]
    artifact_sha256: str = ""
    figures: tuple[Mapping[str, float], ...] = field(default=())

    def check_fits(self, artifact: Path) -> None:
        """See that the guards were fitted on this artifact, if on any.

        Raises:
            ArtifactError: they were fitted on another.
        """
        if self.artifact_sha256 and self.artifact_sha256 != fingerprint_of(artifact):
            raise ArtifactError(
                "These guards were fitted on another artifact, so their limits do not hold here.",
                where=str(artifact),
                to_do="Fit them again: tunesmith guard fit ARTIFACT --guards FILE.",
            )


def fingerprint_of(artifact: Path) -> str:
    """What tells an artifact from others: the sha256 of its manifest, which holds those of its files.

    Raises:
        ArtifactError: it has none.
    """
    if not (artifact / MANIFEST).is_file():
        raise ArtifactError(
            "This is no artifact: it has no manifest.",
            where=str(artifact),
            to_do="Give the 'artifact' folder that 'tunesmith run' wrote.",
        )
    with (artifact / MANIFEST).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_guards(path: Path) -> Saved:
    """The guards of a file: a list under `guards`, each a name with its settings. YAML, or JSON where it ends so.

    The folder of a further model is taken from the file's own folder.

    Raises:
        RecipeError: the file cannot be read, or a guard or a setting is unknown.
    """
    given = _read_json(path) if path.suffix == ".json" else read_recipe(path, "file of guards")
    if strange := sorted(set(given) - set(_KEYS)):
        raise RecipeError(f"Unknown key '{strange[0]}'.", where=str(path), to_do="Put the guards under 'guards'.")
    if given.get("format", FORMAT) != FORMAT:
        raise RecipeError(
            f"The guards have format {given['format']}; this version reads {FORMAT}.",
            where=str(path),
            to_do="Fit them again with this version.",
        )
    rows = given.get("guards")
    if not isinstance(rows, list):
        raise RecipeError("There is no list of guards.", where=str(path), to_do="Write 'guards:' and '- name: size'.")
    members = [_guard(row, f"guards.{place}", path.parent) for place, row in enumerate(rows)]
    check_order(members)
    figures = given.get("figures", [])
    return Saved(
        tuple(members), str(given.get("artifact_sha256", "")), tuple(figures) if isinstance(figures, list) else ()
    )


def write_guards(folder: Path, saved: Saved) -> Path:
    """Write fitted guards as guards.json into a folder, which is made, and return the file.

    Raises:
        ResourceError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for guard in saved.members:
        settings = settings_of(guard)
        if isinstance(guard, Toxicity):
            settings["artifact"] = os.path.relpath(guard.artifact, folder)
        rows.append({"name": name_of(GUARDS, guard), **settings})
    with written(folder / NAME) as file:
        json.dump(
            {
                "format": FORMAT,
                "artifact_sha256": saved.artifact_sha256,
                "guards": rows,
                "figures": [dict(found) for found in saved.figures],
            },
            file,
            ensure_ascii=False,
        )
    return folder / NAME


def _guard(row: object, where: str, folder: Path) -> Guard:
    if not isinstance(row, str | Mapping):
        raise RecipeError("A guard needs a name.", where=where, to_do=f"Write '- name:', one of {', '.join(GUARDS)}.")
    guard: Guard = build(GUARDS, row, where)
    if isinstance(guard, Toxicity):
        return replace(guard, artifact=str((folder / guard.artifact).resolve()))
    return guard


def _read_json(path: Path) -> Mapping[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            f"The file of guards does not exist.{nearest_file(path)}",
            where=str(path),
            to_do="Correct the path; 'tunesmith guard fit' writes guards.json.",
        ) from error
    except (OSError, ValueError) as error:
        raise RecipeError(
            "The file of guards is not readable JSON.",
            where=str(path),
            to_do="Give the guards.json that 'tunesmith guard fit' wrote, or a YAML file.",
        ) from error
    if not isinstance(value, dict):
        raise RecipeError("The file of guards holds no keys.", where=str(path), to_do="Fit the guards again.")
    return value


def names_of(members: Sequence[Guard]) -> list[str]:
    """The names of guards."""
    return [name_of(GUARDS, one) for one in members]
