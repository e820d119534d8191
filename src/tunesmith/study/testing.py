"""The one look at the test examples: the cell that validation chose and the baseline, when all runs have ended well."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.errors import ResourceError
from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.seeds import Repeated, mean_over_seeds
from tunesmith.study.effects import LEVEL, Effect, effects_of, holm, spread_of
from tunesmith.study.findings import CellFindings, StudyFindings, TestFindings
from tunesmith.study.judged import SEED, Judged, judge, repeated_of
from tunesmith.study.plan import Run, Study
from tunesmith.writing import written

LOOKS = "test_looks.json"
"""Every look that this study has taken at test examples; none is taken twice, and none is forgotten."""


@dataclass(frozen=True)
class _Look:
    """What was chosen on a data set, and the runs that answer."""

    data: str
    chosen: CellFindings
    base: CellFindings
    runs: Mapping[str, Mapping[int, Run]]

    def key(self) -> dict[str, Any]:
        """What makes it another look than an earlier one."""
        names = list(dict.fromkeys((self.chosen.name, self.base.name)))
        recipes = {
            f"{name} {seed}": run.experiment.to_mapping() for name in names for seed, run in self.runs[name].items()
        }
        return {"data": self.data, "chosen": self.chosen.name, "baseline": self.base.name, "recipes": recipes}


def look_at_test(
    study: Study, findings: StudyFindings, runs: Sequence[Run], folder: Path, announce: Callable[[str], None]
) -> tuple[TestFindings, ...]:
    """Judge the chosen cell and the baseline of each data set on test; a look that was taken is not taken again.

    Where the number of training examples is varied, the choice is among the cells with the most.

    Raises:
        DataError: the test examples have changed since the runs.
        ResourceError: the file of earlier looks cannot be read or written.
    """
    taken = _read(folder / LOOKS)
    found = []
    for look in _looks(study, findings, runs):
        key = look.key()
        same = [number for number, one in enumerate(taken) if one["key"] == key]
        own = [one for one in taken if one["key"]["data"] == look.data]
        if same:
            told = taken[same[0]]["found"]
        else:
            announce(
                f"The test examples{f' of {look.data}' if look.data else ''} are looked at, for {look.chosen.name}."
            )
            told = asdict(_judged(look, len(own) + 1))
            taken.append({"key": key, "found": told})
            with written(folder / LOOKS) as file:
                json.dump(taken, file, ensure_ascii=False)
        found.append(_of_plain(told))
    return corrected(found)


def corrected(found: Sequence[TestFindings]) -> tuple[TestFindings, ...]:
    """The findings with their p-values corrected for all data sets (Holm 1979), and verdicts that agree with these."""
    effects = [one.effect for one in found if one.effect is not None]
    adjusted = iter(holm([effect.p_value for effect in effects]))
    return tuple(one if one.effect is None else replace(one, effect=_held(one.effect, next(adjusted))) for one in found)


def _held(effect: Effect, adjusted: float) -> Effect:
    is_lost = effect.p_value < LEVEL <= adjusted
    verdict = "no difference shown, with all data sets counted" if is_lost else effect.verdict
    return replace(effect, adjusted=adjusted, verdict=verdict)


def _looks(study: Study, findings: StudyFindings, runs: Sequence[Run]) -> list[_Look]:
    """What to look at: per data set the best cell on validation beside its baseline."""
    by_cell: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_cell.setdefault(run.cell, {})[run.seed] = run
    found = []
    for data in dict.fromkeys(cell.data for cell in findings.cells):
        own = [cell for cell in findings.cells if cell.data == data]
        most = max(cell.size for cell in own)
        largest = [cell for cell in own if cell.size == most]
        base = next((cell for cell in largest if cell.way == study.compared_with()), None)
        if base is None:
            continue
        # The cells are ranked, so the first has the largest gain; without a gain it is the baseline itself.
        whole = [cell for cell in largest if len(cell.values) == len(study.seeds)]
        chosen = next((cell for cell in whole if cell.difference is None or cell.difference.gain > 0), base)
        located = by_cell[base.name][study.seeds[0]].experiment.data
        if "test" in located.located() or (located.test_share and located.test != "none"):
            found.append(_Look(data, chosen, base, by_cell))
    return found


def _judged(look: _Look, number: int) -> TestFindings:
    sides = [_repeated(look.runs[cell.name]) for cell in (look.chosen, look.base)]
    (effect,) = effects_of([spread_of(*sides)])
    is_base = look.chosen is look.base
    return TestFindings(
        look.data,
        look.chosen.name,
        look.base.name,
        sides[0].name,
        sides[0].size,
        mean_over_seeds(sides[0], seed=SEED),
        mean_over_seeds(sides[1], seed=SEED),
        None if is_base else effect,
        number,
    )


def _repeated(runs: Mapping[int, Run]) -> Repeated:
    judged: dict[int, Judged] = {seed: judge(run.folder / "artifact", "test") for seed, run in sorted(runs.items())}
    return repeated_of(judged)


def _of_plain(told: Mapping[str, Any]) -> TestFindings:
    effect = told["effect"]
    return TestFindings(
        **{
            **told,
            "chosen_mean": Estimate(**told["chosen_mean"]),
            "baseline_mean": Estimate(**told["baseline_mean"]),
            "effect": None if effect is None else Effect(**{**effect, "difference": Estimate(**effect["difference"])}),
        }
    )


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        looks: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResourceError(
            "The file of earlier looks at the test examples cannot be read.",
            where=str(path),
            to_do="Put it back, or give the study another --out.",
        ) from error
    return looks
