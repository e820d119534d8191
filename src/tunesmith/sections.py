"""The sections of a recipe that hold no components: how it trains, how it is judged, what compression may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunesmith.errors import RecipeError
from tunesmith.training.optimizer import Grouping, Schedule


@dataclass(frozen=True)
class Training:
    """How the weights are moved.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples per micro-batch.
        accumulate: micro-batches per optimiser step.
        max_tokens: most tokens of a micro-batch, padding counted; a larger step is cut further, with the same result.
        learning_rate: the peak rate; "auto" finds it by a range test; none means the method's own.
        schedule: how the rate falls after the warm-up: linear, cosine or constant.
        warmup: share of the steps in which the rate rises.
        weight_decay: decay of matrices; biases and norms have none.
        layer_decay: each layer further down learns by this factor less; 1 is off.
        head_multiplier: learning rate of new layers relative to the rest.
        clip: largest norm of the gradient; 0 is no limit.
        balance_subgroups: show as many examples of each of data.subgroups as of any other; an epoch stays as long.
        precision: "auto" takes bf16 where the hardware multiplies it, else fp32.
        gradient_checkpointing: compute activations again in the backward pass, to save memory.
        metric: the validation metric that chooses the best checkpoint; empty means the task's own.
        validate_every: steps between validations; 0 means once per epoch.
        patience: stop after so many validations without a new best; 0 never stops early.
        checkpoint_every: steps between checkpoints, beside those at each validation and every five minutes; 0 for none.
    """

    epochs: int = 3
    batch_size: int = 32
    accumulate: int = 1
    max_tokens: int = 8192
    learning_rate: float | Literal["auto"] | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    head_multiplier: float = 1.0
    clip: float = 1.0
    balance_subgroups: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    metric: str = ""
    validate_every: int = 0
    patience: int = 0
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "max_tokens"):
            if self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 1.", where=f"training.{name}")
        for name in ("validate_every", "patience", "checkpoint_every", "clip", "weight_decay"):
            if self.__dict__[name] < 0:
                raise RecipeError(f"{name} must not be negative.", where=f"training.{name}")
        for name in ("learning_rate", "head_multiplier"):
            if isinstance(self.__dict__[name], float) and not (0 < self.__dict__[name] < math.inf):
                raise RecipeError(f"{name} must be a positive number.", where=f"training.{name}")
        if not 0 < self.layer_decay <= 1:
            raise RecipeError("layer_decay must lie above 0 and at most 1.", where="training.layer_decay")
        self.rise_and_fall()

    def rise_and_fall(self) -> Schedule:
        """The learning rate's course over the run."""
        return Schedule(self.schedule, self.warmup)

    def grouping(self) -> Grouping:
        """How parameters differ in rate and decay."""
        return Grouping(self.weight_decay, self.layer_decay, self.head_multiplier)


@dataclass(frozen=True)
class Evaluation:
    """How the result is judged.

    Attributes:
        resamples: bootstrap resamples per interval.
        calibrate: fit a temperature on the validation split and store it.
        test: answer the test split too; false leaves it for later (`tunesmith evaluate`), and the report says so.
    """

    resamples: int = 1000
    calibrate: bool = True
    test: bool = True

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise RecipeError("An interval needs at least 100 resamples.", where="evaluation.resamples")


@dataclass(frozen=True)
class Compression:
    """What the steps of `compress` may cost.

    Attributes:
        floor: the largest loss of the main metric on validation, relative to the model as trained, with which a step
            stands; one that loses more is undone, and the report says so. None lets every step stand.
    """

    floor: float | None = 0.01

    def __post_init__(self) -> None:
        if self.floor is not None and not 0 <= self.floor < 1:
            raise RecipeError(
                "floor is a share of the metric, at least 0 and below 1.", where="compression.floor", to_do="Try 0.01."
            )
