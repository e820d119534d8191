"""The runs of a study in the order in which they are begun: a list that is known, or trials that follow from others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tunesmith.study.findings import CellFindings, StudyFindings, judge_study
from tunesmith.study.plan import Cell, Run, Study
from tunesmith.study.running import Outcome, known
from tunesmith.study.scheduling import Source
from tunesmith.study.search import Trial, changes_of, keep_trial, read_trials
from tunesmith.study.variants import placed

TRIALS = "trials.jsonl"
CHOSEN_HERE = "no verdict: it was chosen by this figure, and test is the judge"


class Plan(Protocol):
    """Which runs a study has, and which is begun next."""

    study: Study

    @property
    def runs(self) -> Sequence[Run]:
        """The runs that are known by now."""

    @property
    def total(self) -> int:
        """How many runs there will be."""

    def source(self, done: Sequence[Outcome]) -> Source:
        """What says which run is begun next, given the runs that were done before."""

    def waiting(self, done: Sequence[Outcome]) -> list[str]:
        """The cell of each run that is still to be done; a trial's is empty where its values are not known yet."""

    def judged(self, outcomes: Sequence[Outcome]) -> StudyFindings:
        """The findings."""


@dataclass
class Grid:
    """Every cell with every seed."""

    study: Study
    runs: Sequence[Run]

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.runs)

    def source(self, done: Sequence[Outcome]) -> Source:
        """One run after the other, without those that are done."""
        ready = {(one.run.cell, one.run.seed) for one in done}
        waiting = iter([run for run in self.runs if (run.cell, run.seed) not in ready])
        return lambda _ended, _running: next(waiting, None)

    def waiting(self, done: Sequence[Outcome]) -> list[str]:
        """The cell of each run that is still to be done."""
        ready = {(one.run.cell, one.run.seed) for one in done}
        return [run.cell for run in self.runs if (run.cell, run.seed) not in ready]

    def judged(self, outcomes: Sequence[Outcome]) -> StudyFindings:
        """The cells compared."""
        return judge_study(self.study, self.study.cells(), outcomes)


