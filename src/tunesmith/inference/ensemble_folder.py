"""An ensemble as a folder: its members' artifacts, whole, and what says how their answers become one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import (
    DESCRIPTION,
    file_hash,
    need_space,
    seal,
    task_of,
    verify,
)
from tunesmith.inference.ensemble import Combination, check_combinable
from tunesmith.inference.folder import read_json
from tunesmith.inference.forms import Served, read_form
from tunesmith.inference.held_texts import HELD_TEXTS, held_in
from tunesmith.writing import refused

MEMBERS = "members"
_TOKENIZER = "tokenizer.json"
_ALIKE = {"schema_sha256": "labels", "prefix": "prefix", "max_length": "window"}


def save_ensemble(folder: Path, artifacts: Sequence[Path], by: Combination) -> None:
    """Write an ensemble of these artifacts, which are copied into it; `check_members` has seen that they fit.

    It says of itself what its first member says, and has that one's recipe.

    Raises:
        ResourceError: the disk is full or cannot be written; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    size = sum(path.stat().st_size for artifact in artifacts for path in artifact.iterdir())
    need_space(folder.parent, size + (16 << 20))
    with (
        refused(folder, to_do="Choose another --out folder."),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".artifact-") as temporary,
    ):
        draft = Path(temporary) / "artifact"
        for number, artifact in enumerate(artifacts, 1):
            shutil.copytree(artifact, draft / MEMBERS / str(number))
        first = json.loads((artifacts[0] / DESCRIPTION).read_text(encoding="utf-8"))
        held = {text for artifact in artifacts for text in held_in(read_json(artifact / DESCRIPTION))}
        told = {**first, "ensemble": {"by": by, "members": len(artifacts)}, HELD_TEXTS: sorted(held)}
        (draft / DESCRIPTION).write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        shutil.copy(artifacts[0] / "recipe.yaml", draft / "recipe.yaml")
        seal(draft)
        draft.replace(folder)


def load_members(
    folder: Path, *, labels: tuple[str, ...] = (), backend: str = ""
) -> tuple[list[Served], Combination | None]:
    """The model of an artifact, or those of an ensemble's members and how their answers become one.

    `backend` names the form in which they answer; each its own where it is empty.
    """
    description = verify(folder)
    if "ensemble" not in description:
        return [read_form(folder, description, labels=labels, backend=backend)], None
    folders = member_folders(folder, description)
    by = cast("Mapping[str, Combination]", description["ensemble"])["by"]
    members = [read_form(place, verify(place), labels=labels, backend=backend) for place in folders]
    check_members(folders, by)
    return members, by


def member_folders(folder: Path, description: Mapping[str, object]) -> list[Path]:
    """The folders of an ensemble's members; the folder itself of another artifact."""
    if "ensemble" not in description:
        return [folder]
    told = description["ensemble"]
    count = told.get("members") if isinstance(told, Mapping) else None
    if not isinstance(count, int) or count < 2 or told["by"] not in get_args(Combination):  # type: ignore[index]
        raise ArtifactError(
            "What the ensemble says of its members cannot be read.",
            where=str(folder / DESCRIPTION),
            to_do="Make it again with 'tunesmith ensemble'.",
        )
    return [folder / MEMBERS / str(number) for number in range(1, count + 1)]


def check_members(artifacts: Sequence[Path], by: Combination) -> None:
    """See that artifacts can answer as one.

    Raises:
        ArtifactError: an artifact is damaged or is an ensemble itself, labels, windows or tokenizers differ, or answers
            cannot be combined in this way.
    """
    told = [verify(artifact) for artifact in artifacts]
    for artifact, description in zip(artifacts, told, strict=True):
        if "ensemble" in description:
            raise ArtifactError(
                "An ensemble cannot be a member of another.", where=str(artifact), to_do="Name its members' runs."
            )
        for key, what in _ALIKE.items():
            if description[key] != told[0][key]:
                shown = description["labels"] if key == "schema_sha256" else description[key]
                raise _differ(what, f"this one has {shown}", artifact)
        tokenizers = {file_hash(path) for path in (one / _TOKENIZER for one in (artifacts[0], artifact))}
        if len(tokenizers) > 1:
            raise _differ("tokenizer", f"its {_TOKENIZER} is another one", artifact)
    tasks = [(str(place), task_of(one, place)) for place, one in zip(artifacts, told, strict=True)]
    check_combinable(tasks, by)


def _differ(what: str, how: str, artifact: Path) -> ArtifactError:
    return ArtifactError(
        f"The runs differ in their {what}: {how}.",
        where=str(artifact),
        to_do="Combine runs of one recipe that differ in their seed, their fold or how they learnt.",
    )
