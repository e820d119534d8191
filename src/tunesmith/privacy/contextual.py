"""What has no form of its own, found by the words around it: days of birth, addresses and names.

These are precise rather than complete: a name without "Mr", "my name is" or 姓名 before it takes a model (`Names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tunesmith.privacy.check_digits import is_date
from tunesmith.privacy.surface import Found, Surface, words_of

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if len(name) > 3 else name for name in _MONTHS)
_DAYS = (
    re.compile(r"(?<![0-9])(?P<y>(?:19|20)[0-9]{2})[-/.年] ?(?P<m>[0-9]{1,2})[-/.月] ?(?P<d>[0-9]{1,2})(?![0-9])日?"),
    re.compile(r"(?<![0-9])(?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})[-/.](?P<y>(?:19|20)[0-9]{2})(?![0-9])"),
    re.compile(r"(?<![0-9])(?P<y>(?:19|20)[0-9]{2})(?P<m>[0-9]{2})(?P<d>[0-9]{2})(?![0-9])"),
    re.compile(
        rf"(?<![A-Za-z])(?P<m>{_MONTH})\.? (?P<d>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?P<y>(?:19|20)[0-9]{{2}})(?![0-9])",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?<![0-9])(?P<d>[0-9]{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_MONTH}),? (?P<y>(?:19|20)[0-9]{{2}})(?![0-9])",
        re.IGNORECASE,
    ),
)
_BIRTH = words_of(("born", "birth", "dob", "d.o.b", "birthday", "birthdate", "出生", "生日", "生于", "诞生"))

_STREET = re.compile(
    r"(?<![0-9A-Za-z])[0-9]{1,6}[A-Za-z]? (?:[A-ZÀ-Þ][A-Za-zÀ-ɏ.'’-]{0,24} ){1,4}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Parkway"
    r"|Highway|Hwy)(?![A-Za-z])\.?"
    r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor)\.? ?#?[0-9A-Za-z]{1,6}(?![0-9A-Za-z]))?"
)
_HOUSE = re.compile(
    r"(?:路|街|巷|弄|道|胡同)[0-9]{1,5}[号弄]"
    r"(?:[0-9A-Za-z一二三四五六七八九十-]{1,5}(?:号楼|栋|幢|座|单元|层|楼|室|号|户)){0,4}"
    r"(?:[0-9]{1,5}室?)?(?![0-9])"
)
_BEFORE_HOUSE = re.compile(r"[\u4e00-\u9fff]{1,28}$")
_LEADS_UP = re.compile(r".*(?:地址|住址|[在到是为于至住寄往去：])")
_PROVINCE = re.compile(
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西"
    "|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)

_TITLED = re.compile(
    r"(?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof)\.? "
    r"([A-ZÀ-Þ][A-Za-zÀ-ɏ'’-]{1,24}(?: [A-ZÀ-Þ][A-Za-zÀ-ɏ'’.-]{0,24}){0,3})"
)
_PRESENTED = re.compile(
    r"(?<![A-Za-z])(?:my name is|my name's|name is|call me|name:) ?"
    r"([A-ZÀ-Þ][A-Za-zÀ-ɏ'’-]{1,24}(?: [A-ZÀ-Þ][A-Za-zÀ-ɏ'’.-]{0,24}){0,3})",
)
_CHINESE_NAME = re.compile(
    r"(?:(?:姓名|联系人|收件人|收货人|户名|持卡人)(?:[是为:： ]{1,3})|(?:我叫|我的名字是|名字叫)[:： ]{0,2})"
    r"([\u4e00-\u9fff]{2,4}|[\u4e00-\u9fff]{1,6}[·•][\u4e00-\u9fff]{1,8})(?![\u4e00-\u9fff·•])"
)
_NAME_BEGINS = ("Mr", "Mrs", "Ms", "Miss", "Dr", "Prof")


@dataclass(frozen=True)
class BirthDate:
    """A day behind or before a word for birth; a day alone is not personal."""

    kinds: ClassVar[tuple[str, ...]] = ("BIRTH_DATE",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The days in the text."""
        for pattern in _DAYS:
            for match in pattern.finditer(text.folded):
                if _is_day(**match.groupdict()) and text.near(_BIRTH, match.start(), match.end(), before=40, after=10):
                    yield text.found(match.start(), match.end(), "BIRTH_DATE")


def _is_day(y: str, m: str, d: str) -> bool:
    """Whether it is a day, with the month in words, or day and month in either order."""
    if m[0].isalpha():
        return is_date(y, str(1 + [name[:3].lower() for name in _MONTHS].index(m[:3].lower())), d)
    return is_date(y, m, d) or is_date(y, d, m)


@dataclass(frozen=True)
class Address:
    """A street with its number: in English forms, and in Chinese where it goes down to a house."""

    kinds: ClassVar[tuple[str, ...]] = ("ADDRESS",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The addresses in the text; words that lead up to a Chinese one do not belong to it."""
        for match in _STREET.finditer(text.folded):
            yield text.found(match.start(), match.end(), "ADDRESS")
        for match in _HOUSE.finditer(text.folded):
            before = _BEFORE_HOUSE.search(text.folded[max(0, match.start() - 28) : match.start()])
            if before is not None:
                words = before.group()
                began = _PROVINCE.search(words)
                led = _LEADS_UP.match(words)
                kept = len(words) - (began.start() if began else led.end() if led else 0)
                yield text.found(match.start() - kept, match.end(), "ADDRESS")


@dataclass(frozen=True)
class PersonName:
    """A name behind a title, behind "my name is", or behind words such as 姓名 and 联系人."""

    kinds: ClassVar[tuple[str, ...]] = ("PERSON",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The names in the text, without their titles."""
        for pattern in (_TITLED, _PRESENTED, _CHINESE_NAME):
            for match in pattern.finditer(text.folded):
                name = match.group(1).rstrip(".'’-")
                if name not in _NAME_BEGINS:
                    yield text.found(match.start(1), match.start(1) + len(name), "PERSON")
