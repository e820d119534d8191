"""Check digits: what tells a number that was issued from one that only looks like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_CODE_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE_VALUES = {character: value for value, character in enumerate(_CODE_ALPHABET)}


def luhn(digits: str) -> bool:
    """Whether the digits pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(doubled[value] for value in values[1::2])) % 10 == 0


def id_card_check(body: str) -> str:
    """The check character of the 17 digits of a Chinese resident ID (GB 11643-1999, ISO 7064 MOD 11-2)."""
    return _ID_CHECKS[sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True)) % 11]


def id_card(number: str) -> bool:
    """Whether the 18 characters end in their check character."""
    return len(number) == 18 and id_card_check(number[:17]) == number[17].upper()


def credit_code_check(body: str) -> str:
    """The check character of the first 17 of a unified social credit code (GB 32100-2015, section 5)."""
    total = sum(_CODE_VALUES[character] * pow(3, place, 31) for place, character in enumerate(body))
    return _CODE_ALPHABET[(31 - total % 31) % 31]


def credit_code(number: str) -> bool:
    """Whether the 18 characters end in their check character."""
    return (
        len(number) == 18
        and all(character in _CODE_VALUES for character in number.upper())
        and credit_code_check(number[:17].upper()) == number[17].upper()
    )


def mod_97(number: str) -> bool:
    """Whether an IBAN's letters and digits leave the remainder 1 (ISO 13616-1, ISO 7064 MOD 97-10)."""
    moved = number[4:] + number[:4]
    if not (moved.isascii() and moved.isalnum()):
        return False
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def is_date(year: str, month: str, day: str) -> bool:
    """Whether there is such a day."""
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "id_card": id_card,
    "credit_code": credit_code,
    "mod_97": mod_97,
}
"""The checks that an own recogniser can name."""
