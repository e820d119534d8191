"""The form of an artifact for LiteRT (TensorFlow Lite): phones, small devices and programs that have TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import ArtifactError, ModelError, import_extra
from tunesmith.inference.artifact import WEIGHTS, Loaded, file_hash
from tunesmith.inference.litert_program import LiteProgram, lengths_up_to, quiet, signature_of
from tunesmith.inference.traced import SHARE, Traced, example_inputs, largest_difference
from tunesmith.models.attention import computing_attention
from tunesmith.models.model import Model, count_parameters
from tunesmith.tasks.heads import BodyShape

LITERT = "litert"
"""The form's name, and that of the extra that it needs."""
LITE_FILE = "model.tflite"
_VERSIONS = ("torch", "transformers", "litert-torch", "ai-edge-litert")


@dataclass(frozen=True)
class LiteGraph:
    """What was found about a file when it was written.

    Attributes:
        inputs: the names of its inputs, each [1, T] of 32-bit integers.
        outputs: `states` [1, T, H], and `logits` where the head is in the file too: [1, C] or, for units, [1, T, K].
        lengths: T of each of its signatures, which are named `tokens_T`.
        compared: the numbers of tokens on which it was compared with torch.
        largest_difference: the largest difference there.
        largest_share: the same over the largest number of its output.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    lengths: tuple[int, ...]
    compared: tuple[int, ...]
    largest_difference: float
    largest_share: float


@dataclass(frozen=True)
class LiteEntry:
    """What artifact.json says of the form.

    Attributes:
        file: its name.
        graph: what was found when it was written.
        shape: what the head is told of the body when it is made.
        first_kind: the token type that stands for the first kind of token, or None.
        weights_sha256: the float32 weights that it was made of, as the run wrote them.
        share: the file's bytes over those of the float32 weights.
        versions: package -> version, as it was made.
        parameters: how many numbers the model has.
    """

    file: str
    graph: LiteGraph
    shape: BodyShape
    first_kind: int | None
    weights_sha256: str
    share: float
    versions: Mapping[str, str]
    parameters: int

    @property
    def is_exact(self) -> bool:
        """It has to give the same numbers as torch."""
        return True

    def plain(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)


class _Named(nn.Module):
    """A traced model whose inputs and outputs have names, which become those of the signature."""

    def __init__(self, traced: Traced) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The outputs by their names."""
        found = self.traced(*[inputs[name] for name in self.traced.names])
        return dict(zip(self.traced.outputs, found, strict=True))


def write_lite_beside(folder: Path, loaded: Loaded) -> LiteEntry:
    """Write a model's body for LiteRT into the artifact `folder`, which holds its weights, and say what it is.

    Raises:
        ModelError: the body is none of an encoder, or cannot be converted.
        MissingExtraError: the packages of the extra "litert" are not installed.
    """
    model = loaded.model
    graph = write_lite(model, folder / LITE_FILE, loaded.encoder.max_length)
    return LiteEntry(
        LITE_FILE,
        graph,
        model.shape,
        model.first_kind,
        file_hash(folder / WEIGHTS),
        (folder / LITE_FILE).stat().st_size / (folder / WEIGHTS).stat().st_size,
        {name: version(name) for name in _VERSIONS},
        count_parameters(model)[0],
    )


def write_lite(model: Model, path: Path, longest: int) -> LiteGraph:
    """Convert the body of an encoder, straight from torch, and compare it with torch on up to `longest` tokens.

    LiteRT plans its memory for fixed shapes, so that there is a signature for one text of each of several lengths; they
    share their weights.

    Raises:
        ModelError: the body is none of an encoder, or cannot be converted to a file with equal answers.
        MissingExtraError: the packages of the extra "litert" are not installed.
    """
    if model.kind not in ("encoder", "classifier"):
        what = f"The body is of the kind '{model.kind}', whose answers are not states of tokens or classes alone."
        raise ModelError(what, where="export", to_do="Export encoders to LiteRT; causal models have the form gguf.")
    was_training = model.training
    lengths = lengths_up_to(longest)
    traced = Traced(model.eval()).eval()
    try:
        _convert(traced, path, lengths)
        compared = tuple(tokens for length in lengths for tokens in (max(1, 2 * length // 3), length))
        program = LiteProgram(path, lengths)
        largest, share = _difference(traced, program, compared)
    except (ArtifactError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"The body could not be converted for LiteRT: {' '.join(str(error).split())[:200]}",
            where=type(model.body).__name__,
            to_do="Export it to ONNX, or report this.",
        ) from error
    finally:
        model.train(was_training)
    if not share <= SHARE:
        what = f"What LiteRT answers differs by up to {largest:.3g} from torch's, {share:.2g} of the largest."
        raise ModelError(what, where=str(path), to_do="Export it to ONNX, or report this.")
    return LiteGraph(traced.names, traced.outputs, lengths, compared, largest, share)


def _convert(traced: Traced, path: Path, lengths: Sequence[int]) -> None:
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = import_extra("litert_torch", LITERT)
        converter = library.Converter()
        named = _Named(traced).eval()
        with computing_attention(traced.model.body, "eager"), torch.no_grad():
            for length in lengths:
                tensors = example_inputs(traced.model, traced.names, 1, length)
                given = {
                    name: tensor.to(traced.model.device) for name, tensor in zip(traced.names, tensors, strict=True)
                }
                converter.add_signature(signature_of(length), named, sample_kwargs=given)
            converter.convert().export(str(path))


def _difference(traced: Traced, program: LiteProgram, compared: Sequence[int]) -> tuple[float, float]:
    """As `largest_difference` has it, on texts of these lengths, which LiteRT pads and torch does not."""

    def asked(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        found = program.outputs({name: value[0] for name, value in inputs.items()})
        return [found[name].unsqueeze(0) for name in traced.outputs]

    every = (example_inputs(traced.model, traced.names, 1, tokens) for tokens in compared)
    return largest_difference(traced, every, asked)
