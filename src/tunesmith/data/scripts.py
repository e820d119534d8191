"""The script of a character, by its name in Unicode."""

from __future__ import annotations

import unicodedata
from functools import cache

SCRIPTS = (
    "Arabic", "Armenian", "Bengali", "Bopomofo", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati",
    "Gurmukhi", "Han", "Hangul", "Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam",
    "Mongolian", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thai", "Tibetan",
)  # fmt: skip
"""Those that a recipe can name."""

# Scripts that put no blank between words: kana, bopomofo, Han and Hangul (whose particles join the noun).
UNSPACED = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
# Marks inside words that Python's \w does not count as letters: Latin, Hebrew, Arabic, Indic, Thai to Khmer.
MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963"
    "\u0971-\u0df3\u0e31-\u0e4e\u0eb1-\u0ece\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3"
)

_NAMES = {"CJK": "Han", "IDEOGRAPHIC": "Han", "KANGXI": "Han", "NKO": "Nko"}

_SIGNS = "\u00b5\u2126"
"""Micro and ohm, which texts of any script have; compatible to them are a Greek mu and omega."""


@cache
def script_of(character: str) -> str:
    """The script of a letter or of a mark that belongs to one; empty for digits, signs and what all scripts share."""
    if character in _SIGNS:
        return ""
    plain = unicodedata.normalize("NFKC", character)
    if len(plain) != 1:  # a letter that stands for several, such as a ligature
        return next((found for found in map(script_of, plain) if found), "")
    if unicodedata.category(plain)[0] not in "LM":
        return ""
    first = unicodedata.name(plain, "UNKNOWN").partition(" ")[0]
    if first in ("COMBINING", "MODIFIER", "FEMININE", "MASCULINE", "VARIATION"):
        return ""
    return _NAMES.get(first, first.title())
