"""What Chinese authorities, banks and carriers issue: numbers, most of which carry a check digit or a known prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.privacy.check_digits import credit_code, id_card, is_date, luhn
from tunesmith.privacy.surface import Found, Surface, numbers, words_of

_PROVINCES = frozenset(
    map(
        str,
        (
            *range(11, 16),
            *range(21, 24),
            *range(31, 38),
            *range(41, 47),
            *range(50, 55),
            *range(61, 66),
            71,
            81,
            82,
            83,
        ),
    )
)
"""The first two digits of GB/T 2260; 81 to 83 are on the residence permits of Hong Kong, Macao and Taiwan."""

_ID_CARD = re.compile(r"(?<![0-9])([1-9][0-9]{5})[ -]?((?:18|19|20)[0-9]{6})[ -]?([0-9]{3}[0-9Xx])(?![0-9A-Za-z])")
_OLD_ID_CARD = re.compile(r"(?<![0-9A-Za-z])([1-9][0-9]{5})([0-9]{6})[0-9]{3}(?![0-9A-Za-z])")
_ID_WORDS = words_of(("身份证", "证件号", "公民身份", "身分证", "ID card", "identity card", "ID number"))

_MOBILE = re.compile(
    r"(?:(?<![0-9A-Za-z])|(?<=[Tt]el)|(?<=TEL))(?<![0-9][.-])(?:\(?(?:\+|00)?86\)?[ -]?)?"
    r"1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -]?[0-9]{4}|[ -][0-9]{3}[ -]?[0-9]{5}|[0-9][ -][0-9]{3}[ -][0-9]{4}"
    r"|[0-9]{4}[ -][0-9]{4})(?![0-9A-Za-z])(?![.-][0-9])"
)
_LANDLINE = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][.-])(?:\(?(?:\+|00)86\)?[ -]?\(?0?|\(?0)"
    r"(?:10|2[0-9]|[3-9][0-9]{2})\)?[ -]{0,2}[2-9][0-9]{2,3}[ -]?[0-9]{4}"
    r"(?:(?:-|转| ?ext\.? ?)[0-9]{1,5})?(?![0-9A-Za-z])"
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·•・. -]?"
    r"(?:[0-9]{5}[A-HJK]|[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])(?![0-9A-Za-z])",
    re.IGNORECASE,
)
_CREDIT_CODE = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}(?![0-9A-Za-z])", re.IGNORECASE
)
_ISSUERS = ("62", "81", "9558", "95599", "6013", "6030")
"""UnionPay's range and its later one; then the older debit cards of ICBC, ABC, BOC and a few city banks."""


@dataclass(frozen=True)
class IdCard:
    """A resident ID number of the People's Republic of China (GB 11643-1999).

    18 characters count with a known region, a day that there is and the right check character; the older 15 digits,
    which have none, only where a word says what they are.
    """

    kinds: ClassVar[tuple[str, ...]] = ("ID_CARD",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _ID_CARD.finditer(text.folded):
            region, born, rest = match.groups()
            is_day = is_date(born[:4], born[4:6], born[6:])
            if region[:2] in _PROVINCES and is_day and id_card(region + born + rest):
                yield text.found(match.start(), match.end(), "ID_CARD", certain=True)
        for match in _OLD_ID_CARD.finditer(text.folded):
            region, born = match.groups()
            is_day = is_date(f"19{born[:2]}", born[2:4], born[4:])
            if region[:2] in _PROVINCES and is_day and text.near(_ID_WORDS, match.start(), match.end()):
                yield text.found(match.start(), match.end(), "ID_CARD")


@dataclass(frozen=True)
class Mobile:
    """A Chinese mobile number: 1 and ten digits, alone or in the usual groups, with or without +86."""

    kinds: ClassVar[tuple[str, ...]] = ("MOBILE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _MOBILE.finditer(text.folded):
            yield text.found(match.start(), match.end(), "MOBILE")


@dataclass(frozen=True)
class Landline:
    """A Chinese fixed line with its area code, and its extension where one follows."""

    kinds: ClassVar[tuple[str, ...]] = ("LANDLINE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for match in _LANDLINE.finditer(text.folded):
            yield text.found(match.start(), match.end(), "LANDLINE")


@dataclass(frozen=True)
class BankCard:
    """A card of a Chinese bank: 16 to 19 digits with the prefix of an issuer and the Luhn check."""

    kinds: ClassVar[tuple[str, ...]] = ("BANK_CARD",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The numbers in the text."""
        for number in numbers(text.folded, 16, 19):
            is_grouped = all(size >= 3 for size in number.groups[:-1])
            if number.digits.startswith(_ISSUERS) and is_grouped and luhn(number.digits):
                yield text.found(number.start, number.end, "BANK_CARD", certain=True)


@dataclass(frozen=True)
class Plate:
    """A vehicle's plate: a province, a letter and five characters, or six for new-energy cars (GA 36-2018).

    Plates of the army and of embassies are not looked for.
    """

    kinds: ClassVar[tuple[str, ...]] = ("PLATE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The plates in the text."""
        for match in _PLATE.finditer(text.folded):
            if sum(character.isdigit() for character in match.group()[2:]) >= 2:
                yield text.found(match.start(), match.end(), "PLATE")


@dataclass(frozen=True)
class CreditCode:
    """A unified social credit code of an organisation or a sole trader, with its check character (GB 32100-2015)."""

    kinds: ClassVar[tuple[str, ...]] = ("CREDIT_CODE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The codes in the text."""
        for match in _CREDIT_CODE.finditer(text.folded):
            if credit_code(match.group()):
                yield text.found(match.start(), match.end(), "CREDIT_CODE", certain=True)
