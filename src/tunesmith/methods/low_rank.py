"""Low-rank updates beside frozen weight matrices: LoRA and its kin."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig

from tunesmith.methods.peft_library import check_update, chosen_layers, inject, merge_adapters
from tunesmith.models.model import Model


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside frozen weight matrices (Hu et al. 2022, sec. 4).

    Attributes:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / rank.
        dropout: dropout before the update, in [0, 1).
        targets: endings of the names of the linear layers to update; empty means the query and value projections.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_update(self.rank, self.alpha, self.dropout)

    @property
    def learning_rate(self) -> float:
        """Low-rank updates take larger steps than whole matrices."""
        return 5e-4

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put an update beside each target."""
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=chosen_layers(model, self.targets),
        )
        inject(model, config, ("lora_",))

    def merge(self, model: Model) -> None:
        """Add each update to its matrix and put the plain layer back."""
        merge_adapters(model)


@dataclass(frozen=True)
class RsLoRA:
    """LoRA whose update is scaled by alpha / sqrt(rank), so that a high rank still learns (Kalajdzievski 2023, eq. 4).

    Attributes:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / sqrt(rank).
        dropout: dropout before the update, in [0, 1).
        targets: endings of the names of the linear layers to update; empty means the query and value projections.
    """

    rank: int = 32
    alpha: float = 8.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_update(self.rank, self.alpha, self.dropout)

    @property
    def learning_rate(self) -> float:
        """As for LoRA."""
        return 5e-4

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put an update beside each target."""
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=chosen_layers(model, self.targets),
            use_rslora=True,
        )
        inject(model, config, ("lora_",))

    def merge(self, model: Model) -> None:
        """Add each update to its matrix and put the plain layer back."""
        merge_adapters(model)


@dataclass(frozen=True)
class DoRA:
    """LoRA on the direction of each weight column, with a learnt magnitude beside it (Liu et al. 2024, eq. 5).

    Attributes:
        rank: rank r of each update.
        alpha: the update is scaled by alpha / rank.
        dropout: dropout before the update, in [0, 1).
        targets: endings of the names of the linear layers to update; empty means the query and value projections.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_update(self.rank, self.alpha, self.dropout)

    @property
    def learning_rate(self) -> float:
        """As for LoRA."""
        return 5e-4

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put an update and magnitudes beside each target."""
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=chosen_layers(model, self.targets),
            use_dora=True,
        )
        inject(model, config, ("lora_",))

    def merge(self, model: Model) -> None:
        """Put the directions and magnitudes into the matrices."""
        merge_adapters(model)
