"""Which version of a model answers: the champion, a canary by share, a shadow beside; switched between two requests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.access.names import check_name
from tunesmith.access.refusals import RefusedError
from tunesmith.access.tokenizer_check import check_tokenizer
from tunesmith.components import name_of
from tunesmith.inference.adapters import base_of
from tunesmith.inference.artifact import MANIFEST, TORCH, file_hash, task_of, verify
from tunesmith.inference.ensemble_folder import member_folders
from tunesmith.inference.learnt_golden import Receipt, receipts_in
from tunesmith.inference.signed import see_signed
from tunesmith.service.engine import ServiceError, Slot
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.tokens import TokenCounter
from tunesmith.tasks import TASKS

SHORT = 12
"""Characters of a version's sha256 by which it is named."""


@dataclass(frozen=True, slots=True)
class Version:
    """One artifact that is served, and what the front must know of it.

    Attributes:
        model: the name under which it is asked.
        id: the beginning of its sha256.
        sha256: the digest of the artifact's manifest, and so of every file.
        slot: what engines call it, and where it lies.
        task: the task's name.
        label_kind: the form of its answers.
        inputs: the fields that a question must have.
        labels: its labels; empty where answers are free.
        schema: the hash of what its answers mean.
        form: how the model is held.
        width: tokens that it reads at once.
        counter: counts tokens.
        base: what tells the base model of its adapter from others; empty where it has to be held whole.
        base_name: that model's name.
        learnt: which golden examples it learnt from, by file, where that was noted.
        size: the bytes of its largest file, of each member's where it is an ensemble: about what its weights take.
    """

    model: str
    id: str
    sha256: str
    slot: Slot
    task: str
    label_kind: str
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    schema: str
    form: str
    width: int
    counter: TokenCounter
    base: str = ""
    base_name: str = ""
    size: int = 0
    learnt: tuple[Receipt, ...] = ()

    @property
    def plain(self) -> dict[str, object]:
        """What clients may know of it."""
        return {
            "version": self.id,
            "sha256": self.sha256,
            "task": self.task,
            "label_kind": self.label_kind,
            "inputs": list(self.inputs),
            "labels": list(self.labels),
            "form": self.form,
            "max_length": self.width,
            "held": "beside its base" if self.slot.base else "whole",
        }


def read_version(folder: Path, *, name: str = "", backend: str = "", trusted: TrustedKeys | None = None) -> Version:
    """What an artifact is, after it was verified; where keys are trusted, one of these must have signed it.

    The digest of the manifest that was signed goes to whoever loads the version, and nothing else is loaded there.

    Raises:
        ArtifactError: it is damaged, or was changed.
        UntrustedError: no trusted key has signed it.
        ServiceError: its name cannot be one of a served model.
    """
    description = verify(folder)
    sha256 = file_hash(folder / MANIFEST) if trusted is None else see_signed(folder, trusted)[0]
    task = task_of(description, folder)
    members = member_folders(folder, description)
    first = members[0]
    model = name or recipe_name(folder)
    try:
        check_name(model)
    except RefusedError as error:
        raise ServiceError(
            f"'{model}' cannot be the name of a served model.",
            where=str(folder),
            to_do="Give one with a-z, 0-9, '.', '_' and '-', as in: tunesmith serve my-model=path/to/artifact",
        ) from error
    check_tokenizer(first)
    form = "ensemble" if "ensemble" in description else backend or str(description.get("form", TORCH))
    return Version(
        model=model,
        id=sha256[:SHORT],
        sha256=sha256,
        slot=Slot(f"{model}@{sha256[:SHORT]}" + (f":{backend}" if backend else ""), folder.resolve(), backend, sha256),
        task=name_of(TASKS, task),
        label_kind=task.label_kind,
        inputs=tuple(task.inputs),
        labels=tuple(task.labels),
        schema=str(description["schema_sha256"]),
        form=form,
        width=int(str(description["max_length"])),
        counter=TokenCounter(first / "tokenizer.json"),
        base=base_of(description, task) if form == TORCH else "",
        base_name=str(description.get("model_name", "")),
        size=sum(max(file.stat().st_size for file in one.iterdir()) for one in members),
        learnt=receipts_in(folder),
    )


