"""The objectives that can stand alone, and what an objective is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from tunesmith.models.model import Model
from tunesmith.tasks import Batch, Task
from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.adversarial import FGM, PGD, FreeLB
from tunesmith.training.objectives.anchored import L2SP
from tunesmith.training.objectives.consistency import Cutoff, RDrop
from tunesmith.training.objectives.contrastive import Mixup, SimCSE, SupCon
from tunesmith.training.objectives.distillation import Distillation
from tunesmith.training.objectives.plain import TaskLoss
from tunesmith.training.objectives.preference import DPO
from tunesmith.training.objectives.smoothness import SMART, VAT
from tunesmith.training.objectives.subgroups import IRM, GroupDRO


class Objective(Protocol):
    """A function of model and batch that is minimised."""

    def __call__(self, model: Model, batch: Batch, criterion: Criterion) -> Tensor:
        """A mean over the batch's `units`, with a gradient."""

    def check(self, model: Model, task: Task) -> None:
        """Raise a TunesmithError where the objective would have no effect on this model, or lacks what it needs."""


SINGLE: dict[str, type[Objective]] = {
    "task": TaskLoss,
    "fgm": FGM,
    "pgd": PGD,
    "freelb": FreeLB,
    "smart": SMART,
    "vat": VAT,
    "r_drop": RDrop,
    "cutoff": Cutoff,
    "supcon": SupCon,
    "simcse": SimCSE,
    "mixup": Mixup,
    "l2_sp": L2SP,
    "group_dro": GroupDRO,
    "irm": IRM,
    "dpo": DPO,
    "distillation": Distillation,
}
