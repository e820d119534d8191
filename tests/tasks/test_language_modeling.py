"""Language models on raw text: what is hidden, what is scored, how texts are joined, and that the body is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.builders import CLASSES, TEXTS, build_learner, build_material, build_model, run_steps, write_recipe
from tests.conftest import build_tokenizer, data_folder
from tunesmith import pipeline
from tunesmith.data.checks import check
from tunesmith.data.conll import join_words
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Prediction, Splits
from tunesmith.errors import ModelError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.scoring.perplexity import measure_bits, measure_foretold
from tunesmith.tasks import CausalLanguageModeling, MaskedLanguageModeling
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.tasks.joining import joined
from tunesmith.tasks.masking import UNTOUCHED, Masking, word_numbers

MASKING = Masking(0.15, mask_id=4, vocabulary=300, special_ids=(0, 1, 2, 3, 4))


# What is hidden


def test_whole_words_are_hidden_and_special_tokens_are_not() -> None:
    words = np.array([UNTOUCHED, *np.repeat(np.arange(60), 2), UNTOUCHED])
    ids = np.arange(5, 5 + len(words))
    for salt in range(50):
        shown, places = MASKING.hide(ids, words, salt)
        assert sorted(words[places]) == sorted(np.repeat(np.unique(words[places]), 2))
        assert len(places) == 18
        assert UNTOUCHED not in words[places]
        untouched = np.setdiff1d(np.arange(len(ids)), places)
        assert (shown[untouched] == ids[untouched]).all()


def test_of_the_hidden_tokens_eight_in_ten_are_masks_and_one_in_ten_another_token() -> None:
    words = np.arange(4000)
    ids = np.full(4000, 17)
    shown, places = MASKING.hide(ids, words, 3)
    kinds = shown[places]
    assert len(places) == 600
    assert np.mean(kinds == 4) == pytest.approx(0.8, abs=0.05)
    assert np.mean(kinds == 17) == pytest.approx(0.1, abs=0.04)
    others = kinds[(kinds != 4) & (kinds != 17)]
    assert others.min() >= 5
    assert others.max() < 300
    assert len(set(others.tolist())) > 30


def test_a_text_of_one_word_has_it_hidden_and_one_without_words_nothing() -> None:
    assert MASKING.hide(np.array([2, 9, 9, 9, 3]), np.array([-1, 0, 0, 0, -1]), 1)[1].tolist() == [1, 2, 3]
    assert MASKING.hide(np.array([2, 3]), np.array([-1, -1]), 1)[1].tolist() == []


def test_pieces_of_a_word_share_its_number_in_every_script() -> None:
    encoder = TextEncoder.of(build_tokenizer(), 64)
    text = "zzz good, 张三"
    tokens = encoder.tokens(text)
    words = [(0, 3), (4, 8), (8, 9), (10, 11), (11, 12)]
    assert word_numbers(tokens.offsets, words) == [0, 0, 0, 1, 2, 3, 4]
    # Byte-level tokens hold the blank before a word.
    assert word_numbers([(0, 3), (3, 8), (8, 9), (9, 10)], words) == [0, 1, 2, UNTOUCHED]


def test_whole_chinese_words_are_those_of_jieba(tiny_model_folder: Path) -> None:
    pytest.importorskip("jieba")
    text = "我们喜欢北京"
    task = MaskedLanguageModeling(chinese_words=True)
    _, task, encoder = build_model(tiny_model_folder, task, [Example("a", text)])
    target = task.encode(Example("a", text), encoder).target
    assert target is not None
    assert target.tolist() == [-1, 0, 0, 1, 1, 2, 2, -1]
    plain = MaskedLanguageModeling().encode(Example("a", text), encoder).target
    assert plain is not None
    assert plain.tolist() == [-1, 0, 1, 2, 3, 4, 5, -1]


def test_training_masks_follow_the_seed_and_evaluation_masks_do_not(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, MaskedLanguageModeling(mask_share=0.4), TEXTS)
    model.eval()
    encoded = [task.encode(example, encoder) for example in TEXTS]
    shown, answers = [], []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        batch = task.collate(encoded, 0)
        shown.append(batch.input_ids)
        answers.append(torch.cat(task.infer(model, batch)))
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[0], shown[1])
    assert torch.equal(answers[0], answers[1])


def test_a_new_output_layer_starts_near_chance_and_learns(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, MaskedLanguageModeling(), TEXTS)
    assert any(name.startswith("body.cls.") for name in model.lacking)
    steps = run_steps(build_learner(model), build_material(task, encoder, TEXTS), steps=40, rate=5e-3, batch_size=8)
    assert steps[0].loss == pytest.approx(math.log(len(encoder.tokenizer)), abs=1.5)
    assert sum(step.loss for step in steps[-5:]) / 5 < steps[0].loss - 1.5


# What is scored


@pytest.mark.parametrize("stride", [1, 8])
def test_each_token_of_a_long_text_is_foretold_once(stride: int, tiny_decoder_folder: Path) -> None:
    text = " ".join(["good day the film"] * 20)
    task = CausalLanguageModeling(stride=stride)
    _, task, encoder = build_model(tiny_decoder_folder, task, [Example("a", text)], max_length=24)
    encoded = task.encode(Example("a", text), encoder)
    tokens = encoder.tokens(text).ids
    foretold = [int(piece.input_ids[place + 1]) for piece in encoded.pieces for place in piece.unit_positions]
    assert len(encoded.pieces) > 3
    assert foretold == tokens


def test_the_log_likelihood_is_that_of_the_chain_rule(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, CausalLanguageModeling(), TEXTS)
    answers = Predictor(model.eval(), task, encoder).predict(TEXTS)
    for example, answer in zip(TEXTS, answers, strict=True):
        ids = [*encoder.before, *encoder.tokens(example.text).ids]
        with torch.no_grad():
            log_p = model.body(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted = sum(float(log_p[place, token]) for place, token in enumerate(ids[1:]))
        assert answer.log_likelihood == pytest.approx(wanted, rel=1e-4)
        assert answer.label_tokens == len(ids) - 1
        assert answer.label == ""


def test_texts_without_a_token_to_foretell_add_nothing(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, CausalLanguageModeling(), TEXTS)
    bare = TextEncoder(encoder.tokenizer, (), (), 64)
    few = [Example("a", "good"), Example("b", "good day")]
    answers = Predictor(model, task, bare).predict(few)
    assert [answer.label_tokens for answer in answers] == [0, 1]
    alone = task.collate([task.encode(few[0], bare)], 0)
    assert float(task.loss(model.head, model(alone), alone).detach()) == 0


def test_perplexity_is_over_all_tokens_and_not_a_mean_over_texts() -> None:
    examples = [Example("a", "abcd"), Example("b", "ab"), Example("c", "?")]
    answers = [
        Prediction("a", "", math.nan, log_likelihood=-6.0, label_tokens=3, right_tokens=1),
        Prediction("b", "", math.nan, log_likelihood=-1.0, label_tokens=1, right_tokens=1),
        Prediction("c", "", math.nan, log_likelihood=0.0),
    ]
    found = {measure.name: measure.value() for measure in measure_foretold(answers)}
    assert found["token_loss"] == pytest.approx(7 / 4)
    assert found["perplexity"] == pytest.approx(math.exp(7 / 4))
    assert found["token_accuracy"] == pytest.approx(0.5)
    assert measure_bits(examples, answers).value() == pytest.approx(7 / math.log(2) / 7)
    assert all(math.isnan(measure.value()) for measure in measure_foretold(answers[2:]))


# Where texts come from


def test_joining_loses_nothing_and_keeps_documents_apart() -> None:
    examples = [Example(str(n), f"text {n}", group="one" if n < 7 else "two") for n in range(12)]
    examples.insert(3, Example("long", "x" * 100, group="one"))
    made = joined(examples, " | ", 40)
    assert " | ".join(one.text for one in made) == " | ".join(one.text for one in examples)
    assert all(len(one.text) <= 40 for one in made if one.id != "long")
    assert [one.group for one in made] == sorted(one.group for one in made)
    assert len(made) < len(examples) / 2


def test_joined_windows_are_nearly_full_and_the_separator_is_a_token(tiny_model_folder: Path) -> None:
    examples = [Example(str(n), f"the day was good and film {n}") for n in range(80)]
    task = MaskedLanguageModeling(join=True, max_length=48)
    _, task, encoder = build_model(tiny_model_folder, task, examples, max_length=48)
    encoded = [task.encode(one, encoder) for one in task.arranged(examples, 1)]
    assert np.mean([item.tokens for item in encoded]) > 0.75 * 48
    separator = encoder.tokenizer.sep_token_id
    inside = [token for item in encoded for token in item.pieces[0].input_ids[1:-1]]
    assert separator in inside
    target = encoded[0].target
    assert target is not None
    assert all(target[n] == UNTOUCHED for n, token in enumerate(encoded[0].pieces[0].input_ids) if token == separator)


def test_raw_text_is_read_from_lines_tables_and_columns_of_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one text\n\n另一段话\nlast\n", encoding="utf-8")
    (tmp_path / "a.conll").write_text("Anna B-PER\nwent O\n\nRome B-LOC\n", encoding="utf-8")
    rows = [{"text": "first", "label": "x"}, {"text": "second", "label": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    wanted = {
        "a.txt": ["one text", "另一段话", "last"],
        "a.conll": ["Anna went", "Rome"],
        "a.jsonl": ["first", "second"],
    }
    for name, texts in wanted.items():
        data = Data(train=str(tmp_path / name), validation_share=0, test_share=0)
        read = data.load("", 1).splits.train
        assert [example.text for example in read] == texts
        assert all(example.label is None for example in read)


def test_lines_that_occur_again_are_only_noted() -> None:
    examples = [Example(str(n), "the same line of text stands here") for n in range(5)]
    found = check(Splits(examples, (), ()), label_kind="")
    assert {finding.code: finding.severity for finding in found}["exact_duplicates"] == "note"
    assert not [finding for finding in found if finding.severity != "note"]


@pytest.mark.real_data
def test_biomedical_sentences_are_read_with_and_without_their_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(data_folder()))
    labelled, raw = (Data(name="bc5cdr").load(kind, 1).splits for kind in ("spans", ""))
    assert [len(labelled.train), len(labelled.validation), len(labelled.test)] == [4560, 4581, 4797]
    assert {span.label for example in labelled.train for span in example.label or ()} == {"Chemical", "Disease"}  # type: ignore[union-attr]
    assert [example.text for example in raw.train] == [example.text for example in labelled.train]
    assert len(Data(name="ncbi-disease").load("spans", 1).splits.test) == 940


# The whole way


def test_a_run_on_raw_text_gives_a_model_that_learns_a_task_further(place: Path) -> None:
    texts = [f"the {word} day number {n} was {word}" for n in range(60) for word in ("good", "bad")]
    (place / "raw.txt").write_text("\n".join(texts), encoding="utf-8")
    task = {"name": "masked_language_modeling", "join": True, "max_length": 32}
    first = write_recipe(place, task=task, data={"train": str(place / "raw.txt")})
    result = pipeline.run(Experiment.from_yaml(first), place / "first", quiet=True)
    values = json.loads((result.folder / "metrics.json").read_text(encoding="utf-8"))["test"]["perplexity"]
    assert values["low"] < values["value"] < values["high"]
    assert {"arranged", "new_weights"} <= {finding.code for finding in result.report.findings}
    row = json.loads((result.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["label_tokens"] > 0 > row["log_likelihood"]

    backbone = load(locate(str(result.artifact)), dropout=None)
    kept = load_file(result.artifact / "model.safetensors")
    for name, tensor in backbone.module.state_dict().items():
        assert torch.equal(tensor, kept[f"body.bert.{name}"])
    assert backbone.unused
    assert not backbone.missing
    second = write_recipe(place, model={"name": str(result.artifact)})
    report = pipeline.run(Experiment.from_yaml(second), place / "second", quiet=True).report
    assert "weights_left_out" in {finding.code for finding in report.findings}


def test_the_output_layer_goes_on_from_where_an_earlier_domain_left_it(place: Path) -> None:
    (place / "wide.txt").write_text("\n".join(f"the good day number {n}" for n in range(60)), encoding="utf-8")
    (place / "near.txt").write_text("\n".join(f"the bad film number {n}" for n in range(60)), encoding="utf-8")
    wide = write_recipe(place, task="masked_language_modeling", data={"train": str(place / "wide.txt")})
    first = pipeline.run(Experiment.from_yaml(wide), place / "first", quiet=True)
    backbone = load(locate(str(first.artifact)), dropout=None, kind="masked_lm")
    assert not backbone.missing
    assert not backbone.unused
    settings = {"task": "masked_language_modeling", "model": {"name": str(first.artifact)}}
    near = write_recipe(place, data={"train": str(place / "near.txt")}, **settings)
    report = pipeline.run(Experiment.from_yaml(near), place / "second", quiet=True).report
    assert not {"new_weights", "weights_left_out"} & {finding.code for finding in report.findings}


def test_a_decoder_is_trained_further_on_chinese_lines(tiny_decoder_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(tiny_decoder_folder)
    (tmp_path / "raw.txt").write_text("\n".join(f"今天天气很好，我们去北京{n}" for n in range(80)), encoding="utf-8")
    task = {"name": "causal_language_modeling"}
    recipe = write_recipe(tmp_path, task=task, data={"train": str(tmp_path / "raw.txt")})
    report = pipeline.run(Experiment.from_yaml(recipe), tmp_path / "run", quiet=True).report
    history = [point.loss for point in report.history]
    assert history[-1] < history[0]
    assert report.splits[-1].metrics["perplexity"].value < len(build_tokenizer())


# What cannot be


def test_joining_without_a_window_is_refused() -> None:
    with pytest.raises(RecipeError, match="join: true needs max_length"):
        CausalLanguageModeling(join=True)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_hides_nothing_or_all_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="between 0 and 1"):
        MaskedLanguageModeling(mask_share=share)


def test_a_tokenizer_without_a_mask_cannot_fill_in() -> None:
    bare = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="<unk>")
    with pytest.raises(ModelError, match="no mask token"):
        MaskedLanguageModeling().prepared(CLASSES, tokenizer)


def test_words_that_are_given_are_hidden_as_they_are_given(tiny_model_folder: Path) -> None:
    text, words = join_words(["e-mail", "good"])
    _, task, encoder = build_model(tiny_model_folder, MaskedLanguageModeling(), TEXTS)
    target = task.encode(Example("a", text, None, words), encoder).target
    assert target is not None
    assert set(target.tolist()) == {-1, 0, 1}
