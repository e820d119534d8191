"""Pieces that every answer depends on stay: prefixes, descriptions, items; what the task reads is what is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.builders import TASK_CASES, build_model, folder_of
from tests.compression.workbench import save, workshop_of
from tunesmith.compression import Trained, Vocabulary, vocabulary
from tunesmith.data.records import Example
from tunesmith.errors import DataError, ModelError
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.tasks import SequenceClassification, Task, ZeroShotClassification
from tunesmith.tasks.encoding import TextEncoder

PREFIX = "query: good film "
CHINESE = [
    Example(str(number), text, label)
    for number, (text, label) in enumerate([("今天天气好", "good"), ("北京的天气", "bad"), ("你是谁", "bad")])
]


def untrained(folder: Path, task: Task, examples: list[Example], prefix: str = "", max_length: int = 0) -> Trained:
    """A model with random weights, asked with a text before every text."""
    torch.manual_seed(1)
    model, prepared, encoder = build_model(folder, task, examples, max_length=max_length)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight))
    return Trained(model.eval(), prepared, TextEncoder.of(encoder.tokenizer, encoder.max_length, prefix), prefix)


def answered(trained: Trained, examples: list[Example]) -> list[Tensor]:
    asked = Predictor(trained.model, trained.task, trained.encoder)
    return asked.logits(asked.encode(examples))


def names(encoder: TextEncoder) -> list[str]:
    return [str(name) for name in encoder.tokenizer.convert_ids_to_tokens(list(encoder.before))]


@pytest.mark.parametrize("step", [Vocabulary(scripts=("Han",)), Vocabulary(keep="seen")], ids=["scripts", "seen"])
def test_a_prefix_in_another_script_is_read_as_before(
    step: Vocabulary, tiny_model_folder: Path, tmp_path: Path
) -> None:
    trained = untrained(tiny_model_folder, SequenceClassification(), CHINESE, PREFIX)
    expected, before = answered(trained, CHINESE), trained.encoder
    assert {"q", "##y", ":", "good", "film"} <= set(names(before))
    made = step.compress(trained, workshop_of(trained, CHINESE, tmp_path))
    assert names(made.trained.encoder) == names(before)
    assert made.trained.encoder.before != before.before  # numbered anew
    assert made.facts["affected"] == 0
    served = Predictor.load(save(made.trained, tmp_path / "small"), device="cpu")
    assert served.encoder.before == made.trained.encoder.before
    for one, other in zip(expected, served.logits(served.encode(CHINESE)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("case", ["zero_shot", "zero_shot_entailment", "zero_shot_several"])
@pytest.mark.parametrize("keeping", ["seen", "file", "Han"])
def test_descriptions_of_labels_are_read_as_before(
    case: str, keeping: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Descriptions have words that no text has, in a script that need not be kept."""
    task = TASK_CASES[case][0]
    assert isinstance(task, ZeroShotClassification)
    told = replace(task, descriptions={"good": ("a film of new york", "great"), "bad": "one day in london"})
    texts = [replace(e, label=("good",) if task.multi_label else e.label) for e in CHINESE]
    trained = untrained(folder_of(case, request), replace(told, labels=("bad", "good")), texts)
    expected = answered(trained, texts)
    (tmp_path / "texts.txt").write_text("".join(f"{one.text}\n" for one in texts), encoding="utf-8")
    step = {
        "seen": Vocabulary(keep="seen"),
        "file": Vocabulary(keep="seen", texts=str(tmp_path / "texts.txt")),
        "Han": Vocabulary(scripts=("Han",)),
    }[keeping]
    made = step.compress(trained, workshop_of(trained, texts, tmp_path))
    assert {"london", "york", "film"} <= set(made.trained.encoder.tokenizer.get_vocab())
    assert "paris" not in made.trained.encoder.tokenizer.get_vocab()
    assert made.facts["affected"] == 0
    for one, other in zip(expected, answered(made.trained, texts), strict=True):
        assert torch.equal(one, other)


def test_texts_of_items_are_read_as_before(tiny_model_folder: Path, tmp_path: Path) -> None:
    task, examples = TASK_CASES["histories_texts"]
    # An item that no history has, and words that are in its text alone.
    told = {item: text if item != "9" else "london people" for item, text in task.__dict__["item_texts"].items()}
    trained = untrained(tiny_model_folder, replace(task, item_texts=told), examples)  # type: ignore[type-var]
    made = Vocabulary(keep="seen").compress(trained, workshop_of(trained, examples, tmp_path))
    left = made.trained.encoder.tokenizer.get_vocab()
    assert {"london", "people", "york"} <= set(left)
    assert "paris" not in left
    assert made.facts["affected"] == 0  # the numbers of items are no pieces


def test_what_a_task_cuts_off_is_not_counted_as_cut_otherwise(tiny_inference_folder: Path, tmp_path: Path) -> None:
    examples = [Example(str(number), "今天天气好" * 4 + " good film", label) for number, label in enumerate("ab")]
    task = ZeroShotClassification(by="entailment", descriptions={"a": "天气", "b": "北京"}, template="{label}")
    trained = untrained(tiny_inference_folder, task, examples, max_length=16)
    made = Vocabulary(scripts=("Han",)).compress(trained, workshop_of(trained, examples, tmp_path))
    assert (made.facts["texts"], made.facts["affected"]) == (4, 0)
    longer = untrained(tiny_inference_folder, task, examples)
    made = Vocabulary(scripts=("Han",)).compress(longer, workshop_of(longer, examples, tmp_path / "longer"))
    assert made.facts["affected"] == 4


def test_other_answers_for_texts_that_are_cut_alike_are_refused(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_rows = vocabulary._keep_rows

    def keep_wrong_rows(model: Model, kept: list[int]) -> None:
        keep_rows(model, kept[::-1])

    monkeypatch.setattr(vocabulary, "_keep_rows", keep_wrong_rows)
    trained = untrained(tiny_model_folder, SequenceClassification(), CHINESE)
    with pytest.raises(ModelError, match="answered otherwise"):
        Vocabulary(scripts=("Han",)).compress(trained, workshop_of(trained, CHINESE, tmp_path))


def test_a_prefix_that_would_be_read_otherwise_is_refused(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "always_read", lambda trained: frozenset())
    trained = untrained(tiny_model_folder, SequenceClassification(), CHINESE, PREFIX)
    with pytest.raises(ModelError, match="puts other ones around a text"):
        Vocabulary(scripts=("Han",)).compress(trained, workshop_of(trained, CHINESE, tmp_path))


def test_a_wrong_file_of_texts_is_found_before_any_training(tiny_model_folder: Path, tmp_path: Path) -> None:
    model, task, _ = build_model(tiny_model_folder, SequenceClassification(), CHINESE)
    (tmp_path / "texts.txt").write_text("天气\n", encoding="utf-8")
    Vocabulary(keep="seen", texts=str(tmp_path / "texts.txt")).check(model, task)
    with pytest.raises(DataError, match=r"does not exist\. Did you mean 'texts.txt'"):
        Vocabulary(keep="seen", texts=str(tmp_path / "text.txt")).check(model, task)
    (tmp_path / "texts.txt").write_bytes("天气\n".encode("gb18030"))
    with pytest.raises(DataError, match="not utf-8"):
        Vocabulary(keep="seen", texts=str(tmp_path / "texts.txt")).check(model, task)
