"""Words that a masked model fills in: other words, where they may stand, and the rest of the text untouched."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHINESE, WORDS
from tunesmith.augmentation import MaskedFill
from tunesmith.augmentation.expand import Augmentation, expand
from tunesmith.augmentation.filler import Filler, Masked, first_covered
from tunesmith.augmentation.masked_fill import KnownFill
from tunesmith.augmentation.words import NEGATIONS, knows_word
from tunesmith.data.records import Example, Span
from tunesmith.errors import ModelError, RecipeError

TEXT = "the good film was in rome and anna did not like this great bank"


@pytest.fixture(scope="module")
def filler(tiny_filler_folder: Path) -> Filler:
    return Filler.load(str(tiny_filler_folder))


def filled(filler: Filler, example: Example, seed: int, **changes: object) -> Example | None:
    return KnownFill(MaskedFill(**changes), filler).augment(example, random.Random(seed))  # type: ignore[arg-type]


def test_new_words_are_other_words_and_protected_ones_and_negations_stay(filler: Filler) -> None:
    seen = set()
    for seed in range(40):
        copy = filled(filler, Example("1", TEXT, "x"), seed, share=0.5, protected=("good", "Rome"))
        assert copy is not None
        pairs = list(zip(TEXT.split(), copy.text.split(), strict=True))
        changed = [(one, other) for one, other in pairs if one != other]
        assert 1 <= len(changed) <= 6
        assert not {one for one, _ in changed} & {"good", "rome", "not"}
        new = {other for _, other in changed}
        assert new <= set(WORDS.split()) - NEGATIONS - {"good", "rome"}
        assert not any(len(word) == 1 and word not in "ai" for word in new)
        seen |= new
    assert len(seen) > 10


def test_the_names_of_labels_are_protected(tiny_filler_folder: Path) -> None:
    known = MaskedFill(share=1.0, model=str(tiny_filler_folder)).fitted(
        [Example("1", TEXT, "great"), Example("2", "b", "good film")]
    )
    for seed in range(10):
        copy = known.augment(Example("1", TEXT, "great"), random.Random(seed))
        assert copy is not None
        words = copy.text.split()
        assert [words[place] for place in (1, 2, 9, 12)] == ["good", "film", "not", "great"]


def test_the_likeliest_candidate_is_the_models_own_answer(filler: Filler) -> None:
    tokens = filler.encoder.tokens("the film was good")
    masked = filler.masked("the film was good", tokens.ids, range(4), {3: ((13, 17), 1)})
    assert masked.ids[masked.gaps[0].places[0]] == filler.encoder.tokenizer.mask_token_id
    with torch.no_grad():
        scores = filler.module(input_ids=torch.tensor([masked.ids])).logits[0, masked.gaps[0].places[0]].softmax(-1)
    words = {word: filler.encoder.tokenizer.convert_tokens_to_ids(word) for word in WORDS.split() if len(word) > 1}
    (options,) = filler.likely([masked], 40)
    of_letters = [(word, weight) for word, weight in options[0] if word.isascii() and len(word) > 1]
    best = sorted(words, key=lambda word: -scores[words[word]].item())[:3]
    assert [word for word, _ in of_letters[:3]] == best
    assert of_letters[0][1] == pytest.approx(scores[words[best[0]]].item(), rel=1e-4)


def test_texts_read_together_get_what_they_get_alone(filler: Filler) -> None:
    known = KnownFill(MaskedFill(share=0.3), filler)
    examples = [Example(str(n), " ".join(TEXT.split()[n:] * (1 + n % 3)), "x") for n in range(9)]
    together = known.augment_all(examples, [random.Random(n) for n in range(9)])
    alone = [known.augment(example, random.Random(n)) for n, example in enumerate(examples)]
    assert together == alone


def test_chinese_words_become_words_with_as_many_characters(filler: Filler) -> None:
    text = "我们公司的银行服务很好，产品问题不多，朋友喜欢学校老师"
    lengths = set()
    for seed in range(30):
        copy = filled(filler, Example("1", text, "x"), seed, share=0.3)
        if copy is None:
            continue
        assert len(copy.text) == len(text)
        assert "不" in copy.text
        changed = [place for place in range(len(text)) if text[place] != copy.text[place]]
        assert changed
        assert all(copy.text[place] in CHINESE for place in changed)
        assert copy.text.count("，") == 2
        lengths.add(len(changed))
    assert lengths
    tokens = filler.encoder.tokens("银行很好")
    masked = filler.masked("银行很好", tokens.ids, range(4), {0: ((0, 2), 2)})
    (options,) = filler.likely([masked], 20)
    assert options[0]
    assert all(len(word) == 2 and knows_word(word) for word, _ in options[0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_spans_and_given_words_stay_true(filler: Filler, seed: int) -> None:
    rng = random.Random(seed)
    tokens = [
        rng.choice(["rome", "film", "good", "not", "anna", "bank", "好", "xyz12", "great"])
        for _ in range(rng.randint(4, 14))
    ]
    text, spans, words, at = " ".join(tokens), [], [], 0
    for token in tokens:
        words.append((at, at + len(token)))
        if token in ("rome", "anna"):
            spans.append(Span(at, at + len(token), {"rome": "place", "anna": "person"}[token]))
        at += len(token) + 1
    example = Example("1", text, tuple(spans), tuple(words) if seed % 2 else None)
    copy = filled(filler, example, seed, share=0.6)
    if copy is None:
        return
    assert isinstance(copy.label, tuple)
    found = [(copy.text[s.start : s.end], s.label) for s in copy.label if isinstance(s, Span)]
    assert found == [(text[s.start : s.end], s.label) for s in spans]
    assert copy.text.split().count("not") == tokens.count("not")
    if copy.words is not None:
        assert [copy.text[start:end] for start, end in copy.words] == copy.text.split()


def test_marks_are_never_filled_in(filler: Filler) -> None:
    example = Example("1", TEXT, "x", marks=(Span(18, 22, "e1"), Span(27, 31, "e2")))
    for seed in range(10):
        copy = filled(filler, example, seed, share=1.0)
        assert copy is not None
        assert [copy.text[mark.start : mark.end] for mark in copy.marks] == [TEXT[18:22], TEXT[27:31]]


def test_of_a_text_beyond_the_window_a_part_is_changed(filler: Filler) -> None:
    text = " ".join([TEXT] * 12)
    places = set()
    for seed in range(12):
        copy = filled(filler, Example("1", text, "x"), seed, share=0.05)
        assert copy is not None
        changed = [n for n, (a, b) in enumerate(zip(text.split(), copy.text.split(), strict=True)) if a != b]
        assert changed[-1] - changed[0] < filler.encoder.room
        places.add(changed[0])
    assert max(places) > 70


def test_a_word_that_shares_a_token_with_its_neighbour_has_no_tokens_of_its_own() -> None:
    assert first_covered([(0, 1), (1, 4), (4, 5)], "很喜欢这个", 1, 3) is None
    assert first_covered([(0, 3), (3, 8)], "the film", 4, 8) == range(1, 2)
    assert first_covered([(0, 3), (4, 6), (6, 8)], "the film", 4, 8) == range(1, 3)


def test_copies_of_many_examples_are_those_of_each(tiny_filler_folder: Path) -> None:
    examples = [
        Example(str(n), f"the {word} film was in rome and good", "x") for n, word in enumerate(["great", "big", "old"])
    ]
    augmenters = {"fill_words": MaskedFill(model=str(tiny_filler_folder))}
    made, _ = expand(examples, augmenters, Augmentation(copies=2), seed=1)
    again, _ = expand(examples[::-1], augmenters, Augmentation(copies=2), seed=1)
    assert {example.id: example.text for example in made} == {example.id: example.text for example in again}
    assert len(made) > len(examples)


def test_models_that_fill_in_nothing_and_senseless_settings_are_refused(
    tiny_model_folder: Path, tiny_llama_folder: Path
) -> None:
    with pytest.raises(ModelError, match="fills in no words"):
        Filler.load(str(tiny_model_folder))
    with pytest.raises(ModelError, match="no form that fills in masked words"):
        Filler.load(str(tiny_llama_folder))
    with pytest.raises(RecipeError, match="candidates"):
        MaskedFill(candidates=0)
    assert Masked((), ()).gaps == ()
