"""Before training: what is too long is said, and what training lacks is no target."""

from __future__ import annotations

from pathlib import Path

from tests.builders import CLASSES, TASK_CASES, build_model, write_recipe
from tunesmith.data.records import Example
from tunesmith.experiment import Experiment
from tunesmith.preparation import encode, prepare


def test_a_training_text_beyond_a_micro_batch_is_counted_with_its_length(place: Path) -> None:
    (place / "long.csv").write_text("text,label\n" + f"{'good ' * 300},x\nshort,y\n" * 20, encoding="utf-8")
    data = {"train": str(place / "long.csv"), "validation_share": 0, "test_share": 0}
    recipe = write_recipe(place, data=data, training={"max_tokens": 256})
    (found,) = [one for one in prepare(Experiment.from_yaml(recipe)).findings if one.code == "beyond_max_tokens"]
    assert found.severity == "warning"
    assert "training.max_tokens (256)" in found.message
    assert found.count == 20
    assert "tokens (" in found.examples[0]


def test_a_label_that_training_lacks_is_a_target_only_where_it_must_be_known(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    _, task, encoder = build_model(tiny_model_folder, task, examples)
    assert encode(task, Example("x", "good", "middling"), encoder, is_train=False).target is None
    assert encode(task, CLASSES[0], encoder, is_train=False).target is not None
