"""Which column holds what: as the recipe says, or by a rule that is announced; never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.errors import DataError, nearest

NAMES: Mapping[str, tuple[str, ...]] = {
    "text": (
        "text",
        "sentence",
        "text1",
        "text_a",
        "sentence1",
        "sentence_1",
        "premise",
        "question1",
        "source",
        "content",
        "review",
        "utterance",
        "query",
        "message",
        "context",
        "title",
        "文本",
        "内容",
        "句子",
        "评论",
        "标题",
    ),
    "second": (
        *("second", "text2", "text_b", "sentence2", "sentence_2", "hypothesis", "question2", "passage", "document"),
        *("question", "第二句", "假设"),
    ),
    "written": (
        "target",
        "output",
        "answer",
        "summary",
        "translation",
        "response",
        "completion",
        "摘要",
        "译文",
        "回答",
    ),
    "answers": ("answers", "answer", "答案"),
    "words": ("words", "tokens"),
    "ranges": ("word_ranges",),
    "label": ("label", "labels", "class", "category", "intent", "sentiment", "target", "标签", "类别", "情感", "意图"),
    "spans": ("spans", "entities", "label", "labels", "实体", "标签"),
    "tags": ("ner_tags", "tags", "labels", "label"),
    "number": ("score", "label", "labels", "rating", "target", "value", "similarity", "分数", "评分"),
    "image": ("image", "image_path", "img", "picture", "photo", "图片", "图像", "照片"),
    "audio": ("audio", "audio_path", "wav", "sound", "recording", "speech", "音频", "录音", "语音"),
    "id": ("id", "ID", "guid", "idx", "编号"),
}
"""The names that are looked for, the first that is there wins; capitals do not matter."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read; an empty name is a column that there is not. `words` stands in for `text`.

    `ranges` says where the words of `text` are, and a row may lack it. `media` are pairs of a modality and the column
    that names its files.
    """

    text: str
    label: str
    id: str
    words: str = ""
    second: str = ""
    media: tuple[tuple[str, str], ...] = ()
    ranges: str = ""

    def __str__(self) -> str:
        parts = [
            ("text", self.text),
            ("second text", self.second),
            ("words", self.words),
            ("places of words", self.ranges),
            ("label", self.label),
            ("id", self.id),
            *self.media,
        ]
        return ", ".join(f"{role} from '{name}'" for role, name in parts if name)


def find_columns(
    there: Sequence[str], later: Sequence[str], *, named: Columns, further: Sequence[str], kind: str, where: str
) -> Columns:
    """Take the columns that the recipe names, and look for the others by the names that are usual for them.

    Args:
        there: the columns of the first row; text and label are looked for among them.
        later: the columns that begin in a later row; the id may be one of them.
        named: the recipe's names of the text, the label and the id; an empty one means "look".
        further: names of columns that must be there too.
        kind: one of `LABEL_KINDS`; empty when no label is read.
        where: the file, for messages.

    Raises:
        DataError: a named column is not there, or none of the usual names is.
    """
    every = (*there, *later)
    for name in (named.text, named.label, named.id, named.second, *further):
        if name and name not in every:
            raise DataError(
                f"There is no column '{name}'.{nearest(name, every)}", where=where, to_do=f"Columns: {_list(every)}."
            )
    text = named.text
    words = text if text in _matching(there, "words") else "" if text else _first(there, "words")
    found_text = "" if words else text or _first(there, "text")
    if words and not text and kind != "spans":
        words, found_text = "", _first(there, "text")
    if not words and not found_text:
        raise DataError(
            f"No column is named as texts usually are ({', '.join(NAMES['text'][:7])}).",
            where=where,
            to_do=f"Set data.text to one of: {_list(there)}.",
        )
    found_label = named.label
    if kind and not found_label:
        roles = {"spans": "spans", "number": "number", "text": "written", "answers": "answers"}
        role = "tags" if words else roles.get(kind, "label")
        found_label = _first([name for name in there if name != found_text], role)
        if not found_label:
            raise DataError(
                f"No column is named as labels usually are ({', '.join(NAMES[role][:6])}).",
                where=where,
                to_do=f"Set data.label to one of: {_list(there)}.",
            )
    ranges = "" if words else _first(every, "ranges")
    return Columns(found_text, found_label if kind else "", named.id or _first(every, "id"), words, ranges=ranges)


def find_second(there: Sequence[str], found: Columns, named: str, where: str) -> str:
    """The column of the second text of a pair: the named one, or the first of the usual names that is not taken.

    Raises:
        DataError: there is none.
    """
    free = _free(there, found)
    second = named or _first(free, "second")
    if not second:
        raise DataError(
            f"No column is named as second texts usually are ({', '.join(NAMES['second'][:7])}).",
            where=where,
            to_do=f"Set data.second to one of: {_list(free)}.",
        )
    return second


def find_media(
    there: Sequence[str], found: Columns, named: Mapping[str, str], where: str
) -> tuple[tuple[str, str], ...]:
    """The column that names the files of each modality: the named one, or the first of the usual names that is free.

    Args:
        there: the columns of the first rows.
        found: the columns that are taken already.
        named: modality -> the column that the recipe names; an empty one means "look".
        where: the file, for messages.

    Raises:
        DataError: there is none.
    """
    free = [name for name in there if name not in (found.text, found.label, found.id, found.second)]
    pairs = []
    for modality, name in named.items():
        if name and name not in there:
            raise DataError(
                f"There is no column '{name}'.{nearest(name, there)}", where=where, to_do=f"Columns: {_list(there)}."
            )
        column = name or _first(free, modality)
        if not column:
            raise DataError(
                f"No column is named as {modality} files usually are ({', '.join(NAMES[modality][:5])}).",
                where=where,
                to_do=f"Set data.{modality} to one of: {_list(free)}.",
            )
        pairs.append((modality, column))
    return tuple(pairs)


def has_second(there: Sequence[str], found: Columns) -> bool:
    """Whether a column that is not taken is named as second texts usually are."""
    return bool(_first(_free(there, found), "second"))


def _free(there: Sequence[str], found: Columns) -> list[str]:
    return [name for name in there if name not in (found.text, found.label, found.id)]


def missing_columns(columns: Columns, row: Iterable[str]) -> list[str]:
    """The columns that a later row lacks."""
    there = set(row)
    return [name for name in (columns.text, columns.second, columns.words, columns.label) if name and name not in there]


def _first(there: Sequence[str], role: str) -> str:
    matching = _matching(there, role)
    return matching[0] if matching else ""


def _matching(there: Sequence[str], role: str) -> list[str]:
    lower = {name.lower(): name for name in reversed(there)}
    return [lower[name.lower()] for name in NAMES[role] if name.lower() in lower]


def _list(there: Sequence[str]) -> str:
    return f"{', '.join(there[:12])}{' ...' if len(there) > 12 else ''}"
