"""What is minimised: an objective turns the task's loss into the number whose gradient is followed."""

from __future__ import annotations

from tunesmith.training.criterion import Criterion
from tunesmith.training.objectives.adversarial import FGM, PGD, FreeLB
from tunesmith.training.objectives.anchored import L2SP
from tunesmith.training.objectives.consistency import Cutoff, RDrop
from tunesmith.training.objectives.contrastive import Mixup, SimCSE, SupCon
from tunesmith.training.objectives.distillation import Distillation
from tunesmith.training.objectives.plain import TaskLoss
from tunesmith.training.objectives.preference import DPO
from tunesmith.training.objectives.single import SINGLE, Objective
from tunesmith.training.objectives.smoothness import SMART, VAT
from tunesmith.training.objectives.stacked import Stack
from tunesmith.training.objectives.subgroups import IRM, GroupDRO

OBJECTIVES: dict[str, type[Objective]] = {**SINGLE, "stack": Stack}

__all__ = [
    "DPO",
    "FGM",
    "IRM",
    "L2SP",
    "OBJECTIVES",
    "PGD",
    "SMART",
    "VAT",
    "Criterion",
    "Cutoff",
    "Distillation",
    "FreeLB",
    "GroupDRO",
    "Mixup",
    "Objective",
    "RDrop",
    "SimCSE",
    "Stack",
    "SupCon",
    "TaskLoss",
]
