"""Models from nothing: the same every time, tokenizers that lose no character, runs that resume to the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import CLASSES, write_recipe
from tunesmith import pipeline
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import read_description
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.models.scratch import Sizes, make_backbone, make_tokenizer
from tunesmith.tasks import SequenceClassification, SequenceToSequence
from tunesmith.tasks.encoding import BodyKind, TextEncoder
from tunesmith.training.fitting import Validation

TEXTS = ["A good film, and a good day!", "Ein schöner Tag — ein guter Film.", "今天天气很好，我们去公园。"] * 4
TINY = Sizes(layers=1, hidden_size=16, heads=2, feed_forward=32, vocabulary=400)
TOKENIZER = make_tokenizer(TEXTS, 400, "seq2seq")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40))
def test_no_character_is_lost(text: str) -> None:
    text = text.strip()
    given_text = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    if "▁" in given_text or any(piece in given_text for piece in TOKENIZER.all_special_tokens):
        return
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.decode(ids) == given_text


def test_a_tokenizer_learns_the_words_of_its_texts() -> None:
    assert len(TOKENIZER) <= 400
    assert TOKENIZER.tokenize("a good day") == ["▁a", "▁good", "▁day"]
    assert TOKENIZER("好")["input_ids"][-1] == TOKENIZER.eos_token_id


def test_without_texts_there_is_no_tokenizer() -> None:
    with pytest.raises(DataError, match="no training text"):
        make_tokenizer([], 400, "seq2seq")


@pytest.mark.parametrize("kind", ["seq2seq", "encoder", "masked_lm", "causal_lm"])
def test_the_same_texts_and_seed_give_the_same_model(kind: BodyKind) -> None:
    one, other, third = (make_backbone(TINY, kind, TEXTS, seed=seed) for seed in (1, 1, 2))
    weights, again, different = (part.module.state_dict() for part in (one, other, third))
    assert one.identity == other.identity != third.identity
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not all(torch.equal(weights[name], different[name]) for name in weights)
    assert one.missing == {name for name, _ in one.module.named_parameters()}


def test_drawing_weights_leaves_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    make_backbone(TINY, "seq2seq", TEXTS, seed=1)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_an_untrained_model_is_undecided() -> None:
    """The loss begins near that of an even choice: neither input nor output are out of proportion."""
    backbone = make_backbone(Sizes(vocabulary=1000), "seq2seq", TEXTS, seed=1)
    task = SequenceToSequence().prepared([], backbone.tokenizer)
    model, encoder = Model(backbone, task).eval(), TextEncoder.of(backbone.tokenizer, 64)
    batch = task.collate([task.encode(Example("x", text, text), encoder) for text in TEXTS[:3]], 0)
    even = float(torch.tensor(float(len(backbone.tokenizer))).log())
    assert float(task.loss(model.head, model(batch), batch).detach()) == pytest.approx(even, rel=0.2)


def test_every_weight_is_new_under_dropout_of_the_recipe() -> None:
    backbone = make_backbone(TINY, "seq2seq", TEXTS, seed=1, dropout=0.3)
    assert (backbone.module.config.dropout, backbone.module.config.attention_dropout) == (0.3, 0.3)
    model = Model(backbone, SequenceToSequence())
    assert model.lacking == {name for name, _ in model.named_parameters()}


def test_a_pair_of_texts_is_joined_as_an_encoder_reads_it() -> None:
    backbone = make_backbone(TINY, "encoder", TEXTS, seed=1)
    encoder = TextEncoder.of(backbone.tokenizer, 64)
    assert (encoder.before, encoder.between, encoder.after) == ((2,), (3,), (3,))
    task = SequenceClassification().prepared(CLASSES, backbone.tokenizer)
    answers = Predictor(Model(backbone, task), task, encoder).predict(CLASSES)
    assert {answer.label for answer in answers} <= {"good", "bad"}


def translations(folder: Path, **changes: object) -> Path:
    """A recipe that learns to translate from nothing, in seconds."""
    numbers = list(zip(["one", "two", "three", "four", "five", "six"], "一二三四五六", strict=True))
    pairs = [(f"{a} {c}", f"{b}{d}") for a, b in numbers for c, d in numbers]
    for name, part in (("train", pairs), ("validation", pairs[::6])):
        (folder / f"{name}.en").write_text("".join(f"{one}\n" for one, _ in part), encoding="utf-8")
        (folder / f"{name}.zh").write_text("".join(f"{other}\n" for _, other in part), encoding="utf-8")
    settings = {
        "task": {"name": "sequence_to_sequence", "max_new_tokens": 8, "beams": 2},
        "data": {name: f"{folder / name}.en|{name}.zh" for name in ("train", "validation")} | {"test_share": 0},
        "model": {
            "name": "scratch",
            "layers": 1,
            "hidden_size": 64,
            "feed_forward": 128,
            "vocabulary": 400,
            "dropout": 0,
        },
        "training": {"epochs": 2, "batch_size": 12, "learning_rate": 0.01},
    }
    return write_recipe(folder, **(settings | changes))


def test_a_run_from_nothing_learns_and_can_be_loaded(tmp_path: Path) -> None:
    recipe = translations(tmp_path, training={"epochs": 40, "batch_size": 6, "learning_rate": 0.01})
    result = pipeline.run(Experiment.from_yaml(recipe), tmp_path / "run", quiet=True)
    metrics = result.report.splits[0].metrics
    assert metrics["exact_match"].value > 0.8
    assert result.report.choosing_metric == "perplexity"
    assert result.report.history[-1].validation == pytest.approx(metrics["perplexity"].value, rel=0.2)
    assert "differ by 0." in result.report.parity
    assert "m2m_100 from scratch" in str(read_description(result.artifact)["base_model"])
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()]
    served = Predictor.load(result.artifact, device="cpu").predict_texts([row["text"] for row in rows])
    assert [answer.label for answer in served] == [row["label"] for row in rows]


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment.from_yaml(translations(tmp_path))
    whole = pipeline.run(experiment, tmp_path / "whole", quiet=True)
    evaluate, calls = Validation.evaluate, []

    def stop(*given: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Validation, "evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(experiment, tmp_path / "stopped", quiet=True)
    again = pipeline.resume(tmp_path / "stopped", quiet=True)
    assert len(calls) == 3
    one, other = ((run.artifact / "model.safetensors").read_bytes() for run in (whole, again))
    assert one == other


def test_a_classifier_can_begin_from_nothing(place: Path) -> None:
    model = {"name": "scratch", "layers": 1, "hidden_size": 16, "heads": 2, "feed_forward": 32, "vocabulary": 400}
    result = pipeline.run(Experiment.from_yaml(write_recipe(place, model=model)), place / "run", quiet=True)
    assert "bert from scratch" in result.report.model_identity


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": {"name": "scratch", "heads": 3}}, "not an even number times heads"),
        ({"model": {"name": "scratch", "vocabulary": 100}}, "vocabulary must be at least 300"),
        ({"model": {"name": "minilm-l6", "layers": 2}}, "layers has no effect on a pre-trained model"),
        ({"training": {"epochs": 1, "learning_rate": None}}, "needs a learning rate"),
        ({"method": "lora"}, "every weight learns"),
    ],
)
def test_settings_without_a_sense_are_refused(changes: dict, match: str, tmp_path: Path) -> None:
    recipe = yaml.safe_load(translations(tmp_path).read_text(encoding="utf-8"))
    with pytest.raises(RecipeError, match=match):
        Experiment.from_mapping(recipe | changes)
