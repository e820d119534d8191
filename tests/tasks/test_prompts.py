"""Prompts: what is asked, how words are scored, what is cut, and which examples are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.builders import CLASSES, build_learner, build_material, build_model, run_steps, write_examples, write_recipe
from tests.conftest import build_tokenizer
from tunesmith import pipeline
from tunesmith.data.encoding_checks import check_encoding
from tunesmith.data.records import Example
from tunesmith.errors import DataError, ModelError, RecipeError, TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.preparation import count_of
from tunesmith.tasks import PromptClassification
from tunesmith.tasks.encoding import TextEncoder

WORDS: dict[str, str | tuple[str, ...]] = {"good": ("very good", "great"), "bad": "very bad"}
CAUSAL = PromptClassification(label_words=WORDS)
MASKED = PromptClassification(label_words=WORDS, body="masked_lm")


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose words hold the blank before them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<pad>", "<mask>"])
    tokenizer.train_from_iterator(["It was great. It was terrible. It was great and terrible"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", mask_token="<mask>")


def read(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> str:
    """Tokens as a text."""
    return str(tokenizer.decode([int(token) for token in ids]))


# How words are scored


def causal_reference(model: torch.nn.Module, encoder: TextEncoder, text: str, word: str) -> float:
    """The sum of the log-probabilities of a word's tokens after the prompt."""
    context = [*encoder.before, *encoder.tokens(f"{text} It was").ids]
    answer = encoder.tokens(word).ids
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([context + answer])).logits[0].log_softmax(-1)
    return sum(float(log_p[len(context) - 1 + n, token]) for n, token in enumerate(answer))


def test_a_decoder_scores_words_of_several_tokens_jointly(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, CAUSAL, CLASSES)
    outputs = Predictor(model.eval(), task, encoder).logits([task.encode(example, encoder) for example in CLASSES])
    for example, row in zip(CLASSES, outputs, strict=True):
        bad = causal_reference(model.body, encoder, example.text, "very bad")
        good = [causal_reference(model.body, encoder, example.text, word) for word in ("very good", "great")]
        assert task.labels == ("bad", "good")
        assert row.tolist() == pytest.approx([bad, math.log(sum(map(math.exp, good)) / 2)], rel=1e-4)


def test_per_token_takes_the_mean_over_a_words_tokens(tiny_decoder_folder: Path) -> None:
    words: dict[str, str | tuple[str, ...]] = {"good": "great", "bad": "very bad"}
    rows = {}
    for how in ("raw", "per_token"):
        task = PromptClassification(label_words=words, normalise=how)
        model, task, encoder = build_model(tiny_decoder_folder, task, CLASSES)
        (rows[how],) = Predictor(model.eval(), task, encoder).logits([task.encode(CLASSES[0], encoder)])
    assert rows["per_token"].tolist() == pytest.approx([float(rows["raw"][0]) / 2, float(rows["raw"][1])], rel=1e-5)


def test_an_encoder_is_given_as_many_masks_as_a_word_has_tokens(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, MASKED, CLASSES)
    model.eval()
    encoded = task.encode(CLASSES[0], encoder)
    tokenizer = encoder.tokenizer
    shown = [read(tokenizer, piece.input_ids) for piece in encoded.pieces]
    assert shown == [f"[CLS] good film it was {masks}. [SEP]" for masks in ("[MASK] [MASK]", "[MASK]")]
    (row,) = Predictor(model, task, encoder).logits([encoded])
    places = encoded.pieces[0].unit_positions
    with torch.no_grad():
        log_p = (
            model.body(input_ids=torch.from_numpy(encoded.pieces[0].input_ids)[None].long()).logits[0].log_softmax(-1)
        )
    wanted = sum(float(log_p[p, t]) for p, t in zip(places, encoder.tokens("very bad").ids, strict=True))
    assert float(row[0]) == pytest.approx(wanted, rel=1e-4)


def test_words_after_the_same_tokens_share_a_pass(tiny_decoder_folder: Path) -> None:
    words: dict[str, str | tuple[str, ...]] = {"good": ("great", "best"), "bad": "worst"}
    _, task, encoder = build_model(tiny_decoder_folder, PromptClassification(label_words=words), CLASSES)
    assert len(task.encode(CLASSES[0], encoder).pieces) == 1


@pytest.mark.parametrize("body", ["causal_lm", "masked_lm"])
def test_the_blank_belongs_to_the_word_of_a_byte_level_tokenizer(
    body: str, byte_level: PreTrainedTokenizerFast
) -> None:
    words: dict[str, str | tuple[str, ...]] = {"1": "great", "0": "terrible"}
    task = PromptClassification(label_words=words, body=body, labels=("0", "1"))  # type: ignore[arg-type]
    task = task.prepared([], byte_level)
    encoder = TextEncoder(byte_level, (), (), 64)
    target = task.encode(Example("a", "ah", "1"), encoder).target
    assert target is not None
    answers = [byte_level.convert_ids_to_tokens([int(t) for t in row[2:] if t >= 0]) for row in target]
    assert answers == [["Ġterrible"], ["Ġgreat"]]


