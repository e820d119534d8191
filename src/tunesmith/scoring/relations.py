"""How good relations are: the official measure of SemEval-2010 task 8, and its kin."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, SummedMeasure, divide
from tunesmith.scoring.answers import all_labels, check_pairs, class_of
from tunesmith.scoring.classification import measure_classes

_DIRECTED = re.compile(r"^(.*)\((?:e1,e2|e2,e1)\)$")


def undirected(label: str) -> str:
    """A relation without its direction: "Cause-Effect" for "Cause-Effect(e2,e1)"."""
    found = _DIRECTED.match(label)
    return found.group(1) if found else label


def measure_relations(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str], none: str
) -> list[Measure]:
    """The official macro-F1, then accuracy and the F1s over classes as they stand.

    The official measure of SemEval-2010 task 8 (Hendrickx et al. 2010, sec. 4.2: "(9+1)-way with directionality") is
    the mean F1 of the relations without their direction, where an answer counts as right only with the right direction
    and the class for no relation is left out of the mean. For labels without directions it is the usual macro-F1
    without that class. `micro_f1` likewise leaves it out, as is usual where most pairs have no relation.
    """
    check_pairs(examples, predictions)
    known = all_labels(labels, (class_of(one) for one in examples))
    gold = [class_of(example) for example in examples]
    answers = [class_of(prediction) for prediction in predictions]
    relations = sorted({undirected(label) for label in known if label != none})
    statistics = _counts(gold, answers, relations)
    plain = [one for one in measure_classes(examples, predictions, labels) if one.name != "micro_f1"]
    return [
        SummedMeasure("official_f1", statistics, lambda sums: _macro(sums, len(relations))),
        SummedMeasure("micro_f1", statistics, lambda sums: _micro(sums, len(relations))),
        *plain,
    ]


def _counts(gold: Sequence[str], answers: Sequence[str], relations: Sequence[str]) -> csr_array:
    """For each example what it adds to each relation's right answers, answers given, and gold labels: [N, 3 R]."""
    place = {relation: number for number, relation in enumerate(relations)}
    width = len(relations)
    rows, columns = [], []
    for row, (wanted, given) in enumerate(zip(gold, answers, strict=True)):
        parts = [(undirected(given), width, True), (undirected(wanted), 2 * width, True)]
        parts.append((undirected(wanted), 0, wanted == given))
        for relation, offset, counts in parts:
            if counts and relation in place:
                rows.append(row)
                columns.append(offset + place[relation])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(gold), 3 * width))


def _macro(sums: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The mean of 2 * right / (given + gold) over the relations that occur in gold or answers."""
    right, given, wanted = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width :]
    each = divide(2 * right, given + wanted, otherwise=0.0)
    occurs = (wanted > 0).sum(1)
    return divide(np.where(wanted > 0, each, 0.0).sum(1), occurs.astype(np.float64))


def _micro(sums: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    right, given, wanted = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width :]
    return divide(2 * right.sum(1), (given + wanted).sum(1))
