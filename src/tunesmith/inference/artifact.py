"""A trained predictor as a folder: weights, tokenizer, task, recipe, report, and a manifest against changes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.components import build, name_of, settings_of
from tunesmith.errors import ArtifactError, ResourceError, TunesmithError
from tunesmith.inference.folder import could_run_code, names_in, no_artifact, read_json
from tunesmith.inference.held_texts import HELD_TEXTS, held_texts
from tunesmith.methods import METHODS
from tunesmith.models.backbone import load_saved, save_tokenizer
from tunesmith.models.model import Model
from tunesmith.models.quantization import Quantization
from tunesmith.models.shapes import shape_of
from tunesmith.models.weight_only import Held, held_as, hold_weights
from tunesmith.tasks import TASKS, Task
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.writing import refused

FORMAT = 1
WEIGHTS = "model.safetensors"
ADAPTER = "adapter.safetensors"
DESCRIPTION = "artifact.json"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
TORCH, FORMS, SOURCE = "torch", "forms", "weights_of"
"""The form where none is named; the keys of what is said of others (`inference/forms.py`), and of the whole weights."""
_KEYS = ("task", "schema_sha256", "pooling", "prefix", "max_length", "data_fingerprints")
_COPY = "Copy the artifact again from where it was made."


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an artifact holds, ready to use, with its description as it was written."""

    model: Model
    task: Task
    encoder: TextEncoder
    description: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an artifact comes from: its recipe, the data's fingerprints, the base model and the versions used.

    `adapter` holds what the method learnt before it was merged, for several of one base model; None without one.
    `quantized` says in what form the base model was held while it learnt; empty for float32.
    `redacted` says how personal data was taken out of the texts that it learnt from; empty if it was not.
    """

    recipe: str
    fingerprints: Mapping[str, str]
    base_model: str
    versions: Mapping[str, str]
    seed: int
    method: Mapping[str, object] = field(default_factory=dict)
    model_name: str = ""
    adapter: Mapping[str, Tensor] | None = None
    quantized: Quantization | Literal[""] = ""
    redacted: Mapping[str, object] = field(default_factory=dict)


def origin_of(description: Mapping[str, object], recipe: str) -> Origin:
    """Where an artifact came from, for one that is made of its weights by this recipe; no adapter outlives that."""
    told = cast("Mapping[str, Any]", description)
    return Origin(
        recipe,
        told["data_fingerprints"],
        told["base_model"],
        told["versions"],
        told["seed"],
        told["method"],
        told["model_name"],
        None,
        told["quantized"],
        told.get("redacted", {}),
    )


def schema_hash(task: Task) -> str:
    """The sha256 of what the answers mean: the task's name, its kind of label and its labels in order."""
    schema = json.dumps([name_of(TASKS, task), task.label_kind, list(task.labels)], ensure_ascii=False)
    return hashlib.sha256(schema.encode()).hexdigest()


def save_artifact(folder: Path, model: Model, task: Task, encoder: TextEncoder, origin: Origin, prefix: str) -> None:
    """Write an artifact beside its final place and move it there in one step.

    Raises:
        ResourceError: the disk is full; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    need_space(folder.parent, sum(tensor.nbytes for tensor in without_shared(model).values()) + (16 << 20))
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".artifact-") as temporary:
        draft = Path(temporary) / "artifact"
        draft.mkdir()
        try:
            save_file(without_shared(model), draft / WEIGHTS)
            if origin.adapter is not None:
                save_file({name: tensor.contiguous() for name, tensor in origin.adapter.items()}, draft / ADAPTER)
            model.config.save_pretrained(draft)
            save_tokenizer(encoder.tokenizer, draft)
            (draft / "recipe.yaml").write_text(origin.recipe, encoding="utf-8")
            _write_json(draft / DESCRIPTION, _describe(model, task, encoder, origin, prefix))
            seal(draft)
        except (OSError, SafetensorError) as error:
            raise ResourceError(
                f"The artifact could not be written: {error}.",
                where=str(folder),
                to_do="Free disk space and run: tunesmith resume.",
            ) from error
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)


def without_shared(model: Model) -> dict[str, Tensor]:
    """The model's tensors by name, each once: an output layer may share the word embeddings' weights."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            kept[name] = tensor.detach().contiguous()
    return kept


