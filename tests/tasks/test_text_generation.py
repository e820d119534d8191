"""Dialogues: which tokens count, what is cut, that packing and padding change nothing, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from tests.builders import DIALOGUES, build_learner, build_material, build_model, dialogue, run_steps
from tests.conftest import CHAT_TEMPLATE, build_chat_tokenizer
from tunesmith.data.records import Example, Turn
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import TextGeneration
from tunesmith.tasks.encoding import Encoded, Generation, TextEncoder
from tunesmith.tasks.likelihood import as_batch
from tunesmith.tasks.packing import collate_packed, pieces_of

END = 2
"""The token of <|im_end|>."""
LONG = dialogue("long", "first question", "first answer", "second", "reply", "third question", "last answer")


def encoder_of(template: str | None = CHAT_TEMPLATE, max_length: int = 512) -> TextEncoder:
    return TextEncoder.of(build_chat_tokenizer(template), max_length)


def encoded_by(task: TextGeneration, example: Example, encoder: TextEncoder) -> Encoded:
    return task.prepared([], encoder.tokenizer).encode(example, encoder)


def shown(encoded: Encoded, encoder: TextEncoder, number: int = 0) -> tuple[str, list[str]]:
    """The text of a piece, and the runs of it that count."""
    piece = encoded.pieces[number]
    runs: list[list[int]] = []
    for place in piece.unit_positions.tolist():
        if not runs or runs[-1][-1] != place:
            runs.append([])
        runs[-1].append(place + 1)
    tokenizer = encoder.tokenizer
    return str(tokenizer.decode(piece.input_ids)), [str(tokenizer.decode(piece.input_ids[run])) for run in runs]


def test_the_answers_count_with_their_end_and_nothing_else() -> None:
    encoder = encoder_of()
    text, counted = shown(encoded_by(TextGeneration(), DIALOGUES[4], encoder), encoder)
    assert text == (
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
        "<|im_start|>assistant\n你好！<|im_end|>\n"
        "<|im_start|>user\n你是谁<|im_end|>\n<|im_start|>assistant\n小模型<|im_end|>"
    )
    assert counted == ["你好！<|im_end|>", "小模型<|im_end|>"]
    _, counted = shown(encoded_by(TextGeneration(learn="last"), DIALOGUES[4], encoder), encoder)
    assert counted == ["小模型<|im_end|>"]


def test_targets_are_the_tokens_that_follow() -> None:
    encoder = encoder_of()
    encoded = encoded_by(TextGeneration(), DIALOGUES[1], encoder)
    assert encoded.target is not None
    assert encoder.tokenizer.decode([int(token) for token in encoded.target]) == "很好<|im_end|>"


def test_training_and_answering_read_the_same_question() -> None:
    encoder = encoder_of()
    task = TextGeneration().prepared([], encoder.tokenizer)
    known = task.encode(LONG, encoder).pieces[0]
    asked = task.encode(replace(LONG, label=None), encoder).pieces[0]
    assert known.input_ids[: len(asked.input_ids)].tolist() == asked.input_ids.tolist()
    assert len(asked.input_ids) - 1 in known.unit_positions


def test_a_tokenizer_without_template_gets_the_plain_form_and_one_opening_token() -> None:
    encoder = encoder_of(None)
    task = TextGeneration().prepared([], encoder.tokenizer)
    assert task.template == "plain"
    text, counted = shown(task.encode(DIALOGUES[2], encoder), encoder)
    assert text.startswith("<|begin|>Below is an instruction")
    assert text.count("<|begin|>") == 1
    assert "\n\n### Instruction:\nhi\n\n### Response:\nhello<|im_end|>\n\n### Instruction:\nwho are you\n\n" in text
    assert counted == ["hello<|im_end|>", "a tiny model<|im_end|>"]


def test_a_template_that_writes_the_opening_token_gets_no_second_one() -> None:
    encoder = encoder_of("{{ bos_token }}" + CHAT_TEMPLATE)
    text, _ = shown(encoded_by(TextGeneration(), DIALOGUES[0], encoder), encoder)
    assert text.count("<|begin|>") == 1


FORGETFUL = CHAT_TEMPLATE.replace("m['content']", "m['content'] if loop.last or m['role'] != 'assistant' else ''")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        # Only the last answer keeps its words, as with models that take their thoughts out of earlier answers.
        (
            CHAT_TEMPLATE.replace("m['content']", "m['content'] if loop.last or m['role'] != 'assistant' else ''"),
            "changes",
        ),
        (CHAT_TEMPLATE.replace("m['content']", "m['content'][:3]"), "leaves out an answer"),
        ("{{ messages | length }} messages" + CHAT_TEMPLATE, "changes earlier messages"),
        (CHAT_TEMPLATE.replace("<|im_end|>", ""), "no token of its own"),
        ("{{ raise_exception('no system!') }}", "refuses messages of user, assistant: no system!"),
    ],
)
def test_templates_that_hide_where_the_answer_stands_are_refused(template: str, said: str) -> None:
    encoder = encoder_of(template)
    with pytest.raises(RecipeError, match=said) as error:
        encoded_by(TextGeneration(), DIALOGUES[2], encoder)
    assert "template: plain" in error.value.to_do


def test_the_oldest_messages_go_first_and_the_answer_stays_whole() -> None:
    whole = encoded_by(TextGeneration(), LONG, encoder_of())
    encoder = encoder_of(max_length=120)
    encoded = encoded_by(TextGeneration(), LONG, encoder)
    text, counted = shown(encoded, encoder)
    assert len(encoded.pieces[0].input_ids) <= 120 < len(whole.pieces[0].input_ids)
    assert text.startswith("<|im_start|>system\nBe kind")
    assert "first question" not in text
    assert counted[-1] == "last answer<|im_end|>"
    assert encoded.dropped > 0
    assert encoded.cut == 0


def test_an_answer_that_does_not_fit_is_cut_at_its_end_and_counted() -> None:
    encoder = encoder_of(max_length=128)
    encoded = encoded_by(TextGeneration(), dialogue("x", "why " * 100 + "end", "so " * 100), encoder)
    text, (counted,) = shown(encoded, encoder)
    assert len(encoded.pieces[0].input_ids) == 128
    assert "end<|im_end|>" in text
    assert counted.startswith("so so")
    assert "<|im_end|>" not in counted
    assert (encoded.dropped > 300, encoded.cut) == (True, 301 - len(encoded.pieces[0].unit_positions))


def test_an_answer_longer_than_the_window_leaves_half_of_it_to_the_dialogue() -> None:
    encoder = encoder_of(max_length=256)
    encoded = encoded_by(TextGeneration(), dialogue("x", "one", "two", "three", "so " * 200), encoder)
    text, counted = shown(encoded, encoder)
    assert "one<|im_end|>" in text
    assert counted[0] == "two<|im_end|>"
    assert (len(encoded.pieces[0].input_ids), encoded.dropped) == (256, 0)


def test_a_question_to_be_answered_leaves_room_for_the_answer() -> None:
    encoder = encoder_of(max_length=128)
    question = Example("x", "why " * 100, turns=(Turn("user", "why " * 100),))
    assert len(encoded_by(TextGeneration(max_new_tokens=30), question, encoder).pieces[0].input_ids) <= 98


def test_a_window_that_the_template_fills_is_an_error() -> None:
    with pytest.raises(RecipeError, match="template alone take"):
        encoded_by(TextGeneration(), dialogue("x", "hi", "ho"), encoder_of(max_length=24))


def test_preferences_are_two_pieces_with_one_question() -> None:
    encoder = encoder_of()
    encoded = encoded_by(TextGeneration(preference=True), DIALOGUES[2], encoder)
    assert [piece.part for piece in encoded.pieces] == [0, 1]
    assert [shown(encoded, encoder, part)[1] for part in (0, 1)] == [["a tiny model<|im_end|>"], ["me<|im_end|>"]]


@pytest.mark.parametrize("room", [0, 96, 400])
def test_packed_dialogues_have_the_logits_that_they_have_alone(room: int, tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TextGeneration(), DIALOGUES)
    model.eval()
    encoded = [task.encode(example, encoder) for example in DIALOGUES]
    packed = collate_packed(encoded, 0, room, 1.0)
    assert packed.blocks is not None
    assert len(packed.input_ids) < len(DIALOGUES) if room == 400 else len(packed.input_ids) >= 4
    with torch.inference_mode():
        together = model(packed)
        owner = packed.blocks.gather(1, packed.unit_positions)
        for number, item in enumerate(encoded, 1):
            alone = model(task.collate([item], 0))[0]
            own = together[(owner == number) & packed.unit_mask]
            torch.testing.assert_close(own, alone, atol=1e-5, rtol=1e-5)


def test_packing_can_be_undone() -> None:
    encoder = encoder_of()
    task = TextGeneration(preference=True).prepared([], encoder.tokenizer)
    encoded = [task.encode(example, encoder) for example in DIALOGUES]
    pieces = [piece for item in encoded for piece in item.pieces]
    for batch in (task.collate(encoded, 0), collate_packed(encoded, 0, 300, 1.0)):
        for piece, again in zip(pieces, pieces_of(batch), strict=True):
            assert again.input_ids.tolist() == piece.input_ids.tolist()
            assert again.unit_positions.tolist() == piece.unit_positions.tolist()
            assert again.part == piece.part


@pytest.mark.parametrize("preference", [False, True])
def test_packing_changes_no_step(preference: bool, tiny_llama_folder: Path) -> None:
    weights = []
    for packing in (False, True):
        asked = TextGeneration(preference=preference, packing=packing, max_length=300, answers=False)
        model, task, encoder = build_model(tiny_llama_folder, asked, DIALOGUES, max_length=300)
        run_steps(build_learner(model), build_material(task, encoder, DIALOGUES), steps=2, rate=1e-2)
        weights.append({name: value.detach() for name, value in model.named_parameters()})
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4)


def test_how_a_step_is_cut_does_not_change_it(tiny_llama_folder: Path) -> None:
    steps = []
    for size, accumulate in ((8, 1), (2, 4)):
        model, task, encoder = build_model(tiny_llama_folder, TextGeneration(), DIALOGUES)
        material = build_material(task, encoder, DIALOGUES)
        learner = build_learner(model)
        steps += run_steps(learner, material, steps=1, rate=1e-3, batch_size=size, accumulate=accumulate)
    assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-5)
    assert steps[0].gradient_norm == pytest.approx(steps[1].gradient_norm, rel=1e-5)


def greedy(body: PreTrainedModel, ids: Sequence[int], count: int) -> list[int]:
    """The likeliest tokens, one whole pass for each."""
    written: list[int] = []
    for _ in range(count):
        token = int(body(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1].argmax())
        if token == END:
            break
        written.append(token)
    return written


def test_questions_of_unequal_length_are_answered_as_each_alone(tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TextGeneration(max_new_tokens=12), DIALOGUES)
    model.eval()
    pieces = [task.encode(replace(example, label=None), encoder).pieces[0] for example in DIALOGUES]
    assert len({len(piece.input_ids) for piece in pieces}) > 3
    with torch.inference_mode():
        together = model.generate(as_batch(pieces), Generation(12, end=END))
        for piece, written in zip(pieces, together, strict=True):
            assert written.tolist() == greedy(model.body, piece.input_ids.tolist(), 12)


def test_learnt_answers_are_written_and_likely(tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TextGeneration(max_new_tokens=24), DIALOGUES)
    run_steps(build_learner(model), build_material(task, encoder, DIALOGUES), steps=220, rate=5e-3, batch_size=8)
    predictor = Predictor(model.eval(), task, encoder)
    answers = predictor.predict(DIALOGUES)
    values = {measure.name: measure.value() for measure in task.measures(DIALOGUES, answers)}
    assert values["exact_match"] > 0.8
    assert values["perplexity"] < 1.5
    assert all(answer.confidence > 0.5 for answer in answers)
    asked = predictor.predict([replace(example, label=None) for example in DIALOGUES])
    assert [answer.label for answer in asked] == [answer.label for answer in answers]
    assert all(answer.label_tokens == 0 for answer in asked)


def test_perplexity_is_that_of_a_plain_forward_pass(tiny_llama_folder: Path) -> None:
    model, task, encoder = build_model(tiny_llama_folder, TextGeneration(answers=False), DIALOGUES)
    model.eval()
    total, count = 0.0, 0
    for example in DIALOGUES:
        piece = task.encode(example, encoder).pieces[0]
        with torch.inference_mode():
            logs = model.body(input_ids=torch.tensor([piece.input_ids.tolist()])).logits[0].log_softmax(-1)
        for place in piece.unit_positions.tolist():
            total -= float(logs[place, piece.input_ids[place + 1]])
            count += 1
    (measure,) = task.measures(DIALOGUES, Predictor(model, task, encoder).predict(DIALOGUES))
    assert measure.value() == pytest.approx(float(torch.tensor(total / count).exp()), rel=1e-4)
    assert not measure.higher_is_better


def test_drawn_answers_are_drawn_alike_each_time(tiny_llama_folder: Path) -> None:
    drawing = TextGeneration(max_new_tokens=12, sampling_temperature=1.5, top_p=0.9)
    model, task, encoder = build_model(tiny_llama_folder, drawing, DIALOGUES)
    predictor = Predictor(model.eval(), task, encoder)
    state = torch.get_rng_state()
    first, again = predictor.predict(DIALOGUES), predictor.predict(DIALOGUES)
    assert first == again
    assert torch.equal(state, torch.get_rng_state())
    assert len({answer.label for answer in first}) > 1


def test_other_causal_models_answer_too(tmp_path: Path) -> None:
    tokenizer = build_chat_tokenizer(None)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=32, n_layer=2, n_head=4, eos_token_id=2, bos_token_id=3
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, task, encoder = build_model(tmp_path, TextGeneration(max_new_tokens=4), DIALOGUES)
    steps = run_steps(build_learner(model), build_material(task, encoder, DIALOGUES), steps=10, rate=5e-3, batch_size=8)
    assert steps[-1].loss < steps[0].loss
    assert len(Predictor(model.eval(), task, encoder).predict(DIALOGUES)) == len(DIALOGUES)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"max_new_tokens": 0}, "task.max_new_tokens"),
        ({"top_p": 0.5}, "task.top_p"),
        ({"top_p": 0.0}, "task.top_p"),
        ({"answers": False, "beams": 4}, "task.beams"),
        ({"sampling_temperature": -1.0}, "task"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, float], where: str) -> None:
    with pytest.raises(RecipeError) as error:
        TextGeneration(**settings)  # type: ignore[arg-type]
    assert error.value.where == where
