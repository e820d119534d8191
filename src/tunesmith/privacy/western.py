"""Numbers of banks and authorities outside China."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.privacy.check_digits import luhn, mod_97
from tunesmith.privacy.surface import Found, Surface, numbers, words_of

_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|095|[689][0-9])[0-9]{11}"  # Diners Club
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}|(?:2131|1800)[0-9]{11}"  # JCB
    r"|220[0-4][0-9]{12,15}"  # Mir
    r"|(?:50(?:18|20|38)|5[6-8][0-9]{2}|6304|6759|676[1-3])[0-9]{8,15}"  # Maestro
)
_CARD_WORDS = words_of(("card", "cards", "credit", "debit", "cc", "visa", "mastercard", "卡号", "银行卡", "信用卡"))
_LAYOUTS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 1), (4, 4, 4, 4, 3), (6, 13), (4, 4, 4, 3), (4, 4, 4))

_IBAN = re.compile(r"(?<![0-9A-Za-z])([A-Za-z]{2})[0-9]{2}")
_REGISTRY = (
    "AL28 AD24 AT20 AZ28 BH22 BY28 BE16 BA20 BR29 BG22 BI27 CR22 HR21 CY28 CZ24 DK18 "
    "DJ27 DO28 EG29 SV28 EE20 FK18 FO18 FI18 FR27 GE22 DE22 GI23 GR27 GL18 GT28 HN28 "
    "HU28 IS26 IQ23 IE22 IL23 IT27 JO30 KZ20 XK20 KW30 LV21 LB28 LY25 LI21 LT20 LU20 "
    "MK19 MT31 MR27 MU30 MD24 MC27 MN20 ME22 NL18 NI28 NO15 OM23 PK24 PS29 PL28 PT25 "
    "QA29 RO24 RU33 LC32 SM27 ST25 SA24 RS22 SC31 SK24 SI19 SO23 ES24 SD18 SE24 CH21 "
    "TL23 TN24 TR26 UA29 AE23 GB22 VA22 VG24 YE30 "
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}
"""The length by country, from the IBAN registry of SWIFT."""

_SSN = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][.-])(?!000|666|9[0-9]{2})[0-9]{3}([ -]?)(?!00)[0-9]{2}\1(?!0000)[0-9]{4}"
    r"(?![0-9A-Za-z])(?![.-][0-9])"
)
_NEVER_ISSUED = ("078051120", "219099999")
_SSN_WORDS = words_of(("ssn", "social security", "ss#", "社会安全号"))

_LICENCE = re.compile(r"(?<![0-9A-Za-z-])[A-Za-z0-9](?:-?[A-Za-z0-9]){4,19}(?![0-9A-Za-z])(?!-[0-9A-Za-z])")
_FOUR_DIGITS = re.compile("(?:[^0-9]*[0-9]){4}")
_LICENCE_WORDS = words_of(
    (
        *("driver's license", "driver's licence", "drivers license", "drivers licence", "driver license"),
        *("driver’s license", "driver’s licence", "driving licence", "driving license", "driver licence", "DL number"),
        *("驾驶证", "驾照", "档案编号"),
    )
)

_PASSPORT = re.compile(r"(?<![0-9A-Za-z])(?:[A-Za-z]{1,2}[0-9]{7,8}|[0-9]{9})(?![0-9A-Za-z])")
_PASSPORT_WORDS = words_of(("passport", "passports", "travel document", "护照", "通行证", "旅行证"))


@dataclass(frozen=True)
class CreditCard:
    """A payment card: the prefix and length of an issuer and the Luhn check; any prefix where a word says "card"."""

    kinds: ClassVar[tuple[str, ...]] = ("CREDIT_CARD",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for number in numbers(text.folded, 12, 19):
            is_laid_out = len(number.groups) == 1 or number.groups in _LAYOUTS
            if not is_laid_out or len(set(number.digits)) < 2 or not luhn(number.digits):
                continue
            if _ISSUERS.fullmatch(number.digits) or text.near(_CARD_WORDS, number.start, number.end):
                yield text.found(number.start, number.end, "CREDIT_CARD", certain=True)


@dataclass(frozen=True)
class Iban:
    """An international bank account number: the length of its country and the remainder of 97 (ISO 13616-1)."""

    kinds: ClassVar[tuple[str, ...]] = ("IBAN",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text, in one piece or in groups of four."""
        for match in _IBAN.finditer(text.folded):
            length = _IBAN_LENGTHS.get(match.group(1).upper(), 0)
            number, end = _grouped(text.folded, match.start(), length)
            if length and len(number) == length and mod_97(number.upper()):
                yield text.found(match.start(), end, "IBAN", certain=True)


def _grouped(text: str, start: int, length: int) -> tuple[str, int]:
    """Letters and digits from `start` on, parted at most after each four; empty where a longer word goes on."""
    taken, place = "", start
    while len(taken) < length and place < len(text):
        character = text[place]
        if character in " -" and taken and len(taken) % 4 == 0 and text[place - 1] not in " -":
            place += 1
        elif character.isascii() and character.isalnum():
            taken, place = taken + character, place + 1
        else:
            break
    behind = text[place : place + 1]
    return ("", place) if behind.isascii() and behind.isalnum() else (taken, place)


@dataclass(frozen=True)
class SocialSecurityNumber:
    """A US social security number: numbers that are never issued are left; without dashes only where a word says so."""

    kinds: ClassVar[tuple[str, ...]] = ("SSN",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _SSN.finditer(text.folded):
            if match.group().replace("-", "").replace(" ", "") in _NEVER_ISSUED:
                continue
            if match.group(1) == "-" or text.near(_SSN_WORDS, match.start(), match.end()):
                yield text.found(match.start(), match.end(), "SSN")


@dataclass(frozen=True)
class DriverLicence:
    """A driver's licence: five to twenty letters and digits shortly behind the words that name it."""

    kinds: ClassVar[tuple[str, ...]] = ("DRIVER_LICENCE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _LICENCE.finditer(text.folded):
            if _FOUR_DIGITS.match(match.group()) and text.near(
                _LICENCE_WORDS, match.start(), match.end(), before=36, after=0
            ):
                yield text.found(match.start(), match.end(), "DRIVER_LICENCE")


@dataclass(frozen=True)
class Passport:
    """A passport's number (China, USA and others: letters and 7 or 8 digits, or 9 digits) near a word that says so."""

    kinds: ClassVar[tuple[str, ...]] = ("PASSPORT",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _PASSPORT.finditer(text.folded):
            if text.near(_PASSPORT_WORDS, match.start(), match.end(), before=36):
                yield text.found(match.start(), match.end(), "PASSPORT")