def with_shared(weights: Mapping[str, Tensor], model: Model) -> dict[str, Tensor]:
    """The tensors with those that `without_shared` left out, under each name that the model has for them."""
    full = dict(weights)
    known = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items() if name in weights}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in full and id(tensor) in known:
            full[name] = weights[known[id(tensor)]]
    return full


def need_space(folder: Path, size: int) -> None:
    """Raise a ResourceError when `folder`'s disk has fewer than `size` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ResourceError(
            f"{size / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free.",
            where=str(folder),
            to_do="Free disk space, or choose another --out folder.",
        )


def seal(folder: Path) -> None:
    """Write the manifest: the sha256 of every file, also of those in the folders of an ensemble's members."""
    (folder / SIGNATURE).unlink(missing_ok=True)  # it would not hold for this manifest
    _write_json(
        folder / MANIFEST,
        {name: file_hash(folder / name) for name in sorted(names_in(folder)) if name != MANIFEST},
    )


def add_file(folder: Path, name: str, content: str) -> None:
    """Add a text file (the report) to an artifact and seal it again."""
    with refused(folder / name):
        (folder / name).write_text(content, encoding="utf-8")
        seal(folder)


def file_hash(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_artifact(folder: Path, *, labels: tuple[str, ...] = ()) -> Loaded:
    """Read an artifact after verifying it; see `Predictor.load`."""
    return read_artifact(folder, verify(folder), labels=labels)


def read_artifact(folder: Path, description: Mapping[str, object], *, labels: tuple[str, ...] = ()) -> Loaded:
    """Read an artifact that was verified, in torch's form.

    Raises:
        ArtifactError: it has other labels or no weights for torch, or these do not fit.
    """
    task = task_for(description, folder, labels)
    need_torch(folder, description)
    backbone = load_saved(folder, pooling=str(description["pooling"]), kind=task.body)
    model = Model(backbone, task)
    if method := description.get("method"):
        build(METHODS, cast("dict[str, object]", method), "method").apply(model)
    if held := description.get("weights"):
        hold_weights(backbone.module, cast("Held", held))
    try:
        model.load_state_dict(with_shared(load_file(folder / WEIGHTS), model))
    except (RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            "The weights do not fit the model they stand for.",
            where=str(folder / WEIGHTS),
            to_do="Use an artifact written by 'tunesmith run'.",
        ) from error
    encoder = TextEncoder.of(backbone.tokenizer, int(str(description["max_length"])), str(description["prefix"]))
    return Loaded(model.eval(), task, encoder, description)


def need_torch(folder: Path, description: Mapping[str, object]) -> None:
    """See that an artifact holds torch's weights.

    Raises:
        ArtifactError: it holds another form only, or is an ensemble.
    """
    if (folder / WEIGHTS).is_file():
        return
    what = f"Its model is in the form {description.get('form', '?')} only; this needs torch's weights."
    to_do = "Use the artifact that it was exported from."
    if "ensemble" in description:
        what = "It is an ensemble, whose members hold the weights; this needs those of one model."
        to_do = "Use one of the runs that it was made of, or their copies in its folder 'members'."
    raise ArtifactError(what, where=str(folder), to_do=to_do)


def task_for(description: Mapping[str, object], folder: Path, labels: tuple[str, ...]) -> Task:
    """The artifact's task, which must have the labels that the caller expects, if any.

    Raises:
        ArtifactError: it has others, or cannot be read.
    """
    task = task_of(description, folder)
    if labels and set(labels) != set(task.labels):
        strange = sorted(set(labels) ^ set(task.labels))
        raise ArtifactError(
            f"The artifact has another label schema: {', '.join(strange[:5])} differ.",
            where=str(folder),
            to_do=f"Its labels are {', '.join(task.labels[:8])}. Map your labels to these, or train anew.",
        )
    return task


def verify(folder: Path) -> Mapping[str, object]:
    """Check every file against the manifest and return the artifact's description; whose manifest it is, is not asked.

    Raises:
        ArtifactError: no artifact, an unlisted, missing or changed file, code, a pickle, or an unknown format.
    """
    if not (folder / MANIFEST).is_file() or not (folder / DESCRIPTION).is_file():
        raise no_artifact(folder, MANIFEST)
    manifest = read_json(folder / MANIFEST)
    present = names_in(folder, [name for name in manifest if "/" in name]) - {MANIFEST}
    for name in sorted(present):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise ArtifactError(f"The artifact holds '{name}', which is no plain file.", where=str(folder), to_do=_COPY)
        if could_run_code(folder / name):
            raise ArtifactError(
                f"The artifact holds '{name}', which could run code when loaded.",
                where=str(folder),
                to_do="Do not load it. Artifacts hold safetensors and JSON only.",
            )
    for name in sorted((present - {SIGNATURE}) ^ set(manifest)):
        state = "is missing" if name in manifest else "was added"
        raise ArtifactError(
            f"The file '{name}' {state} since the artifact was written.", where=str(folder), to_do=_COPY
        )
    for name, digest in manifest.items():
        if file_hash(folder / name) != digest:
            raise ArtifactError(
                f"The file '{name}' was changed since the artifact was written.", where=str(folder / name), to_do=_COPY
            )
    description = read_description(folder)
    if description.get("format") != FORMAT:
        raise ArtifactError(
            f"The artifact has format {description.get('format')}; this version reads {FORMAT}.",
            where=str(folder),
            to_do="Load it with the version of Tunesmith that wrote it.",
        )
    lacking = [key for key in _KEYS if key not in description]
    if lacking:
        raise ArtifactError(
            f"The artifact's description has no '{lacking[0]}'.", where=str(folder / DESCRIPTION), to_do=_COPY
        )
    return description


def read_description(folder: Path) -> dict[str, object]:
    """What an artifact says of itself: task, labels, base model, fingerprints of its data, versions."""
    return read_json(folder / DESCRIPTION)


def task_of(description: Mapping[str, object], folder: Path) -> Task:
    """The task that an artifact's description holds.

    Raises:
        ArtifactError: it cannot be read, or its labels were changed.
    """
    settings = description["task"]
    if not isinstance(settings, Mapping):
        raise ArtifactError(
            "The artifact's task is no object with settings.", where=str(folder / DESCRIPTION), to_do=_COPY
        )
    try:
        task: Task = build(TASKS, settings, "task")
    except TunesmithError as error:
        raise ArtifactError(
            f"The artifact's task cannot be read: {error.what}",
            where=str(folder / DESCRIPTION),
            to_do="Load it with the version that wrote it.",
        ) from error
    if schema_hash(task) != description["schema_sha256"]:
        raise ArtifactError(
            "The label schema does not have the hash that was written with it.",
            where=str(folder / DESCRIPTION),
            to_do=_COPY,
        )
    return task


def _describe(model: Model, task: Task, encoder: TextEncoder, origin: Origin, prefix: str) -> dict[str, object]:
    return {
        "format": FORMAT,
        "task": {"name": name_of(TASKS, task), **settings_of(task)},
        "schema_sha256": schema_hash(task),
        "labels": list(task.labels),
        "pooling": model.pooling,
        "prefix": prefix,
        "max_length": encoder.max_length,
        "base_model": origin.base_model,
        "model_name": origin.model_name,
        "quantized": origin.quantized,
        "weights": held_as(model.body) or "",
        "adapted_by": {} if origin.adapter is None else dict(origin.method),
        "new_parameters": sorted(model.lacking),
        "data_fingerprints": dict(origin.fingerprints),
        "redacted": dict(origin.redacted),
        HELD_TEXTS: held_texts(task, origin.model_name),
        "versions": dict(origin.versions),
        "seed": origin.seed,
        # What the method added must be there before its weights can be read; merged, it left nothing behind.
        "method": dict(origin.method) if set(model.state_dict()) != model.plain else {},
        "shape": None if (shape := shape_of(model.body)) is None else shape.plain(),
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
