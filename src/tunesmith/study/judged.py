"""What a run answered on a split: its metric, also on resampled examples, and how long an answer took."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.data.splits import fingerprint
from tunesmith.errors import DataError
from tunesmith.evaluation.seeds import Repeated
from tunesmith.judging import Candidate, load_splits

RESAMPLES = 2000
SEED = 13
"""Of the resampled examples: the same in every run and every study, so that runs can be paired whenever they end."""


@dataclass(frozen=True)
class Judged:
    """One run's metric on a split; `resampled` has it on `RESAMPLES` resamples of the examples.

    `seconds` is the time of an answer with the threads that trained the model; on a CPU the process's own, by thread.
    """

    split: str
    metric: str
    higher_is_better: bool
    size: int
    fingerprint: str
    value: float
    resampled: tuple[float, ...]
    seconds: float

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; a number that is none is null."""
        drawn = [None if np.isnan(one) else one for one in self.resampled]
        return {**asdict(self), "value": None if np.isnan(self.value) else self.value, "resampled": drawn}

    @classmethod
    def of_plain(cls, given: Mapping[str, Any]) -> Judged:
        """The inverse of `plain`.

        Raises:
            KeyError, TypeError: what is given is no such record.
        """
        drawn = tuple(np.nan if one is None else float(one) for one in given["resampled"])
        value = np.nan if given["value"] is None else float(given["value"])
        return cls(**{**given, "value": value, "resampled": drawn})


def judge(artifact: Path, split: str) -> Judged:
    """Let an artifact answer the examples of a split of its recipe.

    Raises:
        DataError: the split has changed since, or has no examples.
        ArtifactError: the artifact cannot be loaded.
    """
    candidate = Candidate.load(artifact)
    task = candidate.predictor.task
    examples = load_splits(candidate).named().get(split, ())
    read = fingerprint(examples)
    if not len(examples) or candidate.fingerprints.get(split) != read:
        raise DataError(
            f"The {split} examples are not those that the run read before its training.",
            where=str(artifact.parent),
            to_do="Put the files back as they were, or give the study another --out.",
        )
    # Runs go side by side: on a CPU the time that was waited says what the others did, so that of the process counts.
    is_cpu = candidate.predictor.model.device.type == "cpu"
    clock, threads = (time.process_time, torch.get_num_threads()) if is_cpu else (time.perf_counter, 1)
    began = clock()
    predictions = candidate.predictor.predict(examples)
    seconds = (clock() - began) / threads / len(examples)
    measure = next(one for one in task.measures(examples, predictions) if one.name == task.metric)
    repeated = Repeated.of({0: measure}, seed=SEED, resamples=RESAMPLES)
    return Judged(
        split,
        measure.name,
        measure.higher_is_better,
        measure.size,
        read,
        measure.value(),
        tuple(repeated.resampled[0].tolist()),
        seconds,
    )


def repeated_of(judged: Mapping[int, Judged]) -> Repeated:
    """The runs of a cell by their seeds, as one."""
    (first, *_) = judged.values()
    return Repeated(
        first.metric,
        first.higher_is_better,
        first.size,
        {seed: one.value for seed, one in judged.items()},
        {seed: np.array(one.resampled) for seed, one in judged.items()},
    )


def see_same_examples(judged: Sequence[Judged], where: str) -> None:
    """See that all were judged by one metric on the same examples.

    Raises:
        DataError: they were not.
    """
    if len({(one.metric, one.split, one.fingerprint) for one in judged}) > 1:
        raise DataError(
            "The runs were judged on different examples or by different metrics.",
            where=where,
            to_do="Put the files back as they were, or give the study another --out.",
        )
