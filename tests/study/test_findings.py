"""What is made of the runs' answers: ranking, verdicts, means over data sets, curves, the table and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.study.test_plan import read
from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Estimate
from tunesmith.study import findings as found_by
from tunesmith.study import table
from tunesmith.study.effects import Effect
from tunesmith.study.findings import StudyFindings, judge_study, plain_findings
from tunesmith.study.judged import Judged
from tunesmith.study.page import render
from tunesmith.study.plan import Study
from tunesmith.study.running import Outcome
from tunesmith.study.search import Trial
from tunesmith.study.table import as_markdown
from tunesmith.study.testing import corrected

EFFECTS = {"baseline": 0.0, "good": 0.05, "bad": -0.05, "idle": 0.001}
COST = {
    "parameters_trained": 5,
    "parameters_total": 50,
    "seconds_training": 8.0,
    "seconds_preparing": 2.0,
    "peak_memory_bytes": 1e9,
}


def study_of(folder: Path) -> Study:
    return read(
        folder,
        vary=None,
        data={"one": {"data.train": "1.csv"}, "二": {"data.train": "2.csv"}},
        sizes=[50, 100, 200, 400],
        remedies={name: {"objective": {"name": "r_drop", "alpha": 1.0 + n}} for n, name in enumerate(EFFECTS) if n},
        seeds=[1, 2, 3, 4, 5],
    )


def outcomes_of(study: Study, folder: Path) -> list[Outcome]:
    """Runs whose accuracy follows a power law, plus the remedy's effect, the seed's and chance."""
    generator = np.random.default_rng(0)
    shared = {data: generator.normal(scale=0.01, size=100) for data in study.data}
    luck = {seed: generator.normal(scale=0.005) for seed in study.seeds}
    found = []
    cells = {cell.name: cell for cell in study.cells()}
    for run in study.runs(folder):
        cell = cells[run.cell]
        value = 0.95 - 2 * cell.size**-0.5 + EFFECTS[cell.way] + luck[run.seed] + generator.normal(scale=0.003)
        slow = 3.0 if cell.way == "good" else 1.0
        judged = Judged("validation", "accuracy", True, 500, cell.data, value, tuple(value + shared[cell.data]), 0.01)
        found.append(Outcome(run, {**COST, "seconds_training": 10 * slow - 2}, "", judged))
    return found


@pytest.fixture
def findings(tmp_path: Path) -> StudyFindings:
    study = study_of(tmp_path)
    return judge_study(study, study.cells(), outcomes_of(study, tmp_path))


def test_cells_are_ranked_by_their_gain_within_data_set_and_size(findings: StudyFindings) -> None:
    assert len(findings.cells) == 2 * 4 * 4
    for start in range(0, 32, 4):
        block = findings.cells[start : start + 4]
        assert len({(cell.data, cell.size) for cell in block}) == 1
        assert (block[0].way, block[-1].way) == ("good", "bad")
        assert block[0].verdict == "earns its place"
        assert block[-1].verdict == "harms"
        (idle,) = [cell for cell in block if cell.way == "idle"]
        assert idle.verdict.startswith("no difference shown")
    best = findings.cells[0]
    assert best.relative == pytest.approx((3.0, 1.0, 1.0))
    assert best.difference is not None
    assert best.difference.adjusted > best.difference.p_value


def test_the_mean_over_data_sets_stands_beside_them(findings: StudyFindings) -> None:
    assert len(findings.pooled) == 3 * 4
    assert findings.pooled[0].way == "good"
    assert findings.pooled[0].sets == 2
    assert findings.pooled[-1].effect.verdict == "harms"


def test_each_way_has_its_learning_curve(findings: StudyFindings) -> None:
    assert len(findings.curves) == 2 * 4
    (plain,) = [curve for curve in findings.curves if (curve.data, curve.way) == ("one", "baseline")]
    assert list(plain.points) == [50, 100, 200, 400]
    assert plain.expected[800].value == pytest.approx(0.95 - 2 * 800**-0.5, abs=0.02)


def test_the_table_says_it_all_and_the_page_draws_it(findings: StudyFindings) -> None:
    table = as_markdown(findings)
    assert "## one, 50 training examples (accuracy)" in table
    assert "30 s (3.0x)" in table
    assert "## Mean effect over the data sets" in table
    assert "二: 0.8" in table
    page = render(findings)
    assert page.count("plotly-graph-div") == 8 + 3
    assert "二" in page
    assert "<script src" not in page
    json.dumps(plain_findings(findings), allow_nan=False)


def test_the_page_draws_a_search_and_escapes_what_it_shows(findings: StudyFindings) -> None:
    trials = tuple(Trial(n, {"training.epochs": n}, n / 10) for n in range(1, 5))
    hostile = replace(findings, name="<img src=x onerror=1>", trials=trials, failures=("<b>",))
    page = render(hostile)
    assert "<img src=x" not in page
    assert "The search" in page
    assert "training.epochs = 3" in page
    assert "| trial |" in as_markdown(hostile)


def test_a_failed_baseline_leaves_its_cells_uncompared(tmp_path: Path) -> None:
    study = study_of(tmp_path)

    def failed(one: Outcome) -> Outcome:
        is_base = one.run.cell.startswith("one+limit=50+baseline")
        return Outcome(one.run, {}, "it ended with code 1") if is_base else one

    found = judge_study(study, study.cells(), [failed(one) for one in outcomes_of(study, tmp_path)])
    assert len(found.failures) == 5
    alone = [cell for cell in found.cells if (cell.data, cell.size) == ("one", 50)]
    assert [cell.difference for cell in alone] == [None] * 3
    assert "Failed: one+limit=50+baseline, seed 1" in as_markdown(found)


def test_runs_on_changed_examples_are_not_compared(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    outcomes = outcomes_of(study, tmp_path)
    judged = outcomes[3].judged
    assert judged is not None
    outcomes[3] = replace(outcomes[3], judged=replace(judged, fingerprint="another"))
    with pytest.raises(DataError, match="judged on different examples"):
        judge_study(study, study.cells(), outcomes)


def test_answers_survive_their_file() -> None:
    one = Judged("validation", "accuracy", True, 3, "f", float("nan"), (0.1, float("nan"), 1 / 3), 0.01)
    again = Judged.of_plain(json.loads(json.dumps(one.plain(), allow_nan=False)))
    assert np.isnan(again.value)
    assert again.resampled[0] == 0.1
    assert np.isnan(again.resampled[1])
    assert again.resampled[2] == 1 / 3


def test_p_values_of_looks_at_test_are_corrected_for_all_data_sets() -> None:
    def look(data: str, p_value: float | None, verdict: str) -> found_by.TestFindings:
        effect, same = None, Estimate(0.9, 0.8, 1.0)
        if p_value is not None:
            effect = Effect(Estimate(0.02, 0.0, 0.04), 0.02, p_value, p_value, 5, 0.01, None, verdict)
        return found_by.TestFindings(data, "good", "baseline", "accuracy", 100, same, same, effect, 1)

    found = corrected(
        [look("a", 0.04, "earns its place"), look("b", 0.0005, "harms"), look("c", None, ""), look("d", 0.5, "no")]
    )
    adjusted = [one.effect.adjusted for one in found if one.effect is not None]
    assert adjusted == pytest.approx([0.08, 0.0015, 0.5])
    said = [" ".join(table.test_sentences(one)) for one in found]
    assert "p = 0.040 (0.080 with all data sets counted), no difference shown, with all data sets counted" in said[0]
    assert "p < 0.001 (0.002 with all data sets counted), harms" in said[1]
    assert "chose the baseline itself" in said[2]
    assert corrected([look("a", 0.04, "earns its place")])[0].effect == look("a", 0.04, "earns its place").effect
