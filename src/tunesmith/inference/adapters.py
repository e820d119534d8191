"""Several trained predictors on one body: what each learnt is its own, and the pre-trained weights are held once."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.components import build
from tunesmith.errors import ArtifactError, ModelError, TunesmithError, nearest
from tunesmith.inference.artifact import ADAPTER, task_of, verify
from tunesmith.inference.predictor import Predictor, best_device
from tunesmith.methods import METHODS
from tunesmith.models.backbone import Backbone, load, load_tokenizer
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.models.quantization import Quantization, dequantize, quantize
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import BodyKind, TextEncoder

LARGEST_SHARE = 0.2
"""What learnt more than this share of a model's weights is no adapter: it would hardly save memory."""


class Bases:
    """Base models in memory, each once, for as long as somebody answers with it.

    Predictors of one base hold the very same tensors and write none of them, so that they may be asked side by side.
    Without `fetch` a base model must be on this machine.
    """

    def __init__(self, device: str = "auto", *, fetch: bool = True) -> None:
        self._fetch = fetch
        self._place = best_device() if device == "auto" else torch.device(device)
        self._held: dict[str, Backbone] = {}
        self._users: dict[str, str] = {}

    def load(self, user: str, folder: Path) -> Predictor:
        """The predictor of an artifact: its adapter beside its base model, which is loaded if nobody holds it yet.

        Args:
            user: who will answer with it, until `let_go`.
            folder: the artifact.

        Raises:
            ArtifactError: it is damaged, or has no adapter, or the base model that it was trained from is not here.
            ModelError: the base model cannot be loaded.
        """
        description = verify(folder)
        task = task_of(description, folder)
        key = base_of(description, task)
        if not key:
            raise ArtifactError(
                "The artifact has no adapter: most of its weights were trained.",
                where=str(folder),
                to_do="Train it with a method such as lora, or load it alone with Predictor.load.",
            )
        if key not in self._held:
            self._held[key] = self._read(description, folder, task.body)
        self._users[user] = key
        try:
            return beside(self._held[key], description, folder, task)
        except TunesmithError:
            self.let_go(user)
            raise

    def _read(self, description: Mapping[str, object], folder: Path, kind: BodyKind) -> Backbone:
        """The base model that an artifact's adapter learnt beside, in the bits that it had then."""
        try:
            found = locate(str(description["model_name"]), fetch=self._fetch)
        except ModelError as error:
            to_do = "Put it where it was, or load the artifact alone (serve it without --share-bases)."
            raise ArtifactError(f"Its base model is needed. {error.what}", where=str(folder), to_do=to_do) from error
        trained_from = sum_in(str(description["base_model"]))
        if found.sha256 != trained_from:
            raise ArtifactError(
                f"The base model's sum is {found.sha256[:12]} here; the artifact learnt beside {trained_from[:12]}.",
                where=f"{found.path}, for {folder}",
                to_do="Put that one there, or load the artifact alone (serve it without --share-bases).",
            )
        base = load(found, dropout=None, kind=kind)
        if held := description.get("quantized"):
            round_weights(base, held)  # type: ignore[arg-type]
        nn.Module.to(base.module, self._place)
        return base

    def let_go(self, user: str) -> None:
        """Forget that somebody answers with a base; one with which nobody answers is no longer held here."""
        key = self._users.pop(user, "")
        if key not in self._users.values():
            self._held.pop(key, None)

    @property
    def held(self) -> int:
        """How many base models are in memory."""
        return len(self._held)


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
            ArtifactError: one is damaged, has no adapter, or was trained from another base model than the first, or
                that base model is not here.
            ModelError: it cannot be loaded.
        """
        see_one_base([Path(folder) for folder in artifacts.values()])
        bases = Bases(device)
        return cls({name: bases.load(name, Path(folder)) for name, folder in artifacts.items()})

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
        return parameters_of(self._predictors.values())


def parameters_of(predictors: Iterable[Predictor]) -> int:
    """How many numbers these predictors hold together, those that they share counted once."""
    held = {id(p): p.numel() for one in predictors for member in one.members for p in member.network.parameters()}
    return sum(held.values())


def beside(base: Backbone, description: Mapping[str, object], folder: Path, task: Task) -> Predictor:
    """What answers as an artifact does, with a base model's tensors and its own adapter and head.

    Raises:
        ArtifactError: the adapter does not fit the base.
    """
    tokenizer = load_tokenizer(folder)
    if tokenizer.backend_tokenizer.to_str() == base.tokenizer.backend_tokenizer.to_str():
        tokenizer = base.tokenizer  # a vocabulary may take more memory than an adapter
    pooling = str(description["pooling"])
    own = replace(base, module=shared_copy(base.module), tokenizer=tokenizer, pooling=pooling)
    model = Model(own, task).to(next(base.module.parameters()).device)
    build(METHODS, description["adapted_by"], "method").apply(model)  # type: ignore[arg-type]
    put_in(load_file(folder / ADAPTER), model)
    model.requires_grad_(requires_grad=False)
    encoder = TextEncoder.of(tokenizer, int(str(description["max_length"])), str(description["prefix"]))
    return Predictor(model.to(model.device).eval(), task, encoder)


def base_of(description: Mapping[str, object], task: Task) -> str:
    """What tells the base model of an artifact's adapter from others: its sum, bits and kind; empty without adapter.

    Artifacts of which this is the same can answer beside one base.
    """
    if not description.get("adapted_by"):
        return ""
    held = json.dumps(description.get("quantized", ""), sort_keys=True)
    return f"{sum_in(str(description['base_model']))} {held} {task.body}"


def sum_in(identity: str) -> str:
    """The sha256 of the weights that a model's identity tells."""
    return identity.rpartition("sha256 ")[2]


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


def see_one_base(folders: Sequence[Path]) -> None:
    """See that all that have an adapter were trained from one base model.

    Raises:
        ArtifactError: otherwise, or one is damaged.
    """
    first = ""
    for folder in folders:
        description = verify(folder)
        base = base_of(description, task_of(description, folder)).rpartition(" ")[0]
        if first and base and base != first:
            raise ArtifactError(
                "The artifact was trained from another base model than the first one, or from one held in other bits.",
                where=str(folder),
                to_do="Load only artifacts of one base model together.",
            )
        first = first or base
