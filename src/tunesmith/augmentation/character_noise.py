"""Slips of the hand: letters and characters that are typed wrongly."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from tunesmith.augmentation.edits import Edit, edited
from tunesmith.augmentation.word_edits import check_share, chosen_words, is_han, wanted
from tunesmith.augmentation.words import with_label_words
from tunesmith.data.records import Example
from tunesmith.errors import import_extra

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS: Mapping[str, str] = {
    letter: "".join(
        other
        for row, letters in enumerate(_ROWS)
        for place, other in enumerate(letters)
        if other != letter and abs(row - mine) <= 1 and abs(place - at) <= 1
    )
    for mine, line in enumerate(_ROWS)
    for at, letter in enumerate(line)
}
"""The keys beside each key of a QWERTY keyboard."""

LOOK_ALIKES = (
    "己已巳 末未 土士 日曰 人入八 大太犬 天夭夫 王玉主 牛午 贝见 千干于 鸟乌 兔免 戊戌戍 拆折析 治冶 辨辩辫 晴睛 "
    "请清情 侯候 拔拨 买卖 体休 住往 今令 名各 旦且 困因 即既 籍藉 历厉 竟竞 徒徙 祟崇 刺剌 管菅 茶荼 亨享 粟栗 "
    "待侍 恰洽 喝渴 烧浇 幕墓慕暮 博搏 微徽 密蜜 杨扬 准淮 傅傳 木本 力刀 几凡 口囗 目自 由甲申田 石右 白百 仓仑 "
    "风凤 厂广 处外 决诀抉 抱饱泡 峰锋蜂 狠狼 眼眠 坐座 园圆 再在 做作 那哪 的得地"
)
"""Groups of characters that are taken for each other."""


@dataclass(frozen=True)
class CharacterNoise:
    """Type some words wrongly, outside of spans.

    Letters: two are swapped, one is left out or doubled, or the key beside it is hit. Chinese characters: another of
    the same sound (pypinyin, extra "chinese"), or one that looks alike.

    Attributes:
        share: of the words that may be changed; at least one is.
        sound: whether a Chinese character may become one of the same sound.
        look: whether it may become one that looks alike.
        protected: words that stay as they are, beside negations and the words of the labels' names.
    """

    share: float = 0.1
    sound: bool = True
    look: bool = True
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> CharacterNoise:
        """The same with the words of these examples' labels protected."""
        return replace(self, protected=with_label_words(self.protected, examples))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words typed wrongly; None if the text is too short, or nothing can be mistyped."""
        words = chosen_words(example, self.protected)
        edits: list[Edit] = []
        for start, end in rng.sample(words, len(words)):
            if len(edits) == wanted(self.share, len(words)):
                break
            word = example.text[start:end]
            wrong = self._wrong_han(word, rng) if is_han(word[0]) else wrong_letters(word, rng)
            if wrong != word:
                edits.append(Edit(start, end, wrong))
        return edited(example, edits) if edits else None

    def _wrong_han(self, word: str, rng: random.Random) -> str:
        place = rng.randrange(len(word))
        others = (sounding_alike().get(word[place], "") if self.sound else "") + (
            looking_alike().get(word[place], "") if self.look else ""
        )
        return word[:place] + rng.choice(others) + word[place + 1 :] if others else word


def wrong_letters(word: str, rng: random.Random) -> str:
    """The word with one slip after its first letter; words of fewer than three letters stay."""
    if len(word) < 3:
        return word
    place = rng.randrange(1, len(word) - 1)
    way = rng.randrange(4)
    if way == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if way == 1:
        return word[:place] + word[place + 1 :]
    if way == 2:
        return word[:place] + word[place] + word[place:]
    beside = NEIGHBOURS.get(word[place].lower(), "")
    return word[:place] + rng.choice(beside) + word[place + 1 :] if beside else word


@cache
def looking_alike() -> Mapping[str, str]:
    """Each character with those that look like it."""
    return {one: "".join(other for other in group if other != one) for group in LOOK_ALIKES.split() for one in group}


@cache
def sounding_alike() -> Mapping[str, str]:
    """Each of the 3,755 most usual characters (level 1 of GB 2312) with the others of its syllable and tone.

    Raises:
        MissingExtraError: pypinyin is not installed.
    """
    rows = range(0xB0, 0xD8)
    usual = [bytes((row, cell)).decode("gb2312", "ignore") for row in rows for cell in range(0xA1, 0xFF)]
    pinyin = import_extra("pypinyin", "chinese")
    groups: dict[str, list[str]] = defaultdict(list)
    for character in filter(None, usual):
        groups[pinyin.pinyin(character, style=pinyin.Style.TONE3)[0][0]].append(character)
    return {one: "".join(other for other in group if other != one) for group in groups.values() for one in group}
