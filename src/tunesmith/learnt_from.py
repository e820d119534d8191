"""What an artifact learnt from: the recipe of its run, and which texts this one trained on or chose by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Splits
from tunesmith.data.splits import fingerprint
from tunesmith.errors import ArtifactError, TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import add_file, read_description
from tunesmith.inference.ensemble_folder import member_folders
from tunesmith.inference.folder import read_json
from tunesmith.recipes import read_recipe
from tunesmith.redacted_data import load_data
from tunesmith.tasks import Task

USED = ("train", "validation", "unlabelled")
"""What a model may have learnt from or been chosen by."""
SOURCES = "sources.json"
"""Where an artifact that was made of several runs, and holds none of them, has their recipes and fingerprints."""


@dataclass(frozen=True)
class Source:
    """The recipe of a run and the fingerprints of its data."""

    experiment: Experiment
    fingerprints: Mapping[str, str]

    @classmethod
    def of(cls, artifact: Path) -> Source:
        """What the artifact of a run says of its data."""
        fingerprints = read_description(artifact)["data_fingerprints"]
        assert isinstance(fingerprints, Mapping)
        return cls(Experiment.from_yaml(artifact / "recipe.yaml"), fingerprints)

    def splits(self, task: Task) -> Splits:
        """The splits of the recipe, read again for a task like its own."""
        return load_data(self.experiment.data, task, self.experiment.seed).splits

    def learnt(self, task: Task, parts: Sequence[str] = USED) -> frozenset[int] | None:
        """The keys of the texts that were trained on or chosen by, or of some parts of these.

        None where they cannot be read any more, or are others now.
        """
        try:
            read = self.splits(task)
        except TunesmithError:
            return None
        splits = {**read.named(), "unlabelled": read.unlabelled}
        used = {name: splits.get(name, ()) for name in parts if name in self.fingerprints}
        if any(fingerprint(examples) != self.fingerprints[name] for name, examples in used.items()):
            return None
        return frozenset(text_key(example.content) for examples in used.values() for example in examples)


def sources_of(folder: Path) -> tuple[Source, ...]:
    """What an artifact was made from: of an ensemble what each member was, of a soup what each run was that went in.

    Raises:
        ArtifactError: what it says of its runs cannot be read.
    """
    if (folder / SOURCES).is_file():
        return tuple(_source(told, folder / SOURCES) for told in (read_json(folder / SOURCES) or {"": None}).values())
    return tuple(Source.of(place) for place in member_folders(folder, read_description(folder)))


def note_sources(folder: Path, artifacts: Sequence[Path]) -> None:
    """Write into an artifact which runs it was made of, the best one first."""
    told = {
        str(number): {
            "recipe": read_recipe(artifact / "recipe.yaml"),
            "data_fingerprints": read_description(artifact)["data_fingerprints"],
        }
        for number, artifact in enumerate(artifacts, 1)
    }
    add_file(folder, SOURCES, json.dumps(told, ensure_ascii=False, indent=2) + "\n")


def _source(told: object, path: Path) -> Source:
    if isinstance(told, Mapping):
        recipe, fingerprints = told.get("recipe"), told.get("data_fingerprints")
        if isinstance(recipe, Mapping) and isinstance(fingerprints, Mapping):
            return Source(Experiment.from_mapping(recipe), fingerprints)
    raise ArtifactError(
        "It does not say of which runs the artifact was made.", where=str(path), to_do="Make the artifact again."
    )


def learnt_by(sources: Sequence[Source], task: Task, parts: Sequence[str] = USED) -> frozenset[int] | None:
    """The keys of the texts that any of these was trained on or chosen by; None where some cannot be read any more."""
    known = [source.learnt(task, parts) for source in sources]
    return None if None in known else frozenset().union(*(keys for keys in known if keys is not None))
