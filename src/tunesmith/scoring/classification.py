"""Metrics of classes: one per text, or any number per text.

Averages over classes run over those that occur in gold or prediction, so they equal scikit-learn's when it is given no
list of labels. A gold label that the model does not know is a class like any other, never answered rightly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import LabelError, nearest
from tunesmith.scoring import Measure, SummedMeasure, divide, mean_measure
from tunesmith.scoring.answers import all_labels, check_pairs, class_of, classes_of
from tunesmith.scoring.averages import average_measures, class_rows, count_items, parts
from tunesmith.scoring.ranks import auc_measure
from tunesmith.scoring.tables import ClassRow, Confusion

__all__ = [
    "ClassRow",
    "class_table",
    "confusion",
    "confusion_of",
    "label_set_table",
    "measure_classes",
    "measure_label_sets",
    "measure_without",
]


def measure_classes(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> list[Measure]:
    """Accuracy, macro and weighted precision, recall and F1, MCC (Gorodkin 2004), and AUC where there are scores.

    `roc_auc` is that of the second of two classes, else the mean of one-against-the-rest over the classes that gold
    has and lacks (a resample may miss a class); it is left out unless each prediction scores each label.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not one class.
    """
    gold, answers, known = _classes(examples, predictions, labels)
    statistics = _class_counts(gold, answers, known)
    right = np.array([one == other for one, other in zip(gold, answers, strict=True)], dtype=np.float64)
    measures: list[Measure] = [mean_measure("accuracy", right)]
    measures += average_measures(statistics, "macro", "macro_")
    measures += average_measures(statistics, "weighted", "weighted_")
    measures.append(SummedMeasure("mcc", statistics, _mcc))
    if len(labels) > 1 and all(label in prediction.scores for prediction in predictions for label in labels):
        measures.append(_auc(gold, predictions, labels))
    return measures


def measure_without(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """Accuracy when a modality is withheld ("accuracy_without_image"), over the examples that were answered so too."""
    check_pairs(examples, predictions)
    pairs = list(zip(examples, predictions, strict=True))
    names = dict.fromkeys(name for _, prediction in pairs for name in prediction.without)
    found: list[Measure] = []
    for name in names:
        statistics = np.array(
            [(example.label == answer.without.get(name), name in answer.without) for example, answer in pairs],
            dtype=np.float64,
        )
        found.append(SummedMeasure(f"accuracy_without_{name}", statistics, lambda sums: divide(sums[:, 0], sums[:, 1])))
    return found


def class_table(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[ClassRow, ...]:
    """A row per class that occurs, in the order of `labels`, then "micro avg", "macro avg" and "weighted avg".

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not one class.
    """
    gold, answers, known = _classes(examples, predictions, labels)
    return class_rows(known, _class_counts(gold, answers, known))


def confusion(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> NDArray[np.int64]:
    """How often each gold class (row) got which answer (column), in the order of `labels`: [C, C].

    Raises:
        LabelError: an example or a prediction has a label that is not in `labels`, or not one class.
    """
    check_pairs(examples, predictions)
    number = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for example, prediction in zip(examples, predictions, strict=True):
        pair = class_of(example), class_of(prediction)
        for label in pair:
            if label not in number:
                raise LabelError(
                    f"Unknown label '{label}'.{nearest(label, labels)}",
                    where=example.origin or example.id,
                    to_do="Correct the label, or add it to the labels.",
                )
        counts[number[pair[0]], number[pair[1]]] += 1
    return counts


def confusion_of(examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]) -> Confusion:
    """The confusion over `labels` and those that occur beyond them."""
    _, _, known = _classes(examples, predictions, labels)
    return Confusion(known, confusion(examples, predictions, known))


def measure_label_sets(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> list[Measure]:
    """Exact match, Hamming accuracy, and precision, recall and F1 averaged as micro, macro, weighted and per sample.

    `hamming_accuracy` is the share of right yes-or-no answers over all labels (1 - Hamming loss). In the sample
    averages an empty answer to an example without labels is right, so it scores 1, where scikit-learn says 0.

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of classes.
    """
    gold, answers, known = _sets(examples, predictions, labels)
    statistics = _set_counts(gold, answers, known)
    pairs = list(zip(gold, answers, strict=True))
    exact = np.array([one == other for one, other in pairs], dtype=np.float64)
    hamming = np.array([1 - len(one ^ other) / max(len(known), 1) for one, other in pairs])
    measures: list[Measure] = [mean_measure("exact_match", exact), mean_measure("hamming_accuracy", hamming)]
    for average in ("micro", "macro", "weighted"):
        measures += average_measures(statistics, average, f"{average}_")
    samples = _sample_scores(gold, answers)
    names = ("samples_precision", "samples_recall", "samples_f1")
    measures += [mean_measure(name, column) for name, column in zip(names, samples.T, strict=True)]
    return measures


def label_set_table(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[ClassRow, ...]:
    """A row per class that occurs, then "micro avg", "macro avg", "weighted avg" and "samples avg".

    Raises:
        DataError: predictions and examples do not match.
        LabelError: a label is missing or is not a list of classes.
    """
    gold, answers, known = _sets(examples, predictions, labels)
    rows = class_rows(known, _set_counts(gold, answers, known))
    samples = _sample_scores(gold, answers)
    precision, recall, f1 = (float(column.mean()) if len(column) else float("nan") for column in samples.T)
    return (*rows, ClassRow("samples avg", precision, recall, f1, rows[-1].support))


def _classes(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[list[str], list[str], tuple[str, ...]]:
    check_pairs(examples, predictions)
    gold = [class_of(example) for example in examples]
    answers = [class_of(prediction) for prediction in predictions]
    return gold, answers, all_labels(labels, gold, answers)


def _sets(
    examples: Sequence[Example], predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[list[frozenset[str]], list[frozenset[str]], tuple[str, ...]]:
    check_pairs(examples, predictions)
    gold = [classes_of(example) for example in examples]
    answers = [classes_of(prediction) for prediction in predictions]
    return gold, answers, all_labels(labels, *gold, *answers)


def _class_counts(gold: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> csr_array:
    return _set_counts([frozenset((label,)) for label in gold], [frozenset((label,)) for label in answers], labels)


def _set_counts(gold: Sequence[frozenset[str]], answers: Sequence[frozenset[str]], labels: Sequence[str]) -> csr_array:
    number = {label: index for index, label in enumerate(labels)}
    there = [[number[label] for label in row] for row in gold]
    found = [[number[label] for label in row] for row in answers]
    right = [[number[label] for label in one & other] for one, other in zip(gold, answers, strict=True)]
    return count_items(right, found, there, len(labels))


def _sample_scores(gold: Sequence[frozenset[str]], answers: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """Precision, recall and F1 of each example: [N, 3]."""
    right = np.array([len(one & other) for one, other in zip(gold, answers, strict=True)], dtype=np.float64)
    there = np.array([len(row) for row in gold], dtype=np.float64)
    found = np.array([len(row) for row in answers], dtype=np.float64)
    scores = np.column_stack(
        [divide(right, found, 0.0), divide(right, there, 0.0), divide(2 * right, found + there, 0.0)]
    )
    scores[(there == 0) & (found == 0)] = 1.0
    return scores


def _mcc(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matthews' correlation for any number of classes (Gorodkin 2004, eq. 8); 0 where one side is constant."""
    right, found, gold = parts(sums)
    size = gold.sum(axis=1)
    above = right.sum(axis=1) * size - (found * gold).sum(axis=1)
    below = np.sqrt((size**2 - (found**2).sum(axis=1)) * (size**2 - (gold**2).sum(axis=1)))
    return np.where(size > 0, divide(above, below, 0.0), np.nan)


def _auc(gold: Sequence[str], predictions: Sequence[Prediction], labels: Sequence[str]) -> SummedMeasure:
    # With two classes one column says all; any other gold label gets the number after the last.
    scored = labels[1:] if len(labels) == 2 else labels
    number = {label: index for index, label in enumerate(scored)}
    scores = np.array([[prediction.scores[label] for label in scored] for prediction in predictions], dtype=np.float64)
    classes = np.array([number.get(label, len(scored)) for label in gold], dtype=np.intp)
    return auc_measure(scores.reshape(len(gold), len(scored)), classes)
