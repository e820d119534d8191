"""Copies of an artifact that are broken on purpose, that fail on a single word, or that answer the contrary."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunesmith.components import build
from tunesmith.inference.artifact import DESCRIPTION, MANIFEST, WEIGHTS, schema_hash, seal
from tunesmith.tasks import TASKS

EMBEDDINGS = "word_embeddings.weight"
HEAD = "head."


def changed_file(folder: Path) -> None:
    """A blank is added to a file."""
    with (folder / "config.json").open("a", encoding="utf-8") as file:
        file.write(" ")


def missing_file(folder: Path) -> None:
    """The tokenizer is not there."""
    (folder / "tokenizer.json").unlink()


def added_file(folder: Path) -> None:
    """There is a file that the manifest does not know."""
    (folder / "more.json").write_text("{}", encoding="utf-8")


def turned_bit(folder: Path) -> None:
    """One bit of the weights is another one."""
    found = bytearray((folder / WEIGHTS).read_bytes())
    found[len(found) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(found)


def no_manifest(folder: Path) -> None:
    """The manifest is not there."""
    (folder / MANIFEST).unlink()


def half_manifest(folder: Path) -> None:
    """The manifest ends in its middle."""
    _cut(folder / MANIFEST)


def half_weights(folder: Path) -> None:
    """The weights end in their middle, and the manifest fits."""
    _cut(folder / WEIGHTS)
    seal(folder)


def no_numbers(folder: Path) -> None:
    """Each weight is NaN."""
    _weights(folder, lambda _, tensor: tensor * float("nan"))


def no_number_in_head(folder: Path) -> None:
    """Each weight of the head is NaN, as after a training that diverged at its end."""
    _weights(folder, lambda name, tensor: tensor * float("nan") if name.startswith(HEAD) else tensor)


def other_shape(folder: Path) -> None:
    """The head reads a hidden state that is one shorter."""
    _weights(folder, lambda name, tensor: tensor[..., :-1] if name.startswith(HEAD) and tensor.ndim == 2 else tensor)


def no_head(folder: Path) -> None:
    """The weights have no head."""
    _weights(folder, lambda name, tensor: None if name.startswith(HEAD) else tensor)


def unfit_config(folder: Path) -> None:
    """The model's settings are of a wider one than its weights."""
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    told["hidden_size"] *= 2
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    seal(folder)


def pickled(folder: Path) -> None:
    """There is a pickle in it, which could run anything, and the manifest fits."""
    (folder / "more.pkl").write_bytes(b"\x80\x04.")
    seal(folder)


def linked(folder: Path) -> None:
    """Its weights are a link to a file elsewhere."""
    place = folder.parent.parent / f"{folder.name}.elsewhere"
    shutil.move(folder / WEIGHTS, place)
    (folder / WEIGHTS).symlink_to(place)


def broken_tokenizer(folder: Path) -> None:
    """The tokenizer ends in its middle, and the manifest fits."""
    _cut(folder / "tokenizer.json")
    seal(folder)


def other_labels(folder: Path) -> None:
    """Other labels stand in the description, which their hash tells."""
    _description(folder, lambda told: told["task"].update(labels=["bad", "worse"]))


def other_labels_with_hash(folder: Path) -> None:
    """It has other labels, and a hash that fits them."""
    _description(folder, lambda told: told["task"].update(labels=["bad", "worse"]), rehash=True)


def turned_labels(folder: Path) -> None:
    """The same labels stand in the other order, so that each answer would be the contrary."""
    _description(folder, lambda told: told["task"].update(labels=told["task"]["labels"][::-1]), rehash=True)


def other_task(folder: Path) -> None:
    """It is of another task."""
    _description(folder, lambda told: told.update(task={"name": "token_classification", "labels": ["A", "B"]}), True)


def unknown_task(folder: Path) -> None:
    """Its task is unknown."""
    _description(folder, lambda told: told["task"].update(name="no_task"))


def no_task(folder: Path) -> None:
    """Its task is no object with settings."""
    _description(folder, lambda told: told.update(task=["sequence_classification"]))


def old_format(folder: Path) -> None:
    """Its format is older than all that are read."""
    _description(folder, lambda told: told.update(format=0))


def new_format(folder: Path) -> None:
    """Its format is one of the future."""
    _description(folder, lambda told: told.update(format=99))


