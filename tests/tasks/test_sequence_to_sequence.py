"""Texts written from others: what is learnt comes back, and settings do what they say."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tokenizers import processors
from torch import Tensor
from transformers import (
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from tests.builders import TRANSLATIONS, build_learner, build_material, build_model, run_steps, torch_model
from tests.conftest import BART_SIZES, build_tokenizer, save_tiny
from tunesmith.data.encoding_checks import TokenCount, check_encoding
from tunesmith.data.records import Example
from tunesmith.errors import ModelError, RecipeError
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.tasks import SequenceToSequence
from tunesmith.tasks.encoding import IGNORED, TextEncoder
from tunesmith.tasks.languages import around
from tunesmith.tasks.writing import Written

FEW = TRANSLATIONS[:4]


def made(
    folder: Path, task: SequenceToSequence, examples: list[Example], max_length: int = 0
) -> tuple[Model, SequenceToSequence, TextEncoder]:
    """A tiny model with its prepared task."""
    model, prepared, encoder = build_model(folder, task, examples, max_length=max_length)
    assert isinstance(prepared, SequenceToSequence)
    return model, prepared, encoder


def task_of(predictor: Predictor) -> SequenceToSequence:
    assert isinstance(predictor.task, SequenceToSequence)
    return predictor.task


def learnt(folder: Path, task: SequenceToSequence, examples: list[Example], steps: int = 40, rate: float = 1e-2):
    """A predictor that learnt its examples by heart."""
    model, task, encoder = made(folder, task, examples)
    learner = build_learner(model)
    run_steps(learner, build_material(task, encoder, examples), steps=steps, rate=rate)
    learner.weights.finish()
    return Predictor(model.eval(), task, encoder)


@pytest.fixture(scope="module")
def by_heart(tiny_bart_folder: Path) -> Predictor:
    return learnt(tiny_bart_folder, SequenceToSequence(beams=2, max_new_tokens=8), FEW)


@pytest.fixture(scope="module", params=["m2m", "marian", "mbart"])
def pair_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder-decoder of other kinds: fixed places, with the norms after and before the blocks."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(build_tokenizer()), **BART_SIZES}
    kinds = {
        "m2m": lambda: M2M100ForConditionalGeneration(
            M2M100Config(encoder_layerdrop=0.0, decoder_layerdrop=0.0, **sizes)
        ),
        "marian": lambda: MarianMTModel(MarianConfig(forced_eos_token_id=None, **sizes)),
        "mbart": lambda: MBartForConditionalGeneration(
            MBartConfig(forced_eos_token_id=None, **(sizes | {"decoder_start_token_id": 3}))
        ),
    }
    return save_tiny(tmp_path_factory.mktemp("pairs") / request.param, kinds[request.param]())


def test_what_was_learnt_by_heart_is_written(by_heart: Predictor) -> None:
    answers = by_heart.predict(FEW)
    assert [answer.label for answer in answers] == [example.label for example in FEW]
    assert all(answer.confidence > 0.9 for answer in answers)
    measures = {measure.name: measure.value() for measure in by_heart.task.measures(FEW, answers)}
    assert measures["exact_match"] == measures["rouge_l"] == 1
    assert measures["chrf"] == 100
    assert measures["perplexity"] < 1.1


def test_other_kinds_learn_by_heart_too(pair_folder: Path, tiny_t5_folder: Path) -> None:
    task = SequenceToSequence(beams=2, max_new_tokens=8)
    for folder in (pair_folder, tiny_t5_folder):
        answers = learnt(folder, task, FEW, steps=150, rate=4e-3).predict(FEW)
        assert [answer.label for answer in answers] == [example.label for example in FEW]


def test_a_saved_model_writes_the_same(by_heart: Predictor, tmp_path: Path) -> None:
    save_artifact(
        tmp_path / "artifact",
        torch_model(by_heart),
        by_heart.task,
        by_heart.encoder,
        Origin("{}", {}, "tiny", {}, 1),
        "",
    )
    assert Predictor.load(tmp_path / "artifact", device="cpu").predict(TRANSLATIONS) == by_heart.predict(TRANSLATIONS)


def test_texts_are_written_without_labels(by_heart: Predictor) -> None:
    (answer,) = by_heart.predict([replace(FEW[2], label=None)])
    assert answer.label == "我是人"
    assert answer.label_tokens == 0
    assert math.isnan(answer.log_likelihood)


def test_the_likelihood_is_that_of_the_given_text_token_by_token(by_heart: Predictor) -> None:
    model, task, encoder = torch_model(by_heart), by_heart.task, by_heart.encoder
    for example, answer in zip(TRANSLATIONS, by_heart.predict(TRANSLATIONS), strict=True):
        item: Any = task.encode(example, encoder)
        wanted, total = [int(token) for token in item.target], 0.0
        with torch.inference_mode():
            for place, token in enumerate(wanted):
                read = torch.tensor([[2, *wanted[:place]]])
                source = torch.from_numpy(item.pieces[0].input_ids)[None].long()
                logits = model.body(input_ids=source, decoder_input_ids=read).logits[0, -1]
                total += float(logits.log_softmax(-1)[token])
        assert answer.label_tokens == len(wanted)
        assert answer.log_likelihood == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_more_beams_never_find_a_less_likely_text(tiny_bart_folder: Path) -> None:
    predictor = learnt(tiny_bart_folder, SequenceToSequence(beams=1, max_new_tokens=6), FEW, steps=6)
    sure = {}
    for beams in (1, 6):
        task = replace(task_of(predictor), beams=beams)
        rows = Predictor(predictor.model, task, predictor.encoder).logits(predictor.encode(TRANSLATIONS))
        sure[beams] = [Written.of(row) for row in rows]
    means = {n: [one.sure / (len(one.tokens) + 1) for one in found] for n, found in sure.items()}
    assert sum(means[6]) >= sum(means[1])


def test_one_beam_takes_the_likeliest_token_each_time(by_heart: Predictor) -> None:
    task = replace(task_of(by_heart), beams=1)
    written = Predictor(by_heart.model, task, by_heart.encoder).logits(by_heart.encode(TRANSLATIONS))
    for example, row in zip(TRANSLATIONS, written, strict=True):
        source = torch.from_numpy(task.encode(example, by_heart.encoder).pieces[0].input_ids)[None].long()
        read = [2]
        while len(read) <= task.max_new_tokens and (len(read) == 1 or read[-1] != 3):
            with torch.inference_mode():
                logits = torch_model(by_heart).body(input_ids=source, decoder_input_ids=torch.tensor([read])).logits
            read.append(int(logits[0, -1].argmax()))
        assert list(Written.of(row).tokens) == [token for token in read[1:] if token != 3]


def test_no_sequence_is_repeated_where_none_may(tiny_bart_folder: Path) -> None:
    again = [replace(example, label="good bad good bad good bad") for example in FEW]
    predictor = learnt(tiny_bart_folder, SequenceToSequence(beams=1, max_new_tokens=8), again)
    assert predictor.predict(again)[0].label == again[0].label
    task = replace(task_of(predictor), no_repeat_ngram=2)
    (row, *_) = Predictor(predictor.model, task, predictor.encoder).logits(predictor.encode(again))
    tokens = Written.of(row).tokens
    assert len(set(itertools.pairwise(tokens))) == len(tokens) - 1 > 2


def test_smoothing_gives_every_token_alike_and_padding_nothing(tiny_bart_folder: Path) -> None:
    model, task, encoder = made(tiny_bart_folder, SequenceToSequence(label_smoothing=0.2), TRANSLATIONS)
    model.eval()
    batch = task.collate([task.encode(example, encoder) for example in TRANSLATIONS], 0)
    logits = model(batch).detach()
    total, count = 0.0, 0
    for row, targets in zip(logits.log_softmax(-1), cast(Tensor, batch.targets), strict=True):
        for scores, target in zip(row, targets.tolist(), strict=True):
            if target != IGNORED:
                total -= 0.8 * float(scores[target]) + 0.2 * float(scores.mean())
                count += 1
    assert batch.units == count
    assert float(task.loss(model.head, logits, batch)) == pytest.approx(total / count, rel=1e-5)


def test_how_a_step_is_cut_does_not_change_its_gradient(tiny_t5_folder: Path) -> None:
    gradients = []
    for cuts in ([range(8)], [range(3), range(3, 8)]):
        model, task, encoder = made(tiny_t5_folder, SequenceToSequence(), TRANSLATIONS)
        model.eval()
        encoded = [task.encode(example, encoder) for example in TRANSLATIONS]
        batches = [task.collate([encoded[n] for n in part], 0) for part in cuts]
        units = sum(batch.units for batch in batches)
        for batch in batches:
            (task.loss(model.head, model(batch), batch) * batch.units / units).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def test_long_texts_are_cut_at_their_end_and_counted(tiny_bart_folder: Path) -> None:
    long = Example("x", "good " * 50 + "end", "bad " * 50)
    task = SequenceToSequence(max_target_length=12, source_prefix="big ")
    _, task, encoder = made(tiny_bart_folder, task, [long], max_length=20)
    item: Any = task.encode(long, encoder)
    assert (item.longest, len(item.target)) == (20, 12)
    assert str(encoder.tokenizer.decode(item.pieces[0].input_ids)).startswith("[CLS] big good good")
    assert (item.pieces[0].input_ids[-1], item.target[-1]) == (3, 3)
    counts = [TokenCount(item.tokens, item.unknown, 1, changed=item.changed)]
    found = {one.code: one for one in check_encoding([long], counts, max_length=20, split="train")}
    assert found["cut_source"].count == found["cut_target"].count == 1
    assert "long_texts" not in found


def test_a_target_longer_than_the_window_is_refused(tiny_bart_folder: Path) -> None:
    _, task, encoder = made(tiny_bart_folder, SequenceToSequence(max_target_length=40), FEW, max_length=20)
    with pytest.raises(RecipeError, match="max_target_length is 40, more than the 20"):
        task.encode(FEW[0], encoder)


def test_a_long_text_to_write_counts_for_the_size_of_a_batch(tiny_bart_folder: Path) -> None:
    _, task, encoder = made(tiny_bart_folder, SequenceToSequence(), FEW)
    assert task.encode(Example("x", "a", "good " * 20), encoder).longest == 22


def test_choosing_needs_no_writing_unless_asked(by_heart: Predictor) -> None:
    choosing = by_heart.task.for_choosing()
    assert choosing.metric == "perplexity"
    predictor = Predictor(by_heart.model, choosing, by_heart.encoder)
    names = [measure.name for measure in choosing.measures(FEW, predictor.predict(FEW))]
    assert names == ["perplexity"]
    asked = replace(task_of(by_heart), choose_by="metric", metric="chrf")
    assert asked.for_choosing() is asked


LANGUAGES = ["en_XX", "zh_CN", "de_DE"]


def build_multilingual(single: str) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with language codes, as one of the kinds of mBART puts them around a text."""
    plain = build_tokenizer()
    backend = plain.backend_tokenizer
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="[SEP]",
        additional_special_tokens=LANGUAGES,
        model_max_length=64,
    )
    special = [("[SEP]", 3), ("en_XX", made.convert_tokens_to_ids("en_XX"))]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    return made


