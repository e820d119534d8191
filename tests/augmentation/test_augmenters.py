"""Every augmenter: reproducible, spans true to their text, and what must stay stays; each does what it says."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tunesmith.augmentation import (
    AUGMENTERS,
    Augmenter,
    CharacterNoise,
    Learning,
    MentionReplacement,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
    TermSwap,
)
from tunesmith.augmentation.character_noise import NEIGHBOURS, looking_alike, sounding_alike, wrong_letters
from tunesmith.augmentation.lexicons import cilin, wordnet
from tunesmith.augmentation.words import NEGATIONS, free_words
from tunesmith.data.records import Example, Span
from tunesmith.errors import DataError, RecipeError

ENGLISH = "He never said that the quick brown fox from Berlin likes a good and happy film with Anna"
CHINESE = "他 不 喜欢 这个 很 好看 的 电影 , 因为 张伟 在 北京 演 得 太 差"


def spanned(text: str, mentions: dict[str, str], *, in_words: bool = False) -> Example:
    spans = tuple(sorted(Span(text.index(word), text.index(word) + len(word), kind) for word, kind in mentions.items()))
    words, at = [], 0
    for word in text.split(" "):
        words.append((at, at + len(word)))
        at += len(word) + 1
    return Example("1", text, spans, tuple(words) if in_words else None)


OF_WHOLE_TEXTS = ("back_translate", "paraphrase")
"""Augmenters that keep no place of a text; see test_rewriting.py."""

EXAMPLES = [
    spanned(ENGLISH, {"Berlin": "place", "Anna": "person"}),
    spanned(ENGLISH.replace("Berlin", "New York").replace("Anna", "Li Na"), {"New York": "place", "Li Na": "person"}),
    spanned(CHINESE, {"张伟": "person", "北京": "place"}, in_words=True),
]


@pytest.fixture
def lexicon(tmp_path: Path) -> str:
    path = tmp_path / "synonyms.txt"
    rows = ["quick fast rapid", "film movie", "good fine", "happy glad", "likes loves", "said told", "never always"]
    path.write_text("\n".join([*rows, "电影\t影片", "喜欢 喜爱"]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def settings(lexicon: str, tiny_filler_folder: Path) -> dict[str, dict[str, str]]:
    synonyms = {"lexicon": lexicon}
    return {
        "replace_synonyms": synonyms,
        "insert_words": synonyms,
        "fill_words": {"model": str(tiny_filler_folder)},
    }


def made(name: str, own: dict[str, dict[str, str]]) -> Augmenter:
    settings: dict[str, Any] = own.get(name, {})
    augmenter = AUGMENTERS[name](**settings)
    return augmenter.fitted(EXAMPLES) if isinstance(augmenter, Learning) else augmenter


def pieces(example: Example) -> list[tuple[str, str]]:
    assert isinstance(example.label, tuple)
    return [(example.text[span.start : span.end], span.label) for span in example.label if isinstance(span, Span)]


@pytest.mark.parametrize("name", [name for name in AUGMENTERS if name not in OF_WHOLE_TEXTS])
def test_a_copy_is_a_function_of_the_seed_and_its_spans_fit(name: str, settings: dict) -> None:
    augmenter = made(name, settings)
    changed = 0
    for example in EXAMPLES:
        for seed in range(20):
            copy = augmenter.augment(example, random.Random(seed))
            assert copy == augmenter.augment(example, random.Random(seed))
            if copy is None:
                continue
            changed += 1
            assert copy.text != example.text
            assert (copy.id, copy.second, copy.marks) == (example.id, example.second, example.marks)
            assert [kind for _, kind in pieces(copy)] == [kind for _, kind in pieces(example)]
            if name != "replace_mentions":
                assert pieces(copy) == pieces(example)
            if example.words is not None:
                assert copy.words is not None
                assert [copy.text[start:end] for start, end in copy.words] == copy.text.split()
            kept = {word for word in example.text.split() if word in NEGATIONS}
            assert kept <= set(copy.text.split()), "a negation is never touched"
    assert changed >= 20


@pytest.mark.parametrize("name", [name for name in AUGMENTERS if name not in OF_WHOLE_TEXTS])
def test_a_text_without_anything_to_change_has_no_copy(name: str, settings: dict) -> None:
    for text in ("", "12 34 , .", "ok", "not never"):
        assert made(name, settings).augment(Example("1", text, ()), random.Random(0)) is None


@pytest.mark.parametrize("name", [name for name in AUGMENTERS if name not in ("swap_terms", *OF_WHOLE_TEXTS)])
@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_must_be_one(name: str, share: float) -> None:
    with pytest.raises(RecipeError, match="share must lie"):
        AUGMENTERS[name](share=share)  # type: ignore[call-arg]


def test_words_become_synonyms_with_their_capitals(lexicon: str) -> None:
    augmenter = SynonymReplacement(share=1.0, lexicon=lexicon, protected=("film",))
    copy = augmenter.augment(Example("1", "Quick and HAPPY people like a good film", "x"), random.Random(1))
    assert copy is not None
    assert copy.text in {f"{word} and GLAD people like a fine film" for word in ("Fast", "Rapid")}


def test_what_is_put_in_means_what_is_there(lexicon: str) -> None:
    text = "a quick look at a happy day"
    copy = RandomInsertion(share=0.3, lexicon=lexicon).augment(Example("1", text, "x"), random.Random(0))
    assert copy is not None
    new = [word for word in copy.text.split() if word not in text.split()]
    assert 1 <= len(new) <= 2
    assert set(new) <= {"fast", "rapid", "glad"}
    assert [word for word in copy.text.split() if word not in new] == text.split()


def test_running_chinese_has_no_blanks_put_in(lexicon: str) -> None:
    example = Example("1", "我们都很喜欢看这个电影", "x")
    copy = RandomInsertion(share=0.1, lexicon=lexicon).augment(example, random.Random(2))
    assert copy is not None
    assert " " not in copy.text
    assert {"影片", "喜爱"} & {copy.text[at : at + 2] for at in range(len(copy.text))}


def test_swapped_words_are_the_same_words_and_deleted_ones_leave_half() -> None:
    text = "one two three four five six seven eight"
    swapped = RandomSwap(share=0.25).augment(Example("1", text, "x"), random.Random(3))
    assert swapped is not None
    assert sorted(swapped.text.split()) == sorted(text.split())
    assert sum(one != other for one, other in zip(swapped.text.split(), text.split(), strict=True)) == 4
    shorter = RandomDeletion(share=1.0).augment(Example("1", text, "x"), random.Random(3))
    assert shorter is not None
    assert len(shorter.text.split()) == 4
    assert "  " not in shorter.text
    assert shorter.text == shorter.text.strip()


def test_mentions_come_from_the_examples_that_were_given_and_from_no_others() -> None:
    augmenter = MentionReplacement(share=1.0).fitted(EXAMPLES)
    seen = {piece for seed in range(60) for piece in pieces(augmenter.augment(EXAMPLES[0], random.Random(seed)))}  # type: ignore[arg-type]
    assert seen == {("New York", "place"), ("北京", "place"), ("Li Na", "person"), ("张伟", "person")}
    assert MentionReplacement(share=1.0).fitted(EXAMPLES[:1]).augment(EXAMPLES[0], random.Random(0)) is None, (
        "there is no other mention"
    )
    nested = Example("1", "Bank of China", (Span(0, 13, "person"), Span(8, 13, "place")))
    assert augmenter.augment(nested, random.Random(0)) is None


def test_slips_are_those_of_a_hand() -> None:
    assert set(NEIGHBOURS["s"]) == set("qweadzxc")
    slips = {wrong_letters("word", random.Random(seed)) for seed in range(300)}
    assert {"wrod", "word"} & slips
    assert {"wrd", "wod", "woord", "worrd", "wird"} <= slips
    assert all(slip[0] == "w" for slip in slips)
    assert wrong_letters("it", random.Random(0)) == "it"


def test_chinese_slips_sound_or_look_alike() -> None:
    assert "末" in looking_alike()["未"]
    assert "事" in sounding_alike()["是"]
    text = "今天 的 天气 非常 好 我们 去 公园"
    for sound, alike in ((True, sounding_alike()), (False, looking_alike())):
        for seed in range(10):
            noise = CharacterNoise(share=0.2, sound=sound, look=not sound)
            copy = noise.augment(Example("1", text, "x"), random.Random(seed))
            if copy is not None:
                changed = [(a, b) for a, b in zip(text, copy.text, strict=True) if a != b]
                assert changed
                assert all(b in alike[a] for a, b in changed)


def test_terms_are_swapped_both_ways_whole_and_with_their_capitals(tmp_path: Path) -> None:
    def swapped(text: str, table: str = "gender") -> str:
        copy = TermSwap(table).augment(Example("1", text, "x"), random.Random(0))
        return text if copy is None else copy.text

    assert swapped("She gave her brother the book; I saw her.") == "He gave his sister the book; I saw him."
    assert swapped("The mankind of the MEN") == "The mankind of the WOMEN"
    assert swapped("他的女朋友是演员") == "她的男朋友是演员"
    (tmp_path / "names.tsv").write_text("Anna\t李娜\nBerlin\tNew York\n", encoding="utf-8")
    assert swapped("Anna left New York", str(tmp_path / "names.tsv")) == "李娜 left Berlin"
    (tmp_path / "bad.tsv").write_text("Anna\n", encoding="utf-8")
    with pytest.raises(DataError, match="has 1 terms"):
        swapped("Anna", str(tmp_path / "bad.tsv"))


def test_a_term_over_a_border_of_a_span_stays() -> None:
    example = Example("1", "the king of hearts", (Span(4, 18, "card"),))
    copy = TermSwap().augment(example, random.Random(0))
    assert copy is not None
    assert pieces(copy) == [("queen of hearts", "card")]
    over = Example("1", "Mr Smith", (Span(1, 8, "person"),))
    assert TermSwap().augment(over, random.Random(0)) is None


def test_lexicons_that_are_not_there_or_empty_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.txt").write_text("alone\n", encoding="utf-8")
    example = Example("1", "a good day for a film", "x")
    with pytest.raises(DataError, match="no line with a word and its synonyms"):
        SynonymReplacement(lexicon=str(tmp_path / "empty.txt")).augment(example, random.Random(0))
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="'cilin' is not on this machine"):
        SynonymReplacement(lexicon="cilin").augment(example, random.Random(0))


def test_words_inside_spans_and_marks_are_not_free() -> None:
    example = Example("1", "the flu causes high fever", "cause", marks=(Span(4, 7, "e1"), Span(20, 25, "e2")))
    assert [example.text[start:end] for start, end in free_words(example)] == ["the", "causes", "high"]


WORDNET = {
    "data.adj": (
        "00000000 00 a 03 quick 0 fast 0 very_fast 0 000 | moving at speed  \n"
        "00000068 00 a 02 quick 0 prompt 0 000 | on time  \n"
    ),
    "index.adj": "  1 a licence\nquick a 2 1 & 2 2 00000000 00000068  \nfast a 1 0 1 1 00000000  \n",
    "data.noun": "00000000 03 n 02 quick 0 flesh 0 000 | of the nails  \n",
    "index.noun": "quick n 1 4 @ ~ + ; 1 1 00000000  \n",
    # More of its meanings stand in the corpus as an adjective, and one of those is by far the commonest.
    "cntlist.rev": "fast%3:00:01:: 1 3\nquick%1:08:00:: 1 2\nquick%3:00:02:: 1 7\nquick%5:00:00:prompt:00 2 9\n",
}


def wordnet_folder(folder: Path) -> Path:
    folder.mkdir()
    parts = [f"{kind}.{part}" for kind in ("data", "index") for part in ("noun", "verb", "adv", "adj")]
    for name in ("cntlist.rev", *parts):
        (folder / name).write_text(WORDNET.get(name, ""), encoding="utf-8")
    return folder


def test_wordnet_gives_single_words_of_the_most_frequent_meaning(tmp_path: Path) -> None:
    assert wordnet(wordnet_folder(tmp_path / "wordnet")) == {"quick": ("prompt",), "fast": ("quick",)}


def test_a_wordnet_without_its_counts_is_refused(tmp_path: Path) -> None:
    folder = wordnet_folder(tmp_path / "wordnet")
    (folder / "cntlist.rev").unlink()
    with pytest.raises(DataError, match=r"lacks cntlist\.rev"):
        wordnet(folder)


@pytest.mark.skipif(not Path("/usr/share/wordnet/cntlist.rev").is_file(), reason="WordNet is not installed")
def test_common_words_keep_their_part_of_speech() -> None:
    known = wordnet(Path("/usr/share/wordnet"))
    assert "static" not in known.get("still", ())  # an adverb in most texts, though its senses as an adjective are more
    assert "breakage" not in known.get("even", ())
    assert "motion_picture" not in known["movie"]
    assert "film" in known["movie"]


def test_cilin_gives_words_of_one_meaning(tmp_path: Path) -> None:
    (tmp_path / "lexicon-cilin").mkdir()
    rows = "Aa01A01= 人 士 人物\r\nBa01A01# 东西 事物\r\nCa01B01@ 独\r\nDa01A01= 人 别人\r\n"
    (tmp_path / "lexicon-cilin" / "new_cilin.txt").write_bytes(rows.encode("gb18030"))
    known = cilin(tmp_path / "lexicon-cilin" / "new_cilin.txt")
    assert known["人"] == ("人", "士", "人物")
    assert "东西" not in known


@pytest.mark.parametrize("word", ["don’t", "Mustn't", "needn’t", "shan't", "n't", "Never", "dont", "不再"])
def test_a_negation_is_one_with_any_apostrophe(word: str) -> None:
    text = f"we {word} like good films here at home"
    assert word not in {text[start:end] for start, end in free_words(Example("1", text, "x"))}


@pytest.mark.parametrize("name", ["replace_synonyms", "insert_words", "swap_words", "delete_words", "mistype"])
def test_the_words_of_labels_names_stay(name: str, settings: dict) -> None:
    examples = [
        Example("1", "Good and happy people like a quick good film", "very_good"),
        Example("2", "happy people like a Quick look", "quick"),
    ]
    learning = made(name, settings)
    assert isinstance(learning, Learning)
    augmenter = learning.fitted(examples)
    for seed in range(30):
        copy = augmenter.augment(examples[0], random.Random(seed))
        assert copy is not None
        words = copy.text.split()
        assert [word for word in words if word.casefold() in ("good", "quick")] == ["Good", "quick", "good"]


def test_a_chinese_term_is_a_word_of_its_own() -> None:
    swapped = TermSwap().augment(Example("1", "他喜欢其他电影", "x"), random.Random(0))
    assert swapped is not None
    assert swapped.text == "她喜欢其他电影"
    assert TermSwap().augment(Example("1", "其他男装", "x"), random.Random(0)) is None


def test_a_letter_that_folds_into_two_is_no_term() -> None:
    assert TermSwap().augment(Example("1", "hİs film", "x"), random.Random(0)) is None