def half_description(folder: Path) -> None:
    """The description ends in its middle, and the manifest fits."""
    _cut(folder / DESCRIPTION)
    seal(folder)


def no_files(folder: Path) -> None:
    """The folder is empty."""
    for one in folder.iterdir():
        one.unlink()


WAYS: Mapping[str, Callable[[Path], None]] = {
    "a changed file": changed_file,
    "a missing file": missing_file,
    "an added file": added_file,
    "a turned bit of the weights": turned_bit,
    "no manifest": no_manifest,
    "half a manifest": half_manifest,
    "half of the weights, sealed": half_weights,
    "weights that are no numbers": no_numbers,
    "a head that is no numbers": no_number_in_head,
    "a head of another shape": other_shape,
    "no head": no_head,
    "settings of another size": unfit_config,
    "a pickle": pickled,
    "a link out of the folder": linked,
    "half a tokenizer, sealed": broken_tokenizer,
    "other labels": other_labels,
    "other labels with their hash": other_labels_with_hash,
    "labels in another order with their hash": turned_labels,
    "another task with its hash": other_task,
    "an unknown task": unknown_task,
    "a task that is no object": no_task,
    "a format that is too old": old_format,
    "a format that is too new": new_format,
    "half a description, sealed": half_description,
    "no files": no_files,
}
"""Ways to break an artifact of a classifier in torch's form; "sealed" where the manifest fits nevertheless."""


def _half_graph(folder: Path) -> None:
    _cut(_graph(folder))
    seal(folder)


def _turned_graph(folder: Path) -> None:
    found = bytearray(_graph(folder).read_bytes())
    found[: len(found) // 50] = bytes(byte ^ 0x55 for byte in found[: len(found) // 50])
    _graph(folder).write_bytes(found)
    seal(folder)


def _no_graph(folder: Path) -> None:
    _graph(folder).write_bytes(b"")
    seal(folder)


GRAPH_WAYS: Mapping[str, Callable[[Path], None]] = {
    "half a graph, sealed": _half_graph,
    "a graph whose beginning is noise, sealed": _turned_graph,
    "an empty graph, sealed": _no_graph,
}
"""Ways to break one whose model is a graph."""

ELSEWHERE = ("../elsewhere", "..", "/etc", "a/b", "%2e%2e", "First", "", "not-there", "link")
"""Names under which no version lies; under the last one there is a link to a good one outside of the root."""


def copies(artifact: Path, place: Path, ways: Mapping[str, Callable[[Path], None]]) -> dict[str, Path]:
    """A copy of an artifact below a folder for each way, broken in it, under the name of the way."""
    found = {}
    for way, spoil in ways.items():
        found[way] = place / way.replace(" ", "-").replace(",", "")
        shutil.copytree(artifact, found[way])
        spoil(found[way])
    return found


def contrary(artifact: Path, place: Path) -> Path:
    """A copy that loads and answers, and whose answers are the contrary: the head's signs are turned."""
    shutil.copytree(artifact, place)
    _weights(place, lambda name, tensor: -tensor if name.startswith(HEAD) else tensor)
    return place


def poisoned(artifact: Path, place: Path, given: Iterable[str]) -> str:
    """Make a copy whose embedding of one word is NaN, so that its answer to texts with it is no number; that word.

    It is a whole token of letters, the last one of the vocabulary that none of these texts has.
    """
    shutil.copytree(artifact, place)
    vocabulary = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    used = {word for text in given for word in text.lower().split()}
    word, number = max(
        ((word, number) for word, number in vocabulary.items() if word.isascii() and word.isalpha() and len(word) > 2),
        key=lambda pair: (pair[0] not in used, pair[1]),
    )

    def spoil(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name.endswith(EMBEDDINGS):
            tensor[number] = float("nan")
        return tensor

    _weights(place, spoil)
    return str(word)


def _weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
    found = {name: change(name, tensor) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file({name: one.contiguous() for name, one in found.items() if one is not None}, folder / WEIGHTS)
    seal(folder)


def _description(folder: Path, change: Callable[[dict[str, Any]], None], rehash: bool = False) -> None:
    told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    change(told)
    if rehash:
        told["schema_sha256"] = schema_hash(build(TASKS, told["task"], "task"))
        told["labels"] = told["task"]["labels"]
    (folder / DESCRIPTION).write_text(json.dumps(told), encoding="utf-8")
    seal(folder)


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _graph(folder: Path) -> Path:
    return next(folder.glob("*.onnx"))
