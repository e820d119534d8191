"""What an artifact holds of a body: its weights in parts, and its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from tunesmith.errors import ModelError
from tunesmith.models.anatomy import core
from tunesmith.models.classifiers import object_in
from tunesmith.models.shapes import Shape


def shape_in(folder: Path) -> Shape | None:
    """The shape of an artifact whose body is smaller than its configuration says."""
    path = folder / "artifact.json"
    said = object_in(path).get("shape") if path.is_file() else None
    return Shape.of_plain(said) if said else None


def fill(
    module: PreTrainedModel, weights: Mapping[str, Tensor], folder: Path
) -> tuple[PreTrainedModel, frozenset[str], frozenset[str]]:
    """A body of another shape with the weights of an artifact, what it lacks, and what it has no place for.

    Raises:
        ModelError: they do not fit.
    """
    start = f"{module.base_model_prefix}."
    inner = core(module) if not any(name.startswith(start) for name in weights) else module
    try:
        report = inner.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:
        raise ModelError(
            "The model's weights do not fit its shape.", where=str(folder), to_do="Copy the artifact again."
        ) from error
    module.tie_weights()
    full = next((f"{name}." for name, part in module.named_modules() if part is inner and name), "")
    names = {name for name, _ in module.named_parameters()}
    lacking = (names - {f"{full}{name}" for name, _ in inner.named_parameters()}) | {
        f"{full}{name}" for name in report.missing_keys
    }
    return module, frozenset(names & lacking), frozenset(report.unexpected_keys)


@dataclass(frozen=True)
class Parts:
    """The weights of an artifact: its body's, its head's, the embeddings of further kinds of token, and its shape."""

    body: dict[str, Tensor]
    head: dict[str, Tensor]
    token_kinds: Tensor | None
    shape: Shape | None


def parts_of(folder: Path, config: PretrainedConfig) -> Parts:
    """The weights of an artifact whose body has this configuration.

    Raises:
        ModelError: they cannot be read, or the artifact's method added weights that are no part of the body.
    """
    told = object_in(folder / "artifact.json")
    if held := told.get("weights"):
        what = f"The artifact holds its weights in {held}, from which nothing can be learnt."
        raise ModelError(what, where=str(folder), to_do="Give the artifact that it was made of.")
    if told.get("method"):
        what = "The artifact's method could not be merged into its model, which is another without it."
        raise ModelError(what, where=str(folder), to_do="Train it with a method such as full or lora.")
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(
            "The model's weights cannot be loaded.", where=str(folder), to_do="Download the model again."
        ) from error
    body = {name.removeprefix("body."): tensor for name, tensor in weights.items() if name.startswith("body.")}
    head = {name.removeprefix("head."): tensor for name, tensor in weights.items() if name.startswith("head.")}
    kinds = weights.get("kinds.table.weight")
    rows = int(config.to_dict().get("type_vocab_size") or 0)
    for name, tensor in body.items():
        # The configuration is that of the body before rows for further kinds were added.
        if name.endswith("token_type_embeddings.weight") and 0 < rows < len(tensor):
            body[name], kinds = tensor[:rows], tensor[rows:]
    return Parts(body, head, kinds, shape_in(folder))
