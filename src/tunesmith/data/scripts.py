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
