"""The chain: steps that stand, steps that are undone, what is measured, going on after an interruption, refusals."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import torch_model, write_recipe
from tunesmith import cli, compressing, pipeline
from tunesmith.compressing import compress
from tunesmith.compression import COMPRESSORS, Compressed, Compressor, Trained, Workshop
from tunesmith.compression_plan import planned
from tunesmith.compression_report import front
from tunesmith.errors import ArtifactError, ModelError, RecipeError, ResourceError, TrainingError
from tunesmith.evaluation.intervals import Comparison, Estimate
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import add_file, read_description, verify
from tunesmith.inference.learnt_golden import LEARNT, Receipt, note
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import judge_artifact
from tunesmith.locking import hold
from tunesmith.models.model import Model
from tunesmith.models.shapes import blocks_of
from tunesmith.tasks import Task
from tunesmith.trade_offs import TradeOff, loss_of


@dataclass(frozen=True)
class Ruin:
    """A step that turns every answer about."""

    trainings = 0

    def check(self, model: Model, task: Task) -> None:
        """Nothing to refuse."""

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Turn the head about."""
        with torch.no_grad():
            for parameter in trained.model.head.parameters():
                parameter.mul_(-1)
        return Compressed(trained, {"turned": True}, ("Turned about.",))


@dataclass(frozen=True)
class Copied:
    """A step into another form, which here is the same one."""

    trainings = 0

    def check(self, model: Model, task: Task) -> None:
        """Nothing to refuse."""

    def convert(self, artifact: Path, workshop: Workshop, out: Path) -> tuple[str, ...]:
        """Copy the artifact."""
        shutil.copytree(artifact, out)
        return ("Copied.",)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A run whose model has learnt to tell the classes apart, so that there is something to lose."""
    folder = tmp_path_factory.mktemp("learnt")
    (folder / "model").symlink_to(tiny_model_folder)
    recipe = write_recipe(folder, training={"epochs": 12})
    return pipeline.run(Experiment.from_yaml(recipe), folder / "run", quiet=True).folder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPRESSORS, "ruin", Ruin)
    monkeypatch.setitem(COMPRESSORS, "copied", Copied)


def verb(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    found = cli.guarded(lambda: cli.app(list(arguments), standalone_mode=False))
    printed = capsys.readouterr()
    assert found == code, printed.err
    return printed.out if code == 0 else printed.err


@pytest.mark.usefixtures("steps")
def test_a_chain_keeps_what_stands_and_undoes_what_does_not(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, out = finished_run / "artifact", tmp_path / "small"
    changes = ["compression.floor=0.4", "head_prune.rounds=1"]
    printed = verb(
        capsys,
        *("compress", str(artifact), "--steps", "head_prune,ruin,copied", "--out", str(out), "--json"),
        *(part for change in changes for part in ("--set", change)),
    )
    told = json.loads(printed)
    assert [(row["name"], row["stands"]) for row in told["rows"]] == [
        ("original", True),
        ("head_prune", True),
        ("ruin", False),
        ("copied", True),
    ]
    assert told["rows"][2]["why"].startswith("Undone:")
    assert told["rows"][2]["became_wrong"] == told["rows"][2]["changed"] > 0
    assert told["rows"][1]["difference"]["difference"]["low"] is not None
    assert {one["kind"] for one in told["rows"][1]["slices"]} >= {"label"}
    assert told["rows"][1]["speed"]["ratio"]["value"] > 0
    assert told["rows"][1]["size"] < told["rows"][0]["size"]
    assert {one["name"] for one in told["tested"]} >= {"accuracy"}
    names = {"compression.json", "compression.html", "compression.md", "changes.jsonl", "report.html", "metrics.json"}
    assert names <= {path.name for path in out.iterdir()}
    assert sum(len(block.heads) for block in blocks_of(torch_model(Predictor.load(out)).body)) == 6
    page = (out / "compression.html").read_text(encoding="utf-8")
    assert "Turned about." in page
    assert "http://" not in page.partition("</script>")[2].replace("http://www.w3.org", "")
    assert not (tmp_path / ".small.compressing").exists()
    assert Experiment.from_yaml(out / "recipe.yaml").compression.floor == 0.4
    # It is an artifact like any other: it answers, and is compared with the one that it was made of.
    assert len(Predictor.load(out).predict_texts(["good film"])) == 1
    judged = judge_artifact(out, "", artifact)
    assert {one.name: one.a for one in judged.comparisons}["accuracy"] == pytest.approx(
        {one["name"]: one["a"] for one in told["tested"]}["accuracy"]
    )
    changed = [json.loads(line) for line in (out / "changes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["step"] for row in changed} >= {"2 ruin"}
    assert {key for row in changed for key in row} == {
        *("step", "id", "gold", "before", "after", "was_right", "is_right")
    }
    assert "film number" not in page, "texts do not travel with the model"


@pytest.mark.usefixtures("steps")
def test_what_was_noted_of_golden_examples_does_not_go_over_to_what_was_chosen_anew(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = Path(shutil.copytree(finished_run / "artifact", tmp_path / "artifact"))
    note(artifact, Receipt("0" * 64, 3, (1,)))
    verb(capsys, "compress", str(artifact), "--steps", "copied", "--out", str(tmp_path / "small"))
    assert not (tmp_path / "small" / LEARNT).exists()


@pytest.mark.usefixtures("steps")
def test_each_verdict_is_said_once(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compress", str(finished_run / "artifact"), "--steps", "ruin", "--out", str(tmp_path / "same")]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    printed = capsys.readouterr()
    assert (printed.err + printed.out).count("Undone:") == 1
    assert "ruin: Turned about." in printed.out


@pytest.mark.usefixtures("steps")
def test_where_no_step_stands_the_original_is_served(finished_run: Path, tmp_path: Path) -> None:
    artifact = finished_run / "artifact"
    chain = compress(artifact, tmp_path / "same", planned(artifact, ["ruin"], ["compression.floor=0"]), quiet=True)
    assert chain.last is chain.rows[0]
    # Another form, of which they are not counted, has the parameters of the model that it was made of.
    other_form = replace(chain.rows[0], name="int8", parameters=0)
    assert replace(chain, rows=(*chain.rows, other_form)).parameters == chain.rows[0].parameters > 0
    assert any("original is served" in note for note in chain.notes())
    same = (tmp_path / "same" / "model.safetensors").read_bytes()
    assert same == (artifact / "model.safetensors").read_bytes()
    verify(tmp_path / "same")


@pytest.mark.usefixtures("steps")
def test_nothing_follows_another_form(finished_run: Path) -> None:
    with pytest.raises(RecipeError, match="head_prune cannot follow copied"):
        planned(finished_run / "artifact", ["copied", "head_prune"], [])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["sparsity", "head_prune"], "head_prune cannot follow sparsity, whose zeros"),
        (["sparsity", "vocabulary", "distill"], "distill cannot follow sparsity, whose zeros"),
        (["vocabulary", "distill"], "distill cannot follow vocabulary, which takes away pieces"),
        (["distill", "vocabulary", {"name": "layer_drop", "epochs": 0}, "sparsity", "sparsity", "int8"], ""),
        (["sparsity", {"name": "head_prune", "epochs": 0}], ""),
        (["vocabulary", {"name": "distill", "teacher": "before"}], ""),
    ],
)
def test_no_step_undoes_another(steps: list[object], message: str, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, compress=steps)
    if not message:
        assert len(Experiment.from_yaml(recipe).compress) == len(steps)
        return
    with pytest.raises(RecipeError, match=message):
        Experiment.from_yaml(recipe)


def test_an_interrupted_chain_goes_on_with_the_same_command(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = finished_run / "artifact"
    made: list[str] = []

    @dataclass(frozen=True)
    class Once:
        breaks: bool = False
        trainings = 0

        def check(self, model: Model, task: Task) -> None: ...

        def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
            made.append("once")
            return Compressed(trained)

    @dataclass(frozen=True)
    class Broken:
        trainings = 0

        def check(self, model: Model, task: Task) -> None: ...

        def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
            if not (tmp_path / "mended").exists():
                raise TrainingError("stopped")
            return Compressed(trained)

    monkeypatch.setitem(COMPRESSORS, "once", Once)
    monkeypatch.setitem(COMPRESSORS, "broken", Broken)
    plan = planned(artifact, ["once", "broken"], [])
    with pytest.raises(TrainingError, match="stopped"):
        compress(artifact, tmp_path / "out", plan, quiet=True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mended").touch()
    chain = compress(artifact, tmp_path / "out", plan, quiet=True)
    assert made == ["once"]
    assert [row.stands for row in chain.rows] == [True] * 3
    # With other settings it begins anew.
    (tmp_path / "mended").unlink()
    with pytest.raises(TrainingError):
        compress(artifact, tmp_path / "two", plan, quiet=True)
    (tmp_path / "mended").touch()
    compress(artifact, tmp_path / "two", planned(artifact, ["once", "broken"], ["once.breaks=true"]), quiet=True)
    assert made == ["once"] * 3


@pytest.mark.usefixtures("steps")
def test_a_chain_stopped_at_its_last_answers_goes_on_and_its_artifact_appears_whole(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run / "artifact", tmp_path / "run")
    add_file(tmp_path / "run", "adapter.safetensors", "what the method learnt")
    plan = planned(tmp_path / "run", ["ruin"], ["compression.floor=0"])
    with monkeypatch.context() as patch:
        patch.setattr(compressing, "write_chain", stopped)
        with pytest.raises(KeyboardInterrupt):
            compress(tmp_path / "run", tmp_path / "out", plan, quiet=True)
    assert not (tmp_path / "out").exists()
    chain = compress(tmp_path / "run", tmp_path / "out", plan, quiet=True)
    assert chain.artifact == str(tmp_path / "out")
    assert (tmp_path / "out" / "compression.html").is_file()
    verify(tmp_path / "out")
    # The original is served, with what its method learnt, of which artifact.json goes on to speak.
    assert (tmp_path / "out" / "adapter.safetensors").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("floor", ["0", "0.4"])
def test_a_second_process_does_not_touch_what_the_first_has_under_way(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor: str
) -> None:
    artifact, out, real = finished_run / "artifact", tmp_path / "out", compressing._made
    other = planned(artifact, ["ruin"], [f"compression.floor={floor}"])

    def beset(*given: Any) -> TradeOff:
        row = real(*given)
        with pytest.raises(ResourceError, match="Another process is compressing to the same place"):
            compress(artifact, out, other, quiet=True)
        assert given[1].is_dir()
        return row

    monkeypatch.setattr(compressing, "_made", beset)
    chain = compress(artifact, out, planned(artifact, ["ruin"], ["compression.floor=0"]), quiet=True)
    assert [row.name for row in chain.rows] == ["original", "ruin"]
    verify(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("steps")
def test_a_process_that_waited_until_the_first_had_finished_leaves_its_work_alone(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, out = finished_run / "artifact", tmp_path / "out"

    def late(*given: Any) -> None:
        out.mkdir()
        hold(*given)

    monkeypatch.setattr("tunesmith.compression_bench.hold", late)
    with pytest.raises(RecipeError, match="name is taken"):
        compress(artifact, out, planned(artifact, ["ruin"], []), quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_recipe_trains_and_compresses(place: Path) -> None:
    steps = [{"name": "layer_drop", "epochs": 1}, "vocabulary"]
    recipe = write_recipe(place, compress=steps, compression={"floor": None})
    experiment = Experiment.from_yaml(recipe)
    assert Experiment.from_mapping(experiment.to_mapping()) == experiment
    result, chain = compressing.run(experiment, place / "run", quiet=True)
    assert chain is not None
    assert [row.name for row in chain.rows] == ["original", "layer_drop", "vocabulary"]
    assert Path(chain.artifact) == result.folder / "compressed"
    assert "there is no floor" in chain.rows[1].why
    assert read_description(result.artifact)["shape"] is None
    # A run that is resumed again has its chain already; with a damaged artifact it makes it anew.
    again, same = compressing.resume(place / "run", quiet=True)
    assert again.folder == result.folder
    assert same is not None
    assert [(row.name, row.seconds) for row in same.rows] == [(row.name, row.seconds) for row in chain.rows]
    add_file(place / "run" / "compressed", "note.txt", "x")
    (place / "run" / "compressed" / "note.txt").write_text("y", encoding="utf-8")
    _, anew = compressing.resume(place / "run", quiet=True)
    assert anew is not None
    assert anew.rows[1].seconds != chain.rows[1].seconds
    verify(place / "run" / "compressed")


@pytest.mark.usefixtures("steps")
def test_a_resumed_run_goes_on_after_the_last_finished_step(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"name": "layer_drop", "epochs": 1}, "ruin"]
    recipe = write_recipe(place, compress=steps, compression={"floor": None})
    made: list[str] = []
    real = compressing._made

    def breaks(step: Compressor, *given: Any) -> TradeOff:
        made.append(type(step).__name__)
        if made == ["LayerDrop", "Ruin"]:
            raise KeyboardInterrupt
        return real(step, *given)

    monkeypatch.setattr(compressing, "_made", breaks)
    with pytest.raises(KeyboardInterrupt):
        compressing.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    # The checkpoints of a step that is measured have no more use.
    first = place / "run" / ".compressed.compressing" / "1-layer_drop"
    assert {path.name for path in first.iterdir()} == {"artifact", "measured.json"}
    _, chain = compressing.resume(place / "run", quiet=True)
    assert chain is not None
    assert [row.name for row in chain.rows] == ["original", "layer_drop", "ruin"]
    assert made == ["LayerDrop", "Ruin", "Ruin"]


def test_a_step_that_does_not_fit_is_refused_before_any_training(place: Path) -> None:
    recipe = write_recipe(place, compress=["vocabulary", "weight_only"])
    with pytest.raises(ModelError, match="causal language models"):
        compressing.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "layer_drp"], "Did you mean 'layer_drop'"),
        ([], "There is nothing to do"),
        (["--steps", "layer_drop", "--set", "head_prune.share=0.5"], "no step head_prune to change"),
        (["--steps", "layer_drop", "--set", "layer_drop.keeps=1"], "Did you mean 'keep'"),
        (["--steps", "layer_drop", "--set", "compression.floor=2"], "floor is a share"),
        (["--steps", "layer_drop", "--set", "layer_drop.layers=7"], "7 cannot stay"),
        (["--steps", "layer_drop", "--set", "seed=7"], "settled when the model was trained"),
    ],
)
def test_bad_input(
    arguments: list[str], message: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = verb(capsys, "compress", str(finished_run / "artifact"), "--out", str(tmp_path / "o"), *arguments, code=2)
    assert message in " ".join(said.split())
    assert not list(tmp_path.iterdir())


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.update(ensemble={"by": "votes", "members": 2}), "is an ensemble"),
        (lambda told: told.update(form="onnx"), "in the form 'onnx'"),
        (lambda told: told.update(method={"name": "prefix_tuning"}), "were not merged"),
    ],
)
def test_artifacts_that_cannot_be_changed(change: Change, message: str, finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run / "artifact", tmp_path / "other")
    told = read_description(tmp_path / "other")
    change(told)
    add_file(tmp_path / "other", "artifact.json", json.dumps(told))
    with pytest.raises(ArtifactError, match=message):
        compress(tmp_path / "other", tmp_path / "out", planned(tmp_path / "other", ["layer_drop"], []), quiet=True)
    assert not (tmp_path / ".out.compressing").exists()


def test_a_foreign_shape_is_refused(finished_run: Path, tmp_path: Path) -> None:
    shapes = ([1], {"heads": [[0]], "feed_forward": [4]}, {"heads": [[9]] * 2, "feed_forward": [4] * 2})
    for number, shape in enumerate(shapes):
        folder = tmp_path / str(number)
        shutil.copytree(finished_run / "artifact", folder)
        add_file(folder, "artifact.json", json.dumps({**read_description(folder), "shape": shape}))
        with pytest.raises(ModelError, match="shape that the artifact names"):
            Predictor.load(folder)


@pytest.mark.parametrize(
    ("ours", "theirs", "higher", "lost"),
    [(0.8, 0.9, True, 1 / 9), (0.9, 0.8, True, -1 / 8), (1.1, 1.0, False, 0.1), (0.0, 0.0, True, 0.0)],
)
def test_the_loss_is_relative_to_the_original(ours: float, theirs: float, higher: bool, lost: float) -> None:
    gap = Comparison("m", ours, theirs, Estimate(ours - theirs, 0, 0), 1.0, "no difference shown")
    assert loss_of(gap, higher_is_better=higher) == pytest.approx(lost)


def test_a_loss_that_cannot_be_said_is_infinite() -> None:
    for ours, theirs in ((math.nan, 0.5), (-0.1, 0.0)):
        gap = Comparison("m", ours, theirs, Estimate(ours - theirs, 0, 0), 1.0, "no difference shown")
        assert loss_of(gap, higher_is_better=True) == math.inf


def test_the_front_holds_what_no_other_beats_in_both() -> None:
    def row(name: str, size: int, value: float) -> TradeOff:
        return TradeOff(name, {}, True, "", size, 1, Estimate(value, value, value), None, (), (), None)

    rows = [row("a", 10, 0.9), row("b", 5, 0.8), row("c", 7, 0.7), row("d", 3, 0.5), row("e", 10, 0.6)]
    assert [one.name for one in front(rows, "size", higher_is_better=True)] == ["d", "b", "a"]
    assert [one.name for one in front(rows, "size", higher_is_better=False)] == ["d"]
