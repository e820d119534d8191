"""Examples held out of the training file, where no file of their own is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.data.records import Example, Finding
from tunesmith.data.splits import split
from tunesmith.data.uncertain import certain
from tunesmith.errors import DataError

_STRATA = {
    "class": "stratified by label",
    "number": "stratified by size",
    "classes": "stratified by sets of labels",
    "spans": "stratified by sets of labels",
}
"""How examples are held out where their labels are few enough that each part can have its share of them."""


def hold_out(
    examples: Sequence[Example],
    held: Mapping[str, float],
    label_kind: str,
    seed: int,
    *,
    by_group: bool,
    is_unsure: bool,
) -> tuple[dict[str, Sequence[Example]], Finding]:
    """The training examples parted by shares, and how; unsure labels are taken as they stand where they judge.

    Raises:
        DataError: nothing is left for one of the parts.
    """
    parts = split(examples, {"train": 1 - sum(held.values()), **held}, seed=seed, by_label=label_kind in _STRATA)
    if empty := [name for name in parts if not len(parts[name])]:
        groups = len({example.group for example in examples if example.group})
        of = f" in {groups} groups (such as passages) that are never split apart" if groups else ""
        raise DataError(
            f"There are too few examples{of} to hold out {' and '.join(held)}: {empty[0]} would be empty.",
            where="data.train",
            to_do=f"Give a file for {' and '.join(held)}, or set "
            f"{' and '.join(f'data.{name}_share: 0' for name in held)}.",
        )
    said = " and ".join(f"{len(parts[name]):,} for {name}" for name in held)
    manner = _manner(examples, label_kind, by_group=by_group)
    message = f"Of the training file {said} were held out ({manner}, seed {seed})."
    if not is_unsure:
        return parts, Finding("held_out", "note", message)
    for name in held:
        parts[name] = certain(parts[name])
    message += " They are judged by their labels as they stand, which data.weight or data.chances call unsure."
    return parts, Finding("held_out", "warning", message)


def _manner(examples: Sequence[Example], label_kind: str, *, by_group: bool) -> str:
    """How these examples are parted, in words."""
    if by_group or any(example.group for example in examples[:1]):
        return "whole groups"
    return _STRATA.get(label_kind, "by chance")
