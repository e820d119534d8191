"""Several trained predictors on one body: what each learnt is its own, and the pre-trained weights are held once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.components import build
from tunesmith.errors import ArtifactError, nearest
from tunesmith.inference.artifact import ADAPTER, task_of, verify
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.methods import METHODS
from tunesmith.models.backbone import Backbone, load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.models.quantization import Quantization, dequantize, quantize
from tunesmith.tasks.encoding import TextEncoder

LARGEST_SHARE = 0.2
"""What learnt more than this share of a model's weights is no adapter: it would hardly save memory."""


class AdapterSet:
    """Predictors by name, for a service that takes the one that a request names: `adapters["ner"].predict(...)`.

    Taking one changes nothing in the others: no weight is written after loading, so that requests may run side by side.
    """

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = dict(predictors)

    @classmethod
    def load(cls, artifacts: Mapping[str, str | Path], *, device: str = "auto") -> AdapterSet:
        """Load the adapters of several artifacts onto the one base model that they were all trained from.

        Args:
            artifacts: the folder of each, by the name under which it will be asked.
            device: "auto" takes a GPU where there is one.

        Raises:
            ArtifactError: one is damaged, has no adapter, or was trained from another base model than the first.
        """
        place = best_device() if device == "auto" else torch.device(device)
        descriptions = {name: (Path(folder), verify(Path(folder))) for name, folder in artifacts.items()}
        see_one_base(descriptions)
        bases: dict[str, Backbone] = {}
        predictors = {}
        for name, (folder, description) in descriptions.items():
            task = task_of(description, folder)
            if task.body not in bases:
                bases[task.body] = load(locate(str(description["model_name"])), dropout=None, kind=task.body)
                if held := description.get("quantized"):
                    round_weights(bases[task.body], held)  # type: ignore[arg-type]
                nn.Module.to(bases[task.body].module, place)
            base = bases[task.body]
            model = Model(replace(base, module=shared_copy(base.module)), task).to(place)
            build(METHODS, description["adapted_by"], "method").apply(model)  # type: ignore[arg-type]
            put_in(load_file(folder / ADAPTER), model)
            model.requires_grad_(requires_grad=False)
            encoder = TextEncoder.of(base.tokenizer, int(str(description["max_length"])), str(description["prefix"]))
            predictors[name] = Predictor(model.to(place).eval(), task, encoder)
        return cls(predictors)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which predictors can be asked for."""
        return tuple(self._predictors)

    def __getitem__(self, name: str) -> Predictor:
        if name not in self._predictors:
            raise ArtifactError(
                f"There is no adapter '{name}'.{nearest(name, self._predictors)}",
                to_do=f"Ask for one of {', '.join(self._predictors)}.",
            )
        return self._predictors[name]

    def parameters_held(self) -> int:
        """How many numbers are in memory for all predictors together."""
        held = {id(p): p.numel() for one in self._predictors.values() for p in one.model.parameters()}
        return sum(held.values())


def round_weights(base: Backbone, held: Quantization) -> None:
    """Give a base model the weights that quantising leaves of it, beside which the adapters learnt."""
    quantize(base.module, held, base.missing)
    dequantize(base.module)


def learnt_weights(model: Model) -> dict[str, Tensor] | None:
    """What a method learnt, with the whole head, before merging; None where that is much of the model.

    It may be empty: a task without weights of its own beside a body that did not learn.
    """
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    kept = {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if name in learning or name.startswith(("head.", "kinds.")) or name not in model.plain
    }
    own = {name: tensor for name, tensor in kept.items() if ".base_layer." not in name}
    whole = sum(parameter.numel() for parameter in model.parameters())
    return own if sum(tensor.numel() for tensor in own.values()) <= LARGEST_SHARE * whole else None


def shared_copy(module: PreTrainedModel) -> PreTrainedModel:
    """A copy of a module's structure whose weights are the very same tensors."""
    kept = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
    return copy.deepcopy(module, kept)


def put_in(weights: Mapping[str, Tensor], model: Model) -> None:
    """Give the model these weights as its own, without writing into tensors that others may hold.

    Raises:
        ArtifactError: a weight has no place in the model.
    """
    known = model.state_dict()
    for name, tensor in weights.items():
        if name not in known or known[name].shape != tensor.shape:
            raise ArtifactError(
                f"The adapter's weight '{name}' has no place in the model.", to_do="Use one written by 'tunesmith run'."
            )
        parent, _, child = name.rpartition(".")
        owner = model.get_submodule(parent)
        if child in dict(owner.named_parameters(recurse=False)):
            owner.register_parameter(child, nn.Parameter(tensor.to(known[name].device)))
        else:
            owner.register_buffer(child, tensor.to(known[name].device))


def see_one_base(descriptions: Mapping[str, tuple[Path, Mapping[str, object]]]) -> None:
    """See that every artifact has an adapter, and all were trained from one base model.

    Raises:
        ArtifactError: otherwise.
    """
    first = ""
    for folder, description in descriptions.values():
        if not description.get("adapted_by"):
            raise ArtifactError(
                "The artifact has no adapter: most of its weights were trained.",
                where=str(folder),
                to_do="Train it with a method such as lora, or load it alone with Predictor.load.",
            )
        base = str(description["base_model"]).rpartition("sha256 ")[2] + str(description.get("quantized", ""))
        if first and base != first:
            raise ArtifactError(
                "The artifact was trained from another base model than the first one, or from one held in other bits.",
                where=str(folder),
                to_do="Load only artifacts of one base model together.",
            )
        first = base
