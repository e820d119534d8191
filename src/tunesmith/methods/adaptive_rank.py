"""AdaLoRA: low-rank updates whose ranks are taken from the layers that need them least."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from peft import AdaLoraConfig
from peft.tuners.adalora import AdaLoraModel
from torch import Tensor

from tunesmith.errors import RecipeError
from tunesmith.methods.peft_library import check_update, chosen_layers, merge_adapters
from tunesmith.methods.selective import learn_only
from tunesmith.models.model import Model

_NAME = "default"


@dataclass(frozen=True)
class AdaLoRA:
    """Updates P diag(E) Q whose least important triplets are switched off (Zhang et al. 2023, sec. 3).

    Importance is the smoothed |weight * gradient| times its uncertainty (eq. 8-12), the mean rank falls by a cubic
    schedule (eq. 13), and P and Q are kept near orthogonal by a penalty that is added to every loss (eq. 7).

    Refused: an initial rank that is not above the rank at the end.

    Attributes:
        initial_rank: rank of each update at the start.
        rank: mean rank over the layers at the end.
        alpha: the update is scaled by alpha / rank.
        dropout: dropout before the update, in [0, 1).
        targets: endings of the names of the linear layers to update; empty means the query and value projections.
        warmup: share of the steps before the first rank is taken.
        settled: share of the steps at the end in which ranks stay.
        every: steps between two reallocations.
        orthogonality: weight of the penalty.
    """

    initial_rank: int = 12
    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    warmup: float = 0.1
    settled: float = 0.5
    every: int = 5
    orthogonality: float = 0.1

    def __post_init__(self) -> None:
        check_update(self.rank, self.alpha, self.dropout)
        if self.initial_rank <= self.rank:
            raise RecipeError(
                f"initial_rank {self.initial_rank} leaves no ranks to take above rank {self.rank}.",
                where="method.initial_rank",
                to_do="Use a larger initial_rank, or method: lora.",
            )
        if self.warmup < 0 or self.settled < 0 or self.warmup + self.settled >= 1:
            raise RecipeError(
                "warmup and settled are shares of the steps and must leave some between them.", where="method.warmup"
            )
        if self.every < 1 or self.orthogonality < 0:
            raise RecipeError("every must be at least 1 and orthogonality not negative.", where="method")

    @property
    def learning_rate(self) -> float:
        """The diagonal starts at zero, so that AdaLoRA needs larger steps than LoRA (paper, appendix C)."""
        return 2e-3

    def apply(self, model: Model) -> RankAllocation:
        """Freeze the pre-trained weights and put an update beside each target."""
        config = AdaLoraConfig(
            init_r=self.initial_rank,
            target_r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=chosen_layers(model, self.targets),
            total_step=1 << 30,  # the schedule is ours, since the number of steps is not known yet
        )
        tuner = AdaLoraModel(model.body, config, _NAME)  # type: ignore[no-untyped-call]
        model.exact = ("lora_", "ranknum")
        learn_only(model, lambda name: "lora_" in name)
        return RankAllocation(self, model, tuner)

    def merge(self, model: Model) -> None:
        """Add each update to its matrix and put the plain layer back."""
        merge_adapters(model)


@dataclass
class RankAllocation:
    """Takes ranks away between steps, by PEFT's scores of importance."""

    settings: AdaLoRA
    model: Model
    tuner: AdaLoraModel
    kept: dict[str, list[bool]] = field(default_factory=dict)

    def before(self, step: int, total: int) -> None:
        """Nothing changes before a step."""

    def after(self, step: int, total: int) -> None:
        """Note the importance of every rank; from time to time, and at the end of the schedule, take some away."""
        allocator, body = self.tuner.rankallocator, self.model.body
        first, last = round(self.settings.warmup * total), round((1 - self.settings.settled) * total)
        if step <= last:
            allocator.update_ipt(body)  # type: ignore[no-untyped-call]
        budget = self.budget(step, first, last)
        is_due = step == last or (first < step < last and (step - first) % self.settings.every == 0)
        if is_due and budget < allocator.init_bgt:
            self.kept = allocator.mask_to_budget(body, budget)  # type: ignore[no-untyped-call]
        elif self.kept:
            # The optimiser's averages move what was switched off.
            allocator.mask_using_rank_pattern(body, self.kept)  # type: ignore[no-untyped-call]

    def budget(self, step: int, first: int, last: int) -> int:
        """How many ranks all layers have together at a step (eq. 13)."""
        allocator = self.tuner.rankallocator
        if step >= last:
            return int(allocator.target_bgt)
        left = 1 - (max(step, first) - first) / max(1, last - first)
        return int((allocator.init_bgt - allocator.target_bgt) * left**3 + allocator.target_bgt)

    def penalty(self) -> Tensor | None:
        """The mean distance of P P^T and Q Q^T from the identity (eq. 7), weighted."""
        if not self.settings.orthogonality:
            return None
        gaps = []
        for name, parameter in self.model.body.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                product = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
                gaps.append(torch.linalg.matrix_norm(product - torch.eye(len(product), device=product.device)))
        return self.settings.orthogonality * torch.stack(gaps).mean()

    def ranks(self) -> list[int]:
        """The rank that each layer has now."""
        return [
            int((parameter != 0).sum()) if self.kept else parameter.numel()
            for name, parameter in self.model.body.named_parameters()
            if "lora_E" in name
        ]

    def state(self) -> dict[str, Tensor]:
        """The smoothed importances, and which ranks are left."""
        allocator = self.tuner.rankallocator
        kept = {f"ipt/{name}": value for name, value in allocator.exp_avg_ipt.items()}
        kept |= {f"unc/{name}": value for name, value in allocator.exp_avg_unc.items()}
        return kept | {f"kept/{name}": torch.tensor(value) for name, value in self.kept.items()}

    def load_state(self, kept: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
        allocator = self.tuner.rankallocator
        parameters = dict(self.model.body.named_parameters())
        for name in [key.removeprefix("ipt/") for key in kept if key.startswith("ipt/")]:
            device = parameters[name].device
            allocator.exp_avg_ipt[name] = kept[f"ipt/{name}"].to(device)
            allocator.exp_avg_unc[name] = kept[f"unc/{name}"].to(device)
            allocator.ipt[name] = torch.zeros_like(allocator.exp_avg_ipt[name])
        self.kept = {
            key.removeprefix("kept/"): value.tolist() for key, value in kept.items() if key.startswith("kept/")
        }