def test_learning_from_prompts_lowers_the_loss(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, CAUSAL, CLASSES, METHODS["lora"]())
    steps = run_steps(build_learner(model), build_material(task, encoder, CLASSES), steps=20, rate=1e-2, batch_size=8)
    assert steps[-1].loss < steps[0].loss / 2


# What is cut


@pytest.mark.parametrize("task", [CAUSAL, MASKED], ids=["causal", "masked"])
def test_a_long_text_loses_its_end_and_the_template_stays(
    task: PromptClassification, tiny_decoder_folder: Path, tiny_model_folder: Path
) -> None:
    folder = tiny_decoder_folder if task.body == "causal_lm" else tiny_model_folder
    example = Example("x", " ".join(["film", *["day"] * 100, "work"]), "good")
    _, task, encoder = build_model(folder, task, CLASSES, max_length=24)
    encoded = task.encode(example, encoder)
    for piece in encoded.pieces:
        text = read(encoder.tokenizer, piece.input_ids)
        assert len(piece.input_ids) <= 24
        assert text.startswith("[CLS] film day day")
        assert "day it was" in text
        assert "work" not in text
    assert encoded.unread == 102 + 2 + 2 + (task.body == "masked_lm") - (24 - 2)
    findings = check_encoding([example], [count_of(encoded, task, encoder)], max_length=24, split="train")
    (cut,) = [finding for finding in findings if finding.code == "cut_texts"]
    assert f"{encoded.unread} of" in cut.message
    assert "long_texts" not in {finding.code for finding in findings}


def test_of_a_pair_the_longer_text_is_cut_first(tiny_decoder_folder: Path) -> None:
    task = PromptClassification(template="{text} and {second} is {label}", label_words=WORDS)
    assert task.inputs == ("text", "second")
    _, task, encoder = build_model(tiny_decoder_folder, task, CLASSES, max_length=24)
    encoded = task.encode(Example("x", "good film", second=" ".join(["day"] * 50)), encoder)
    assert read(encoder.tokenizer, encoded.pieces[0].input_ids).startswith("[CLS] good film and day day")


def test_a_window_without_room_for_the_text_is_refused(tiny_decoder_folder: Path) -> None:
    task = PromptClassification(template="{text} " + "good day " * 20 + "{label}", label_words=WORDS)
    _, task, encoder = build_model(tiny_decoder_folder, task, CLASSES, max_length=16)
    with pytest.raises(RecipeError, match="leave no room for the text"):
        task.encode(CLASSES[0], encoder)


# What a model says to nothing


def test_the_prior_is_taken_off(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, replace(CAUSAL, calibrate_prior=True), CLASSES)
    predictor = Predictor(model.eval(), task, encoder)
    empty = [task.encode(Example(str(n), text), encoder) for n, text in enumerate(("N/A", "[MASK]", ""))]
    prior = torch.stack(predictor.logits(empty)).softmax(-1).mean(0)
    (plain,) = predictor.logits([task.encode(CLASSES[0], encoder)])
    wanted = plain.softmax(-1) / prior
    (answer,) = predictor.predict(CLASSES[:1])
    assert list(answer.scores.values()) == pytest.approx((wanted / wanted.sum()).tolist(), rel=1e-4)


# What is shown


MANY = [Example(str(n), f"{word} film number {n}", word) for n in range(30) for word in ("good", "bad")]
SHOWING = PromptClassification(label_words={"good": "great", "bad": "worst"}, demonstrations=2, separator=" ; ")


@pytest.mark.parametrize("selection", ["random", "sampled", "nearest", "diverse"])
def test_demonstrations_are_of_every_class_and_never_the_text_itself(selection: str) -> None:
    tokenizer = build_tokenizer()
    task = replace(SHOWING, selection=selection).prepared(MANY, tokenizer)  # type: ignore[arg-type]
    encoder = TextEncoder.of(tokenizer, 200)
    for example in MANY:
        text = read(tokenizer, task.encode(example, encoder).pieces[0].input_ids)
        own = example.text
        assert text.count(f"{own} it was") == 1
        shown = text.count("great.") + text.count("worst.")
        assert shown == 4 or (selection not in ("sampled", "nearest") and shown == 3)
    assert task == replace(SHOWING, selection=selection).prepared(MANY, tokenizer)  # type: ignore[arg-type]


