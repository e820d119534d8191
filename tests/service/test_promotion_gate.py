"""A version becomes champion past golden examples: what it must show, what is told of it, and what never is."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TASK_CASES, folder_of
from tests.service.golden_stage import PLANTED, SIZE, Stage, right, staged, wrong
from tests.service.running import Response, running, saved
from tunesmith.access.key_store import KeyStore
from tunesmith.components import name_of
from tunesmith.data.records import Example
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.evaluation.results import example_row
from tunesmith.inference.artifact import seal
from tunesmith.inference.predictor import Predictor
from tunesmith.scoring.choosing import chosen_by
from tunesmith.service import promotion_gate
from tunesmith.service.engine import UnanswerableError
from tunesmith.service.golden import read_goldens
from tunesmith.service.jobs import Counted, Measured
from tunesmith.service.local import LocalEngine
from tunesmith.service.promotion_gate import PromotionGate
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.serving import Settings
from tunesmith.service.versions import Served, Version, read_version
from tunesmith.tasks import TASKS


def test_a_version_that_is_worse_is_not_promoted_and_the_figures_say_why(stage: Stage) -> None:
    stage.answers[stage.second] = lambda number: wrong(number) if number % 20 == 0 else right(number)
    refused = stage.promote()
    assert (refused.status, refused.body["code"]) == (409, "inferior")
    assert stage.champion == stage.first
    figures = refused.body["figures"]
    assert (figures["metric"], figures["n"], figures["old"], figures["new"]) == ("accuracy", SIZE, 1.0, 0.95)
    assert figures["difference"] == pytest.approx(-0.05)
    assert figures["bound"] < -0.05
    assert (figures["margin"], figures["look"]) == (0.01, 1)
    for told in ("400 golden examples", "accuracy is 0.95", "-0.01", "force"):
        assert told in refused.body["detail"]
    chinese = stage.service.post("/admin/models/classes:promote", {"version": stage.second}, accept_language="zh")
    assert "黄金样本" in chinese.body["detail"]
    assert "0.95" in chinese.body["detail"]
    line = stage.audit()[-2]
    assert (line["what"], line["target"], line["before"]) == (
        "model.promote.refused",
        "classes",
        {"champion": stage.first},
    )
    assert line["after"] == {**figures, "version": stage.second, "refused": "inferior"}


def test_force_promotes_and_stands_in_the_audit_log(stage: Stage) -> None:
    stage.answers[stage.second] = wrong
    assert stage.promote().status == 409
    asked = len(stage.engine.batches)
    assert stage.promote(force="yes").status == 400, "only true is"
    assert stage.promote(force=True).body["roles"]["champion"] == stage.second
    assert len(stage.engine.batches) == asked, "nobody was asked"
    last = stage.audit()[-1]
    assert (last["what"], last["after"]["forced"], last["after"]["champion"]) == ("model.promote", True, stage.second)
    assert "forced" not in stage.audit()[-2]["after"]
    assert KeyStore(stage.state).audit.verify().broken is None


def test_a_version_that_is_no_worse_is_promoted_with_its_figures(stage: Stage) -> None:
    done = stage.promote()
    assert (done.status, done.body["roles"]["champion"]) == (200, stage.second)
    figures = done.body["figures"]
    assert (figures["difference"], figures["look"], figures["old_ece"]) == (0.0, 1, 0.05)
    assert -0.01 < figures["bound"] < 0
    last = stage.audit()[-1]
    assert (last["what"], last["before"]["champion"]) == ("model.promote", stage.first)
    assert last["after"] == {**last["after"], **figures}
    told = done.body["golden"]
    assert (told["examples"], told["metric"], told["looks"]) == (SIZE, "accuracy", 1)
    assert told["sha256"] == figures["golden"]
    assert len(told["sha256"]) == 64


def test_a_slice_that_is_worse_is_named(stage: Stage) -> None:
    stage.answers[stage.first] = lambda number: wrong(number) if number % 4 == 3 else right(number)
    stage.answers[stage.second] = lambda number: wrong(number) if number % 8 == 0 else right(number)
    refused = stage.promote()
    assert (refused.status, refused.body["code"]) == (409, "slice_worse")
    figures = refused.body["figures"]
    assert (figures["slice"], figures["slice_n"], figures["slice_new"]) == ("channel: mail", 100, 0.5)
    assert "the 100 golden examples of 'channel: mail'" in refused.body["detail"]
    assert stage.audit()[-1]["after"]["slice"] == "channel: mail"
    assert stage.champion == stage.first


def test_tries_are_counted_over_restarts_and_each_spends_its_share(versions: Path, tmp_path: Path) -> None:
    with staged(versions, tmp_path) as stage:
        stage.answers[stage.second] = wrong
        looks = [stage.promote().body["figures"] for _ in range(2)]
    assert [one["look"] for one in looks] == [1, 2]
    with staged(versions, tmp_path) as stage:
        stage.answers[stage.second] = wrong
        third = stage.promote().body["figures"]
        assert third["look"] == 3
        assert third["alpha"] == pytest.approx(looks[0]["alpha"] / 9, rel=1e-3)
        assert stage.admin("load", version="second").body["golden"]["looks"] == 3
        assert stage.admin("rollback").body["code"] == "no_previous"


def test_a_file_that_changed_while_serving_is_refused(stage: Stage) -> None:
    asked = len(stage.engine.batches)
    whole = stage.file.read_bytes()
    for change in (lambda: stage.file.write_bytes(whole + b"\n"), stage.file.unlink):
        change()
        refused = stage.promote()
        assert (refused.status, refused.body["code"]) == (409, "golden_changed")
    assert len(stage.engine.batches) == asked
    assert stage.audit()[-1]["after"]["refused"] == "golden_changed"
    assert stage.champion == stage.first
    stage.file.write_bytes(whole)
    assert stage.promote().status == 200


def test_confidence_that_is_further_from_the_truth_is_refused(stage: Stage) -> None:
    plain = stage.engine.said
    stage.engine.said = lambda slot, text: {
        **plain(slot, text),
        "confidence": 0.6 if slot.endswith(stage.second) else 0.95,
    }
    refused = stage.promote()
    assert (refused.status, refused.body["code"]) == (409, "calibration_worse")
    assert (refused.body["figures"]["old_ece"], refused.body["figures"]["new_ece"]) == (0.05, 0.4)
    assert "0.4 where the champion has 0.05" in refused.body["detail"]


@contextmanager
def asking(stage: Stage) -> Iterator[list[Response]]:
    """Requests on and on while the block runs."""
    replies: list[Response] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            replies.append(stage.service.predict("classes", "a good day"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield replies
    finally:
        done.set()
        thread.join()


def test_requests_are_answered_between_golden_examples(stage: Stage) -> None:
    stage.engine.seconds = 0.002
    with asking(stage) as replies:
        assert stage.promote().status == 200
    assert {reply.status for reply in replies} == {200}
    ours = [number for number, batch in enumerate(stage.engine.batches) if "a good day" in batch]
    golden = [number for number, batch in enumerate(stage.engine.batches) if batch[0].startswith(PLANTED)]
    between = sum(golden[0] < number < golden[-1] for number in ours)
    assert between >= 2 * SIZE / promotion_gate.TOGETHER / 2, "one stands behind 16 golden examples at most"


def test_long_golden_examples_wait_a_few_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion_gate, "TOKENS", 30)
    assert stage.promote().status == 200
    assert max(sum(len(text.split()) for text in batch) for batch in stage.engine.batches) <= 30


class Crowded:
    """A line that has no room every other time."""

    def __init__(self) -> None:
        self.refused = 0

    def measured(self, version: Version, questions: Sequence[Mapping[str, Any]]) -> list[Counted]:
        return [Counted(one, 3) for one in questions]

    async def rows(self, served: Served, version: Version, asked: Measured, until: float) -> list[Any]:
        self.refused += 1
        if self.refused % 2:
            raise NoAnswerError("overloaded", seconds=0.001)
        return [{"label": "good", "confidence": 0.5} for _ in asked]


def test_golden_examples_that_find_no_room_are_asked_later(stage: Stage, versions: Path) -> None:
    first, second = (read_version(versions / "classes" / name) for name in ("first", "second"))
    line = Crowded()
    gate = PromotionGate(read_goldens([str(stage.file)], [first], Terms()), line, None)  # type: ignore[arg-type]
    figures = asyncio.run(gate.figures("classes", Served(first), first, second))
    assert (figures["old"], figures["n"]) == (0.5, SIZE)
    assert line.refused == 4 * SIZE / promotion_gate.TOGETHER
    late = PromotionGate(gate.goldens, Crowded(), None, seconds=0)  # type: ignore[arg-type]
    with pytest.raises(NoAnswerError) as refused:
        asyncio.run(late.figures("classes", Served(first), first, second))
    assert (refused.value.code, refused.value.numbers["detail"]) == ("golden_unanswered", "overloaded")


def test_where_one_does_not_answer_nothing_is_promoted(stage: Stage) -> None:
    def fail(number: int) -> str:
        if number == 7:
            raise UnanswerableError("The model failed.")
        return right(number)

    stage.answers[stage.second] = fail
    refused = stage.promote()
    assert (refused.status, refused.body["code"]) == (409, "golden_unanswered")
    assert "the new version did not answer" in refused.body["detail"]
    assert stage.champion == stage.first
    assert "look" not in stage.audit()[-1]["after"], "nothing was seen"


def test_another_champion_meanwhile_ends_the_promotion(stage: Stage) -> None:
    third = stage.admin("load", version="third").body["version"]
    stage.answers[third] = right
    stage.engine.seconds = 0.01
    replies: list[Response] = []
    thread = threading.Thread(target=lambda: replies.append(stage.promote()))
    thread.start()
    until = time.monotonic() + 20
    while not any(batch[0].startswith(PLANTED) for batch in stage.engine.batches) and time.monotonic() < until:
        time.sleep(0.005)
    stage.admin("promote", version=third, force=True)
    thread.join()
    assert (replies[0].status, replies[0].body["code"]) == (409, "champion_changed")
    assert stage.champion == third
    assert stage.audit()[-1]["after"]["look"] == 1, "what was seen is spent"


def test_golden_texts_are_nowhere(
    stage: Stage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    before = stage.service.get("/metrics").text
    stage.answers[stage.second] = wrong
    told = [stage.promote().text]
    stage.answers[stage.second] = right
    told.append(stage.promote().text)
    stage.file.unlink()
    told.append(stage.admin("promote", version=stage.first).text)
    metrics = stage.service.get("/metrics").text
    told += [metrics, caplog.text, *capfd.readouterr()]
    told += [file.read_text(encoding="utf-8") for file in stage.state.iterdir() if file.is_file()]
    assert not [one for one in told if PLANTED in one]
    assert 'tunesmith_predictions_total{label="good"' not in metrics
    assert len([line for line in before.splitlines() if "predictions_total{" in line]) == len(
        [line for line in metrics.splitlines() if "predictions_total{" in line]
    ), "golden answers are not counted as those of the traffic"


CASES = ("single_label", "multi_label", "regression", "tokens", "questions", "pairs_cross", "relations")


def golden_of(case: str, place: Path) -> Path:
    task, examples = TASK_CASES[case]
    named = [replace(one, id=f"{one.id}{turn}") for turn in range(4) for one in examples]
    rows = [{**example_row(one, task.label_kind), "channel": "mail"} for one in named]
    path = place / f"{case}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_each_kind_of_task_is_judged_by_its_own_metric(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real workers: the figures are those of the artifact's own predictor."""
    monkeypatch.setattr("tunesmith.evaluation.non_inferiority.RESAMPLES", 200)
    names = {case: case.replace("_", "-") for case in CASES}
    root = tmp_path / "root"
    for case, name in names.items():
        place = saved(root / name / "one", name, folder_of(case, request), *TASK_CASES[case])
        shutil.copytree(place, root / name / "two")
        (root / name / "two" / "NOTICE").write_text("the same, under another sum")
        seal(root / name / "two")
    versions = [read_version(root / name / "one") for name in names.values()]
    given = [f"{name}={golden_of(case, tmp_path)}" for case, name in names.items()]
    goldens = read_goldens(given, versions, Terms(margin=0.5))
    with running(versions, LocalEngine(1, 1), Settings(root=root, goldens=goldens)) as service:
        for case, name in names.items():
            loaded = service.post(f"/admin/models/{name}:load", {"version": "two"}).body["version"]
            done = service.post(f"/admin/models/{name}:promote", {"version": loaded})
            assert done.status == 200, done.text
            predictor = Predictor.load(root / name / "one")
            asked = [Example(e.id, e.text, second=e.second, marks=e.marks) for e in goldens[name].examples]
            measures = predictor.task.measures(goldens[name].examples, predictor.predict(asked))
            figures = done.body["figures"]
            assert figures["metric"] == TASK_CASES[case][0].metric
            expected = chosen_by(measures, "", predictor.task.metric).value()
            assert figures["old"] == figures["new"] == pytest.approx(expected, abs=1e-3), name_of(TASKS, predictor.task)
            assert figures["difference"] == 0
