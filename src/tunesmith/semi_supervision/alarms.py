"""Signs that learning from texts without labels has gone astray, each with its numbers and its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.data.records import Label
from tunesmith.errors import RecipeError


@dataclass(frozen=True)
class Alarm:
    """One sign: what was measured, the limit, whether it lies beyond it, and a sentence with both."""

    name: str
    value: float
    limit: float
    fired: bool
    message: str


@dataclass(frozen=True)
class Alarms:
    """Limits beyond which a model that learnt from texts without labels is not promoted.

    Attributes:
        shift: the largest total variation distance between the classes of the confident answers and those of the
            labelled examples.
        dearth: the least share of a class among the confident answers, relative to its share of the labelled examples.
        agreement: the least share of validation examples that get the same answer as from the supervised model.
        least: the least share of the texts with a confident answer.
        most: the share of the texts with a confident answer from which on the confident answers to the validation
            examples must be right at the rate `right`.
        right: see `most`.
    """

    shift: float = 0.3
    dearth: float = 0.1
    agreement: float = 0.5
    least: float = 0.01
    most: float = 0.99
    right: float = 0.8

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if not 0 <= value <= 1:
                raise RecipeError(f"{name} must lie between 0 and 1.", where=f"alarms.{name}")

    def on_classes(self, labelled: Mapping[str, int], confident: Mapping[str, int]) -> list[Alarm]:
        """Whether the classes of confident answers are far from those of the labelled examples.

        Two signs: half the sum of the absolute differences of the shares (total variation), and the class that lost
        most, by the ratio of its two shares. None where no answer is confident.
        """
        total, known = sum(confident.values()), sum(labelled.values())
        if not total or not known:
            return []
        wanted = {name: labelled.get(name, 0) / known for name in {*labelled, *confident}}
        found = {name: confident.get(name, 0) / total for name in wanted}
        distance = sum(abs(wanted[name] - found[name]) for name in wanted) / 2
        rarest = min((name for name in sorted(wanted) if wanted[name]), key=lambda name: found[name] / wanted[name])
        ratio = found[rarest] / wanted[rarest]
        far = (
            f"The classes of the confident answers are {distance:.2f} away from those of the labelled examples (total "
            f"variation; limit {self.shift:g})."
        )
        rare = (
            f"Class '{rarest}' has {found[rarest]:.1%} of the confident answers and {wanted[rarest]:.1%} of the "
            f"labelled examples: {ratio:.2f} times as much (limit {self.dearth:g})."
        )
        return [
            Alarm("shift", distance, self.shift, distance > self.shift, far),
            Alarm("dearth", ratio, self.dearth, ratio < self.dearth, rare),
        ]

    def on_share(self, confident: int, texts: int, right: float) -> list[Alarm]:
        """Whether next to no answer is confident, or every one is without being right on validation.

        `right` is the share of right ones among the confident answers to validation examples; nan where none is.
        """
        share = confident / max(texts, 1)
        said = f"{confident:,} of {texts:,} texts ({share:.1%}) have a confident answer"
        too_many = share >= self.most and not right >= self.right
        message = (
            f"{said}, and of the confident answers to validation examples {right:.1%} are right "
            f"(limits {self.most:g} and {self.right:g})."
        )
        return [
            Alarm("least", share, self.least, share < self.least, f"{said} (limit {self.least:g})."),
            Alarm("most", share, self.most, too_many, message),
        ]

    def on_agreement(self, one: Sequence[Label], other: Sequence[Label]) -> Alarm:
        """Whether two models answer the validation examples too differently."""
        same = sum(a == b for a, b in zip(one, other, strict=True)) / max(len(one), 1)
        message = (
            f"The student gives {same:.1%} of the validation examples the supervised model's answer (limit "
            f"{self.agreement:g})."
        )
        return Alarm("agreement", same, self.agreement, same < self.agreement, message)