def test_the_nearest_demonstration_stands_last() -> None:
    tokenizer = build_tokenizer()
    examples = [*MANY, Example("near", "paris london rome", "bad")]
    task = replace(SHOWING, selection="nearest").prepared(examples, tokenizer)
    piece = task.encode(Example("x", "london rome"), TextEncoder.of(tokenizer, 200)).pieces[0]
    assert read(tokenizer, piece.input_ids).endswith("paris london rome it was worst. ; london rome it was")


def test_the_seed_decides_which_are_shown_and_the_budget_how_long_they_may_be() -> None:
    tokenizer = build_tokenizer()
    seeds = {replace(SHOWING, demonstration_seed=seed).prepared(MANY, tokenizer).shown for seed in range(4)}
    assert len(seeds) == 4
    long = [Example(f"l{n}", "day " * 40, word) for n in range(9) for word in ("good", "bad")]
    task = replace(SHOWING, demonstration_tokens=80).prepared([*long, *MANY], tokenizer)
    assert all("day day" not in one.text for one in task.shown)
    with pytest.raises(DataError, match="0 training examples that fit"):
        replace(SHOWING, demonstration_tokens=20).prepared(MANY, tokenizer)


def test_sampled_demonstrations_are_others_for_each_text_and_the_same_each_time() -> None:
    tokenizer = build_tokenizer()
    task = replace(SHOWING, selection="sampled").prepared(MANY, tokenizer)
    encoder = TextEncoder.of(tokenizer, 200)
    texts = [read(tokenizer, task.encode(example, encoder).pieces[0].input_ids) for example in MANY]
    again = [read(tokenizer, task.encode(example, encoder).pieces[0].input_ids) for example in MANY]
    assert texts == again
    assert len({text[: text.rindex(";")] for text in texts}) > len(MANY) // 2


@pytest.mark.parametrize("selection", ["random", "sampled"])
@pytest.mark.parametrize("body", ["causal_lm", "masked_lm"])
def test_scores_after_several_sets_are_the_mean_of_those_after_each(
    body: str, selection: str, tiny_decoder_folder: Path, tiny_model_folder: Path
) -> None:
    folder = tiny_decoder_folder if body == "causal_lm" else tiny_model_folder
    words: dict[str, str | tuple[str, ...]] = {"good": ("great", "well paid"), "bad": "the worst"}
    settings: dict[str, object] = {"label_words": words, "body": body, "selection": selection, "demonstration_sets": 3}
    task = replace(SHOWING, demonstrations=1, demonstration_tokens=30, **settings)  # type: ignore[arg-type]
    model, task, encoder = build_model(folder, task, CLASSES)
    predictor = Predictor(model.eval(), task, encoder)
    together = predictor.logits([task.encode(example, encoder) for example in CLASSES])
    alone = []
    for example in CLASSES:
        sets = task._showing.before(task.shown, example)
        assert len(sets) == 3
        single = [replace(task, selection="random", demonstration_sets=1, shown=tuple(one)) for one in sets]
        rows = [Predictor(model, one, encoder).logits([one.encode(example, encoder)])[0] for one in single]
        alone.append(torch.stack(rows).mean(0))
    torch.testing.assert_close(torch.stack(together), torch.stack(alone), atol=1e-5, rtol=1e-4)


def test_sets_drawn_by_chance_share_no_demonstration() -> None:
    task = replace(SHOWING, demonstration_sets=3).prepared(MANY, build_tokenizer())
    assert len(set(task.shown)) == len(task.shown) == 3 * 2 * 2


def test_soft_prompts_learn_before_the_hard_one(tiny_decoder_folder: Path) -> None:
    model, task, encoder = build_model(tiny_decoder_folder, CAUSAL, CLASSES, METHODS["prompt_tuning"]())
    material = build_material(task, encoder, CLASSES)
    steps = run_steps(build_learner(model), material, steps=30, rate=5e-2, batch_size=8)
    assert {name for name, one in model.named_parameters() if one.requires_grad} == {"soft_prompt.vectors"}
    assert steps[-1].loss < steps[0].loss