@pytest.fixture(params=["en_XX $A [SEP]", "$A [SEP] en_XX"], ids=["first", "last"])
def mbart_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = build_multilingual(request.param)
    sizes = BART_SIZES | {"decoder_start_token_id": 3}
    config = MBartConfig(vocab_size=len(tokenizer), forced_eos_token_id=None, **sizes)
    MBartForConditionalGeneration(config).save_pretrained(tmp_path / "mbart")
    tokenizer.save_pretrained(tmp_path / "mbart")
    return tmp_path / "mbart"


def test_language_codes_stand_where_the_tokenizer_puts_them(mbart_folder: Path) -> None:
    task = SequenceToSequence(source_language="zh_CN", target_language="de_DE")
    _, task, encoder = made(mbart_folder, task, FEW)
    zh, de = (encoder.tokenizer.convert_tokens_to_ids(code) for code in ("zh_CN", "de_DE"))
    item: Any = task.encode(FEW[0], encoder)
    source, target = item.pieces[0].input_ids.tolist(), item.target.tolist()
    is_first = source[0] == zh
    assert (source[0], source[-1]) == (zh, 3) if is_first else (source[-2], source[-1]) == (3, zh)
    assert (target[0], target[-1]) == (de, 3) if is_first else (target[-2], target[-1]) == (3, de)
    assert around(encoder, "zh_CN") == (((zh,), (3,)) if is_first else ((), (3, zh)))