def recipe_name(folder: Path) -> str:
    """The name that an artifact's recipe has, as names of served models are written."""
    try:
        recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        recipe = {}
    told = recipe.get("name", "") if isinstance(recipe, Mapping) else ""
    return re.sub(r"[^a-z0-9._-]+", "-", str(told).lower()).strip("-._")[:64] or "model"


@dataclass(slots=True)
class Served:
    """What answers under one name.

    Attributes:
        champion: answers, but for the canary's share.
        canary: answers that share of the requests; None for none.
        share: that share, in [0, 1].
        shadow: is asked beside and never answers; None for none.
        previous: what the champion replaced, for rolling back.
        held: every version that is loaded, by its id.
        asked: how many requests are with each version now.
    """

    champion: Version
    canary: Version | None = None
    share: float = 0.0
    shadow: Version | None = None
    previous: Version | None = None
    held: dict[str, Version] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def chosen(self, key: str, version: str = "") -> Version:
        """Who answers a request: the version it names, else champion or canary, always the same for one key.

        Raises:
            NoAnswerError: it names a version that is not loaded.
        """
        if version:
            if version not in self.held:
                raise NoAnswerError("unknown_version")
            return self.held[version]
        if self.canary is None or not self.share:
            return self.champion
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        return self.canary if drawn < self.share else self.champion

    def share_of(self, version: Version) -> float:
        """The share of the requests that name no version which a version answers."""
        share = self.share if self.canary is not None else 0.0
        return share * (version is self.canary) + (1.0 - share) * (version is self.champion)

    @contextmanager
    def holding(self, version: Version) -> Iterator[None]:
        """A request is with a version, which is not let go meanwhile."""
        self.asked[version.id] = self.asked.get(version.id, 0) + 1
        try:
            yield
        finally:
            self.asked[version.id] -= 1

    @property
    def used(self) -> set[str]:
        """The ids of the versions that a request may still come to."""
        roles = (self.champion, self.canary, self.shadow, self.previous)
        return {version.id for version in roles if version is not None}

    @property
    def roles(self) -> dict[str, Any]:
        """Which version has which part."""
        return {
            "champion": self.champion.id,
            "canary": self.canary and self.canary.id,
            "canary_share": self.share if self.canary else None,
            "shadow": self.shadow and self.shadow.id,
            "previous": self.previous and self.previous.id,
        }

    @property
    def plain(self) -> dict[str, object]:
        """What clients may know of it."""
        return {**self.champion.plain, "roles": self.roles, "versions": sorted(self.held)}


class Registry:
    """All that is served, by name.

    Attributes:
        beside: models that no client may ask, only guards.
    """

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self.beside: list[Version] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order in which they came."""
        return tuple(self._served)

    def __getitem__(self, name: str) -> Served:
        if name not in self._served:
            raise NoAnswerError("unknown_model")
        return self._served[name]

    def add(self, version: Version) -> None:
        """Serve a model under a name that is new."""
        if version.model in self._served:
            raise ServiceError(
                f"Two models would be served as '{version.model}'.",
                where=str(version.slot.folder),
                to_do="Name one of them, as in: tunesmith serve first=path other=path",
            )
        self._served[version.model] = Served(version, held={version.id: version})

    def versions(self) -> Sequence[Version]:
        """Every version that is loaded."""
        return [*self.beside, *(version for served in self._served.values() for version in served.held.values())]

    def by_slot(self, slot: str) -> Version:
        """The version that engines know by this name."""
        return next(version for version in self.versions() if version.slot.name == slot)

    def plain(self) -> dict[str, object]:
        """What clients may know of all."""
        return {name: cast(object, served.plain) for name, served in self._served.items()}
