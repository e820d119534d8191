"""The vectors of texts, by the body of a trained model: alone, or in the pass that answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks.batches import by_length, cut
from tunesmith.tasks.encoding import Batch, Encoded
from tunesmith.tasks.heads import pool as pooled
from tunesmith.tasks.heads import pool_windows


def vectors_of(
    predictor: Predictor, examples: Sequence[Example], *, where: str = "", to_do: str = ""
) -> NDArray[np.float64]:
    """The texts' vectors [N, H]: the body's last states, pooled as it was trained to be, windows averaged.

    `where` and `to_do` stand in the error.

    Raises:
        RecipeError: the body gives no states of its own.
    """
    if predictor.task.body != "encoder":
        raise RecipeError(
            "Only encoders give vectors of texts.", where=where, to_do=to_do or "Use a model whose body is an encoder."
        )
    encoded = predictor.encode(examples)
    pad_id = predictor.encoder.tokenizer.pad_token_id or 0
    rows: dict[int, NDArray[np.float64]] = {}
    with torch.inference_mode():
        for numbers in cut(by_length(encoded), encoded, max_examples=512, max_tokens=8192):
            rows |= dict(
                zip(numbers, _vectors(predictor, [encoded[number] for number in numbers], pad_id), strict=True)
            )
    return np.stack([rows[number] for number in range(len(encoded))])


def logits_and_vectors(predictor: Predictor, encoded: Sequence[Encoded]) -> tuple[list[Tensor], NDArray[np.float64]]:
    """The logits of encoded examples as `Predictor.logits` gives them, and their vectors [N, H], from one pass.

    What the body gives is taken where the head reads it; of an ensemble, the first member's.

    Raises:
        RecipeError: the task's head does not read an encoder's states.
    """
    model = predictor.model
    if predictor.task.body != "encoder":
        raise RecipeError("Only encoders give vectors of texts.", to_do="Use a model whose body is an encoder.")
    taken: list[NDArray[np.float64]] = []

    def take(_module: nn.Module, inputs: tuple[Tensor, Batch]) -> None:
        taken.append(_pooled(predictor, *inputs))

    hook = model.head.register_forward_pre_hook(take)
    try:
        logits = predictor.logits(encoded)
    finally:
        hook.remove()
    order = by_length(encoded)
    vectors = np.concatenate(taken) if taken else np.zeros((0, 0))
    if len(vectors) != len(order):
        raise RecipeError("This task's head does not read the states of each text once.", to_do="Leave vectors out.")
    placed = np.empty_like(vectors)
    placed[order] = vectors  # batches are cut from this order
    return logits, placed


def _vectors(predictor: Predictor, encoded: Sequence[Encoded], pad_id: int) -> NDArray[np.float64]:
    batch = predictor.task.collate(encoded, pad_id).to(predictor.model.device)
    return _pooled(predictor, predictor.model.hidden(batch), batch)


def _pooled(predictor: Predictor, hidden: Tensor, batch: Batch) -> NDArray[np.float64]:
    states = pooled(hidden.float(), batch.attention_mask, predictor.model.pooling or "mean")
    owners = batch.example_of[: len(states)]
    return np.asarray(pool_windows(states, owners, batch.size, "mean").cpu().numpy(), dtype=np.float64)
