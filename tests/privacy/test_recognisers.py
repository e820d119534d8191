"""Every recogniser finds what it must, leaves what it must, works beside Chinese characters, and takes linear time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.privacy.samples import SAMPLES, Samples
from tunesmith.components import build
from tunesmith.data.records import Span
from tunesmith.errors import RecipeError
from tunesmith.privacy import RECOGNISERS, Names, Pattern, Recogniser, Redactor, Surface, standard
from tunesmith.privacy.redactor import resolved
from tunesmith.privacy.surface import words_of

SETTINGS: dict[str, object] = {"pattern": {"kind": "STAFF", "pattern": "S-[0-9]{5}"}}
NAMES = [name for name in RECOGNISERS if name != "presidio"]
FOUND = [(name, text) for name in NAMES for text in SAMPLES[name].found]
LEFT = [(name, text) for name in NAMES for text in SAMPLES[name].left]
HOSTILE = [(name, piece) for name in NAMES for piece in SAMPLES[name].hostile]


def recogniser(name: str) -> Recogniser:
    settings = SETTINGS.get(name, {})
    assert isinstance(settings, dict)
    return build(RECOGNISERS, {"name": name, **settings})


def marked(text: str) -> tuple[str, int, int]:
    start = text.index("⟦")
    plain = text.replace("⟦", "")
    end = plain.index("⟧")
    return plain.replace("⟧", ""), start, end


def places(name: str, text: str) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in resolved(recogniser(name).find(Surface.of(text)))]


@pytest.mark.parametrize("name", NAMES)
def test_every_recogniser_has_samples(name: str) -> None:
    assert isinstance(SAMPLES[name], Samples)
    assert SAMPLES[name].found
    assert SAMPLES[name].left
    assert SAMPLES[name].hostile


@pytest.mark.parametrize(("name", "text"), FOUND)
def test_values_are_found_at_their_borders(name: str, text: str) -> None:
    plain, start, end = marked(text)
    assert places(name, plain) == [(start, end)], plain
    assert {one.kind for one in recogniser(name).find(Surface.of(plain))} <= set(recogniser(name).kinds)


@pytest.mark.parametrize(("name", "text"), FOUND)
def test_values_are_found_right_beside_chinese_characters(name: str, text: str) -> None:
    plain, start, end = marked(text)
    if name == "address" or (name == "person_name" and not plain[end - 1].isascii()):
        pytest.skip("a Chinese name or address has no border beside Chinese characters")
    is_led = name == "person_name" or plain[max(0, start - 1) : start].isalpha()  # by what stands right before it
    between = "" if is_led else "是"
    beside = f"我{plain[:start]}{between}{plain[start:end]}的{plain[end:]}"
    shift = 1 + len(between)
    assert (start + shift, end + shift) in places(name, beside), beside


@pytest.mark.parametrize(("name", "text"), LEFT)
def test_what_only_looks_like_a_value_is_left(name: str, text: str) -> None:
    assert places(name, text) == [], text


def _seconds(work: Callable[[], object]) -> float:
    """The least of three times of the processor."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize(("name", "piece"), HOSTILE)
def test_time_grows_with_the_length_and_not_with_its_square(name: str, piece: str) -> None:
    """Eight times the text may take at most 24 times as long; a square would take 64 times."""
    asked = recogniser(name)
    short, long = (Surface.of((piece * (size // len(piece) + 1))[:size] + "!") for size in (4_000, 32_000))
    before = _seconds(lambda: list(asked.find(short)))
    after = _seconds(lambda: list(asked.find(long)))
    assert after <= 24 * before + 0.02, f"{before:.4f} s, then {after:.4f} s"


def test_an_own_pattern_that_looks_far_ahead_at_each_place_takes_linear_time() -> None:
    asked = Pattern("X", "a(?:.*b)?")
    before = _seconds(lambda: list(asked.find(Surface.of("a" * 8_000))))
    after = _seconds(lambda: list(asked.find(Surface.of("a" * 32_000))))
    assert after <= 10 * before + 0.02


@pytest.mark.parametrize("place", [0, 3000, 3060, 3071, 3072, 4095, 6143, 6144, 6200])
def test_an_own_pattern_finds_a_value_wherever_the_windows_end(place: int) -> None:
    text = "一" * place + "S-12345" + "二" * 5000
    assert [(one.start, one.end) for one in Pattern("STAFF", "S-[0-9]{5}").find(Surface.of(text))] == [
        (place, place + 7)
    ]


def test_an_own_pattern_can_ask_for_a_word_and_a_check() -> None:
    asked = Pattern("CLUB", "[0-9]{8}", context=("member", "会员"), check="luhn")
    redactor = Redactor((asked,))
    assert redactor.apply("会员79927398713的").text == "会员79927398713的"
    assert redactor.apply("会员12345674的").text == "会员<CLUB>的"
    assert redactor.apply("订单12345674的").text == "订单12345674的"
    assert redactor.apply("会员12345675的").text == "会员12345675的"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "staff", "pattern": "a"}, "in capitals"),
        ({"kind": "STAFF", "pattern": "(?=a)"}, "no regular expression of RE2"),
        ({"kind": "STAFF", "pattern": "a*"}, "matches the empty text"),
        ({"kind": "STAFF", "pattern": "a", "check": "lunh"}, "Did you mean 'luhn'"),
    ],
)
def test_a_wrong_own_pattern_is_explained(settings: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        build(RECOGNISERS, {"name": "pattern", **settings})


def test_names_come_from_a_tagger_with_places_in_the_original_text() -> None:
    def tagger(text: str) -> list[Span]:
        return [Span(text.index("张三"), text.index("张三") + 2, "PER"), Span(0, 1, "ORG")]

    redactor = Redactor((*standard(), Names(tagger)))
    assert redactor.apply("今\u200b天张三13812345678打来").text == "今\u200b天<PERSON><MOBILE>打来"


def test_certain_values_win_over_longer_ones_and_longer_ones_over_shorter() -> None:
    redactor = Redactor(standard())
    assert redactor.apply("call +86 13812345678").counts == {"MOBILE": 1}
    assert redactor.apply("https://example.com/?mail=a@b.com").counts == {"URL": 1}
    assert redactor.apply("驾驶证34052419800101001X").counts == {"ID_CARD": 1}


def test_words_are_near_only_as_whole_words_and_within_reach() -> None:
    words = words_of(("call", "电话"))
    assert Surface.of("call 12").near(words, 5, 7)
    assert Surface.of("12 call").near(words, 0, 2)
    assert not Surface.of("recall 12").near(words, 7, 9, before=5)
    assert not Surface.of("call" + " " * 60 + "12").near(words, 64, 66)
    assert Surface.of("打电话12").near(words, 3, 5)
