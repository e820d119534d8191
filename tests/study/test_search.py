"""Searching for values: what chance draws, what is kept, how a stopped search goes on, and what is refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.study.test_plan import RECIPE
from tunesmith.errors import MissingExtraError, RecipeError
from tunesmith.study.judged import Judged
from tunesmith.study.plan import Run, Study
from tunesmith.study.running import Outcome
from tunesmith.study.search import (
    Choices,
    RandomSampler,
    Sampler,
    Space,
    TPESampler,
    Trial,
    Values,
    changes_of,
    keep_trial,
    read_trials,
)
from tunesmith.study.table import as_markdown
from tunesmith.study.trials import CHOSEN_HERE, Searching, plan_of

OVER: dict[str, Any] = {
    "training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "training.epochs": {"low": 1, "high": 3, "whole": True},
    "training.weight_decay": {"low": 0.0, "high": 0.1},
    "way": {"choices": {"full": {"method": "full"}, "lora": {"method": "lora", "method.rank": 4}}},
}


def read(folder: Path, **settings: Any) -> Study:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"recipe": RECIPE, **settings}), encoding="utf-8")
    return Study.from_yaml(path)


def searching(folder: Path, **settings: Any) -> Study:
    return read(folder, search={"over": OVER, "trials": 6, **settings}, seeds=[1, 2, 3])


def space_of(folder: Path) -> Space:
    return searching(folder).searching()[1]


def test_chance_draws_within_the_ranges_and_the_same_again(tmp_path: Path) -> None:
    space, sampler = space_of(tmp_path), RandomSampler()
    trials: list[Trial] = []
    for number in range(1, 201):
        values = sampler.propose(space, trials, seed=1, higher_is_better=True)
        assert values == sampler.propose(space, trials, seed=1, higher_is_better=True)
        trials.append(Trial(number, values))
    rates = [float(one.values["training.learning_rate"]) for one in trials]
    assert 1e-5 <= min(rates) < 2e-5 < 5e-4 < max(rates) <= 1e-3
    assert 0.35 < sum(rate < 1e-4 for rate in rates) / 200 < 0.65, "even steps of the logarithm"
    epochs = [one.values["training.epochs"] for one in trials]
    assert {type(one) for one in epochs} == {int}
    assert all(epochs.count(one) > 40 for one in (1, 2, 3))
    assert {one.values["way"] for one in trials} == {"full", "lora"}


def test_values_become_changes_of_the_recipe(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    values: Values = {"training.learning_rate": 1e-4, "training.epochs": 2, "training.weight_decay": 0.0, "way": "lora"}
    changes = changes_of(values, space)
    assert changes == {
        "training.learning_rate": 1e-4,
        "training.epochs": 2,
        "training.weight_decay": 0.0,
        "method": "lora",
        "method.rank": 4,
    }
    plain = Choices({"full": {"method": "full"}, "bitfit": {"method": "bitfit"}})
    assert changes_of({"method": "bitfit"}, {"method": plain}) == {"method": "bitfit"}


def test_trials_are_kept_and_read_again_even_when_the_last_was_cut(tmp_path: Path) -> None:
    space, file = space_of(tmp_path), tmp_path / "trials.jsonl"
    sampler = RandomSampler()
    trials: list[Trial] = []
    for number in (1, 2):
        trials.append(Trial(number, sampler.propose(space, trials, seed=1, higher_is_better=True)))
        keep_trial(file, trials[-1])
    assert read_trials(file, space) == trials
    file.write_text(file.read_text() + '{"trial": 3, "val')
    assert read_trials(file, space) == trials
    keep_trial(file, replace_number(trials[0], 3))
    assert [one.values for one in read_trials(file, space)] == [trials[0].values, trials[1].values, trials[0].values]
    with pytest.raises(RecipeError, match="Trial 1 has values that are not searched over"):
        read_trials(file, {key: one for key, one in space.items() if key != "way"})


def replace_number(trial: Trial, number: int) -> Trial:
    return Trial(number, trial.values)


def outcome_of(run: Run, value: float) -> Outcome:
    judged = Judged("validation", "accuracy", True, 10, "f", value, (value,) * 5, 0.01)
    cost = {"parameters_trained": 1, "parameters_total": 2, "seconds_training": 1.0, "peak_memory_bytes": 1}
    return Outcome(run, cost, "", judged)


def quality(run: Run) -> float:
    """The best learning rate is 1e-4."""
    return 0.9 - 0.1 * abs(math.log10(float(run.experiment.training.learning_rate or 1e-5)) + 4)


def carried_out(plan: Searching) -> list[Run]:
    """All runs of a search, one after the other, in a world without processes."""
    source = plan.source([])
    done: list[Outcome] = []
    while (run := source(done, [])) is not None:
        done.append(outcome_of(run, quality(run)))
    return [one.run for one in done]


def test_a_search_runs_the_baseline_the_trials_and_the_best_again(tmp_path: Path) -> None:
    plan = Searching(searching(tmp_path), tmp_path)
    runs = carried_out(plan)
    assert len(runs) == plan.total == 3 + 6 + 2
    assert [run.cell for run in runs[:3]] == ["baseline"] * 3
    assert [run.cell for run in runs[3:9]] == [f"trial-0{n}" for n in range(1, 7)]
    best = max(runs[3:9], key=quality)
    assert [(run.cell, run.seed) for run in runs[9:]] == [(best.cell, 2), (best.cell, 3)]
    findings = plan.judged([outcome_of(run, quality(run)) for run in runs])
    assert {cell.name for cell in findings.cells} == {"baseline", best.cell}
    assert [trial.number for trial in findings.trials] == list(range(1, 7))
    assert "best of 6 trials" in findings.notes[0]
    assert [cell.verdict for cell in findings.cells if cell.name == best.cell] == [CHOSEN_HERE]
    assert "–" in as_markdown(findings), "it has no p-value either"


def test_a_stopped_search_goes_on_with_the_same_values(tmp_path: Path) -> None:
    study = searching(tmp_path)
    first = Searching(study, tmp_path)
    source = first.source([])
    done: list[Outcome] = []
    for _ in range(6):
        run = source(done, [])
        assert run is not None
        done.append(outcome_of(run, quality(run)))
    again = Searching(study, tmp_path)
    assert [run.cell for run in again.runs] == [*["baseline"] * 3, "trial-01", "trial-02", "trial-03"]
    before = {run.cell: run.experiment.to_mapping() for run in first.runs}
    assert {run.cell: run.experiment.to_mapping() for run in again.runs} == before
    following = again.source(done)([], [])
    assert following is not None
    assert following.cell == "trial-04"


def test_a_search_with_more_trials_keeps_what_was_done_of_the_earlier_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = carried_out(Searching(searching(tmp_path, trials=3), tmp_path))
    done = {(run.cell, run.seed): outcome_of(run, quality(run)) for run in ended}
    monkeypatch.setattr("tunesmith.study.trials.known", lambda run: done.get((run.cell, run.seed)))
    plan = Searching(searching(tmp_path, trials=5), tmp_path)
    before = [done[run.cell, run.seed] for run in plan.runs]
    assert len(before) == len(ended), "the last runs of the best trial of three among them"
    source = plan.source(before)
    new: list[Outcome] = []
    while (run := source(new, [])) is not None:
        assert (run.cell, run.seed) not in done
        new.append(outcome_of(run, quality(run)))
    assert [one.run.cell for one in new[:2]] == ["trial-04", "trial-05"]
    assert len(before) + len(new) <= plan.total + 2


def test_several_trials_may_go_on_at_a_time_and_the_best_waits_for_all(tmp_path: Path) -> None:
    plan = Searching(searching(tmp_path, trials=2), tmp_path)
    (base,) = {run.cell for run in plan.runs}
    done = [outcome_of(run, 0.5) for run in plan.runs]
    source = plan.source(done)
    one = source([], [])
    assert one is not None
    two = source([], [one])
    assert two is not None
    assert (base, one.cell, two.cell) == ("baseline", "trial-01", "trial-02")
    assert source([outcome_of(one, 0.9)], [two]) is None
    last = source([outcome_of(one, 0.9), outcome_of(two, 0.8)], [])
    assert last is not None
    assert (last.cell, last.seed) == ("trial-01", 2)


@pytest.mark.parametrize(
    ("search", "message", "where"),
    [
        ({}, "Field required", "search.over"),
        ({"over": {}}, "nothing to search over", "search.over"),
        ({"over": OVER, "trails": 3}, "Did you mean 'trials'?", "search"),
        ({"over": OVER, "trials": 0}, "at least 1", "search.trials"),
        ({"over": OVER, "sampler": "tpa"}, "Did you mean 'tpe'?", "search.sampler"),
        ({"over": {"training.epochs": {"low": 3, "high": 1}}}, "low must be below high", "epochs"),
        ({"over": {"training.epochs": {"low": 0, "high": 1, "log": True}}}, "logarithm", "epochs"),
        ({"over": {"training.epochs": {"low": 0.5, "high": 2, "whole": True}}}, "whole", "epochs"),
        ({"over": {"training.epochs": {"lo": 1, "high": 2}}}, "Unknown key 'lo'", "epochs"),
        ({"over": {"epochs.a.b": {"low": 1, "high": 2}}}, "no key that can be varied", "search.over"),
        ({"over": {"method": {"choices": 3}}}, "choices is a list", "method"),
        ({"over": {"method": {"choices": []}}}, "nothing to vary", "method"),
    ],
)
def test_a_wrong_search_says_what_is_wrong(search: dict[str, Any], message: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, search=search or {"trials": 3})
    assert message in error.value.what
    assert where in error.value.where


def test_a_search_does_not_go_with_a_grid(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="do not go together"):
        read(tmp_path, vary={"method": ["full"]}, search={"over": OVER})


def test_the_ends_of_ranges_must_make_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="epochs must be at least 1") as error:
        plan_of(read(tmp_path, search={"over": {"training.epochs": {"low": 0, "high": 2, "whole": True}}}), tmp_path)
    assert "search.over.training.epochs" in error.value.where


def test_without_optuna_its_sampler_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match="optuna") as error:
        plan_of(searching(tmp_path, sampler="tpe"), tmp_path)
    assert "tunesmith[search]" in error.value.to_do


def test_optuna_learns_from_trials_where_to_look(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"training.learning_rate": space_of(tmp_path)["training.learning_rate"], "way": space_of(tmp_path)["way"]}
    late = {}
    samplers: dict[str, Sampler] = {"random": RandomSampler(), "tpe": TPESampler()}
    for name, sampler in samplers.items():
        trials: list[Trial] = []
        for number in range(1, 41):
            values = sampler.propose(space, trials, seed=3, higher_is_better=True)
            trials.append(Trial(number, values, _worth(values)))
        late[name] = sum(trial.score or 0.0 for trial in trials[20:]) / 20
    assert late["tpe"] > late["random"]


def _worth(values: Mapping[str, float | int | str]) -> float:
    return -abs(math.log10(float(values["training.learning_rate"])) + 4) - (values["way"] == "full")


def test_optuna_proposes_the_same_for_the_same_trials_and_minds_open_and_failed_ones(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space, sampler = space_of(tmp_path), TPESampler(startup=2)
    trials: list[Trial] = []
    for number in range(1, 7):
        state: dict[str, Any] = {"is_open": True} if number == 5 else {} if number == 3 else {"score": number / 10}
        trials.append(Trial(number, sampler.propose(space, trials, seed=1, higher_is_better=True), **state))
    again: Sampler = TPESampler(startup=2)
    assert again.propose(space, trials, seed=1, higher_is_better=True) == sampler.propose(
        space, trials, seed=1, higher_is_better=True
    )
    assert changes_of(trials[-1].values, space)["training.epochs"] in (1, 2, 3)