@pytest.mark.parametrize("selection", ["random", "sampled", "nearest"])
def test_an_artifact_holds_its_demonstrations(selection: str, tiny_decoder_folder: Path, tmp_path: Path) -> None:
    task = replace(SHOWING, selection=selection, demonstrations=1, demonstration_tokens=40)  # type: ignore[arg-type]
    model, task, encoder = build_model(tiny_decoder_folder, task, CLASSES, METHODS["none"]())
    save_artifact(tmp_path / "artifact", model, task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    loaded = Predictor.load(tmp_path / "artifact", device="cpu")
    assert loaded.task == task
    assert loaded.predict(CLASSES) == Predictor(model.eval(), task, encoder).predict(CLASSES)


# The whole way


@pytest.mark.parametrize("with_train", [False, True])
def test_a_run_without_training_answers_zero_shot_or_in_context(
    with_train: bool, tiny_decoder_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").symlink_to(tiny_decoder_folder)
    places = write_examples(tmp_path)
    task: dict[str, object] = {"name": "prompt_classification", "label_words": {"good": "great", "bad": "worst"}}
    if with_train:
        task |= {"demonstrations": 1, "demonstration_tokens": 40, "calibrate_prior": True}
    data = places if with_train else {"test": places["test"]}
    recipe = write_recipe(tmp_path, task=task, data=data, method="none")
    result = pipeline.run(Experiment.from_yaml(recipe), tmp_path / "run", quiet=True)
    assert result.report.cost.parameters_trained == 0
    assert result.report.splits[-1].metrics["accuracy"].low >= 0
    (shown,) = [" ".join((one.message, *one.examples)) for one in result.report.findings if one.code == "example_shown"]
    assert "brackets" not in shown
    assert shown.lower().endswith("it was")


def test_chinese_templates_and_words_are_like_any_other(tiny_decoder_folder: Path) -> None:
    words: dict[str, str | tuple[str, ...]] = {"好评": "好", "差评": "不好"}
    task = PromptClassification(template="{text}总之很{label}。", label_words=words)
    examples = [Example("a", "酒店房间不大", "差评"), Example("b", "饭菜味道好", "好评")]
    model, task, encoder = build_model(tiny_decoder_folder, task, examples)
    target = task.encode(examples[0], encoder).target
    assert target is not None
    answers = [encoder.tokenizer.convert_ids_to_tokens([int(t) for t in row[2:] if t >= 0]) for row in target]
    assert dict(zip(task.labels, answers, strict=True)) == {"好评": ["好"], "差评": ["不", "好"]}
    assert {one.label for one in Predictor(model, task, encoder).predict(examples)} <= set(words)


# What cannot be


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "{text} is good"}, "lacks a slot"),
        ({"template": "{text} {mood} {label}"}, "wrong slot '{mood}'"),
        ({"template": "{text} {text} {label}"}, "wrong slot '{text}'"),
        ({"template": "It was {label}: {text}"}, "must stand after the text"),
        ({"template": "{text} {label}"}, "and some words"),
        ({"label_words": {"a": "one", "b": ("two", "one")}}, "stands for 'a' and for 'b'"),
        ({"label_words": {"a": "one", "b": " "}}, "empty word"),
        ({"selection": "nearest"}, "no effect without demonstrations"),
        ({"demonstration_sets": 2}, "demonstration_sets has no effect without demonstrations"),
        ({"demonstrations": 1, "demonstration_sets": 0}, "must be positive"),
        ({"demonstrations": 1, "demonstration_sets": 2, "selection": "diverse"}, "one diverse set"),
        ({"demonstrations": 1, "selection": "sampled", "calibrate_prior": True}, "the same demonstrations"),
        ({"demonstrations": -1}, "must not be negative"),
        ({"demonstrations": 1, "selection": "nearest", "calibrate_prior": True}, "the same demonstrations"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        PromptClassification(**settings)  # type: ignore[arg-type]
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"good": "Great", "bad": "great"}, "takes the words"),
        ({"good": "great", "bd": "worst"}, "Did you mean 'bad'?"),
        ({"good": "great"}, "Label 'bad' has no word"),
        ({"good": "great", "bad": "ครับ"}, "does not know the word"),
    ],
)
def test_words_that_do_not_fit_labels_or_tokenizer_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(TunesmithError) as error:
        PromptClassification(label_words=dict(words)).prepared(CLASSES, build_tokenizer())
    assert said in str(error.value)


def test_without_examples_and_words_the_labels_are_not_known() -> None:
    with pytest.raises(RecipeError, match="fewer than two labels"):
        PromptClassification().prepared([], build_tokenizer())


def test_an_encoder_needs_a_mask(byte_level: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=byte_level.backend_tokenizer)
    with pytest.raises(ModelError, match="no mask token"):
        MASKED.prepared(CLASSES, bare)


def test_demonstrations_do_not_count_as_tokens_of_the_text() -> None:
    tokenizer = build_tokenizer()
    long = [Example(str(n), f"the {word} day was {word} and {n}", word) for n in range(9) for word in ("good", "bad")]
    task = SHOWING.prepared(long, tokenizer)
    encoder = TextEncoder.of(tokenizer, 200)
    counts = [count_of(task.encode(example, encoder), task, encoder) for example in long]
    assert all(count.tokens - count.frame == 7 for count in counts)
    assert {one.code for one in check_encoding(long, counts, max_length=200, split="train")} == {"lengths"}