class Searching:
    """The baseline with every seed, the trials with the first few, and the best trial with the others.

    A trial is kept in `TRIALS` before it is begun, so a stopped search goes on with the same values.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self._folder = study, folder
        self._search, self._space = study.searching()
        self._sampler = self._search.proposer()
        self._sampler.check()
        self._trials = read_trials(folder / TRIALS, self._space)[: self._search.trials]
        self._seeds = study.seeds[: self._search.seeds]
        self._ended_last = tuple(run for run in self._others() if known(run))
        for at in range(2):  # the ends of every range and every choice must make a recipe
            for key, one in self._space.items():
                for end in one.ends():
                    values = {other: two.ends()[min(at, len(two.ends()) - 1)] for other, two in self._space.items()}
                    with placed(f"search.over.{key}"):
                        study.experiment(self._cell(Trial(0, {**values, key: end})), study.seeds[0])

    @property
    def runs(self) -> Sequence[Run]:
        """The baseline's runs, and those of the trials that were proposed by now."""
        (base,) = self.study.cells()
        own = [self.study.run_of(base, seed, self._folder) for seed in self.study.seeds]
        tried = [self._run(trial, seed) for trial in self._trials for seed in self._seeds]
        return [*own, *tried, *self._ended_last]

    def _others(self) -> list[Run]:
        """The trials with the seeds that only the best one gets; before a search goes on, another may have been it."""
        return [self._run(trial, seed) for trial in self._trials for seed in self.study.seeds[len(self._seeds) :]]

    @property
    def total(self) -> int:
        """How many runs there will be: of the best trial the other seeds, too, and those of earlier best ones."""
        last = len(self.study.seeds) - len(self._seeds)
        earlier = len({run.cell for run in self._ended_last}) * last
        return len(self.study.seeds) + self._search.trials * len(self._seeds) + max(last, earlier)

    def source(self, done: Sequence[Outcome]) -> Source:
        """The baseline first, then trials, then the best of them with the seeds that it has not had."""
        before = list(done)

        def following(ended: Sequence[Outcome], running: Sequence[Run]) -> Run | None:
            outcomes = [*before, *ended]
            begun = {(one.run.cell, one.run.seed) for one in outcomes} | {(run.cell, run.seed) for run in running}
            for run in self.runs:
                if (run.cell, run.seed) not in begun:
                    return run
            if len(self._trials) < self._search.trials:
                return self._run(self._proposed(outcomes), self._seeds[0])
            if any(run.cell.startswith("trial-") for run in running):
                return None
            last = [run for run in self._last(outcomes) if (run.cell, run.seed) not in begun]
            return last[0] if last else None

        return following

    def waiting(self, done: Sequence[Outcome]) -> list[str]:
        """The cell of each run that is still to be done; empty where a trial's values are not known yet."""
        ready = {(one.run.cell, one.run.seed) for one in done}
        known_by_now = [run.cell for run in self.runs if (run.cell, run.seed) not in ready]
        return [*known_by_now, *[""] * max(0, self.total - len(done) - len(known_by_now))]

    def judged(self, outcomes: Sequence[Outcome]) -> StudyFindings:
        """The baseline and the best trial compared, with all trials beside them."""
        scored = self._scored(outcomes, ())
        best = self._best(scored, outcomes)
        cells = [*self.study.cells(), *([self._cell(best)] if best else [])]
        findings = judge_study(self.study, cells, [one for one in outcomes if one.run.cell in {c.name for c in cells}])
        findings = replace(findings, cells=tuple(_without_verdict(cell) for cell in findings.cells))
        other = [one for one in outcomes if one.failure and one.run.cell not in {cell.name for cell in cells}]
        note = (
            f"The best of {len(scored)} trials was chosen by its first {len(self._seeds)} of {len(self.study.seeds)} "
            "seeds on validation, so its effect there flatters."
        )
        failed = (f"{len(other)} of the trials' runs failed; they have no part in the choice.",) if other else ()
        return replace(findings, trials=tuple(scored), notes=(note, *failed, *findings.notes))

    def _cell(self, trial: Trial) -> Cell:
        name = f"trial-{trial.number:02d}"
        return Cell(name, changes_of(trial.values, self._space), name)

    def _run(self, trial: Trial, seed: int) -> Run:
        return self.study.run_of(self._cell(trial), seed, self._folder)

    def _proposed(self, outcomes: Sequence[Outcome]) -> Trial:
        """A further trial, written down before it is begun."""
        scored = self._scored(outcomes, self._trials)
        higher = next((one.judged.higher_is_better for one in outcomes if one.judged is not None), True)
        values = self._sampler.propose(self._space, scored, seed=self.study.seeds[0], higher_is_better=higher)
        trial = Trial(len(self._trials) + 1, values)
        self._folder.mkdir(parents=True, exist_ok=True)
        keep_trial(self._folder / TRIALS, trial)
        self._trials.append(trial)
        return trial

    def _scored(self, outcomes: Sequence[Outcome], is_open: Sequence[Trial]) -> list[Trial]:
        """The trials with the mean of their runs with the first seeds; those in `is_open` may still go on."""
        found = []
        for trial in self._trials:
            name = self._cell(trial).name
            own = [one for one in outcomes if one.run.cell == name and one.run.seed in self._seeds]
            values = [one.judged.value for one in own if one.judged is not None]
            is_whole = len(values) == len(self._seeds) and not np.isnan(values).any()
            goes_on = trial in is_open and not any(one.failure for one in own) and not is_whole
            found.append(replace(trial, score=float(np.mean(values)) if is_whole else None, is_open=goes_on))
        return found

    def _best(self, scored: Sequence[Trial], outcomes: Sequence[Outcome]) -> Trial | None:
        higher = next((one.judged.higher_is_better for one in outcomes if one.judged is not None), True)
        found = [(trial.score if higher else -trial.score, trial) for trial in scored if trial.score is not None]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _last(self, outcomes: Sequence[Outcome]) -> list[Run]:
        """The runs of the best trial with the seeds that it has not had; none before all trials were proposed."""
        if len(self._trials) < self._search.trials:
            return []
        best = self._best(self._scored(outcomes, ()), outcomes)
        return [self._run(best, seed) for seed in self.study.seeds[len(self._seeds) :]] if best else []


def _without_verdict(cell: CellFindings) -> CellFindings:
    """A cell that was chosen by the examples on which it is compared: neither its p-value nor a verdict holds there."""
    if cell.difference is None:
        return cell
    effect = replace(cell.difference, p_value=math.nan, adjusted=math.nan, more_seeds=None, verdict=CHOSEN_HERE)
    return replace(cell, difference=effect)


def plan_of(study: Study, folder: Path) -> Plan:
    """The runs of a study in its folder.

    Raises:
        RecipeError: a cell's recipe is wrong, or the folder holds another search.
        MissingExtraError: the sampler is not installed.
    """
    return Searching(study, folder) if study.search else Grid(study, study.runs(folder))