def test_the_target_language_decides_what_is_written(mbart_folder: Path, tmp_path: Path) -> None:
    english = [Example(str(n), text, answer) for n, (text, answer) in enumerate([("一", "one"), ("二", "two")])]
    german = [replace(example, label=f"big {example.label}") for example in english]
    task = SequenceToSequence(source_language="zh_CN", target_language="en_XX", beams=2, max_new_tokens=6)
    model, task, encoder = made(mbart_folder, task, english)
    other = replace(task, target_language="de_DE").prepared(german, encoder.tokenizer)
    encoded = [task.encode(e, encoder) for e in english] + [other.encode(e, encoder) for e in german]
    learner = build_learner(model)
    material = replace(build_material(task, encoder, [*english, *german]), encoded=encoded)
    run_steps(learner, material, steps=80, rate=1e-2)
    model.eval()
    for one, examples in ((task, english), (other, german)):
        predictor = Predictor(model, one, encoder)
        assert [answer.label for answer in predictor.predict(examples)] == [e.label for e in examples]
    save_artifact(tmp_path / "artifact", model, other, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    loaded = Predictor.load(tmp_path / "artifact", device="cpu")
    assert loaded.predict(german) == Predictor(model, other, encoder).predict(german)


def test_an_unknown_language_gets_the_nearest_and_a_missing_one_is_asked_for(mbart_folder: Path) -> None:
    for change, match in (
        ({"source_language": "zh_XX", "target_language": "de_DE"}, "no language 'zh_XX'.*zh_CN"),
        ({"source_language": "zh_CN"}, "target_language does not say which"),
    ):
        with pytest.raises(RecipeError, match=match):
            made(mbart_folder, SequenceToSequence(**cast("dict[str, Any]", change)), FEW)


def test_a_language_without_codes_is_refused(tiny_bart_folder: Path) -> None:
    with pytest.raises(RecipeError, match="has no language codes"):
        made(tiny_bart_folder, SequenceToSequence(target_language="de_DE"), FEW)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"beams": 0}, "beams must be at least 1"),
        ({"beams": 1, "length_penalty": 2.0}, "length_penalty has no effect with beams: 1"),
        ({"writes": False, "metric": "perplexity", "beams": 2}, "beams has no effect with writes: false"),
        ({"writes": False}, "no metric but perplexity"),
        ({"label_smoothing": 1.0}, "label_smoothing must be"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be positive"),
        ({"max_target_length": 1}, "leaves no room"),
    ],
)
def test_settings_without_a_sense_are_refused(settings: dict, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        SequenceToSequence(**settings)


def test_a_model_that_only_reads_is_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match="reads one text and writes another"):
        load(locate(str(tiny_model_folder)), dropout=None, kind="seq2seq")


def test_the_end_is_added_where_a_tokenizer_gives_none(tmp_path: Path) -> None:
    tokenizer = build_multilingual("$A")
    encoder = TextEncoder.of(tokenizer, 64)
    assert around(encoder, "") == ((), (3,))


def test_tiny_bart_is_what_it_says(tiny_bart_folder: Path) -> None:
    assert isinstance(
        load(locate(str(tiny_bart_folder)), dropout=None, kind="seq2seq").module, BartForConditionalGeneration
    )
