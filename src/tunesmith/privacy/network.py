"""Addresses of networks: e-mail, pages, IP and hardware addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import ClassVar

from tunesmith.privacy.surface import Found, Surface

_LOCAL = re.compile(r"[A-Za-z0-9._%+'\u00c0-\u024f-]")
_DOMAIN = re.compile(r"[A-Za-z0-9\u00c0-\u024f-]+(?:\.[A-Za-z0-9\u00c0-\u024f-]+)+")
_TOP = re.compile(r"(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})")
_URL = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftp|wss?)://|www\.(?=[A-Za-z0-9-]+\.))[A-Za-z0-9\u00c0-\u024f\-._~:/?#\[\]@!$&'()*+,;=%]+",
    re.IGNORECASE,
)
_IPV4 = re.compile(
    r"(?:(?<![0-9A-Za-z])|(?<=IP)|(?<=ip))(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z])(?!\.[0-9])"
)
_IPV6 = re.compile(r"[0-9A-Fa-f:]+")
_IPV4_REST = re.compile(r"(?:\.[0-9]{1,3}){3}(?![0-9.])")
_MAC = re.compile(
    r"(?<![0-9A-Za-z])(?<!(?<![0-9A-Za-z])[0-9A-Fa-f]{2}[:-])"
    r"(?:[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2})"
    r"(?![0-9A-Za-z])(?![:-][0-9A-Fa-f]{2}(?![0-9A-Za-z]))"
)
_OF_NOBODY = ("127.", "0.0.0.0", "255.255.255.255")


@dataclass(frozen=True)
class Email:
    """An e-mail address; letters of Latin scripts with accents count, Chinese characters beside it do not."""

    kinds: ClassVar[tuple[str, ...]] = ("EMAIL",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The addresses in the text: from each @ to both sides, so that no character is looked at more than twice."""
        folded, at = text.folded, text.folded.find("@")
        while at >= 0:
            start = at
            while start and _LOCAL.match(folded[start - 1]):
                start -= 1
            while start < at and folded[start] in ".'-%":
                start += 1
            domain = _DOMAIN.match(folded, at + 1)
            end = _end_of_domain(domain.group()) if domain else 0
            if start < at and end:
                yield text.found(start, at + 1 + end, "EMAIL", certain=True)
            at = folded.find("@", at + 1)


def _end_of_domain(domain: str) -> int:
    """How much of it is a domain: as many labels as end in one that may be a top one; 0 where none does."""
    labels = domain.rstrip("-").split(".")
    while len(labels) > 1 and not _TOP.fullmatch(labels[-1]):
        labels.pop()
    return len(".".join(labels)) if len(labels) > 1 else 0


@dataclass(frozen=True)
class Url:
    """An address of a page with its scheme, or one that begins with www; it ends before a Chinese character."""

    kinds: ClassVar[tuple[str, ...]] = ("URL",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The addresses in the text, without the marks of the sentence behind them."""
        for match in _URL.finditer(text.folded):
            whole = _without_marks(match.group())
            if len(whole) > len("https://"):
                yield text.found(match.start(), match.start() + len(whole), "URL", certain=True)


def _without_marks(address: str) -> str:
    """The address without what ends a sentence, and without brackets that it did not open."""
    surplus = {")": address.count(")") - address.count("("), "]": address.count("]") - address.count("[")}
    end = len(address)
    while end and (address[end - 1] in ".,;:!?'[*(" or surplus.get(address[end - 1], 0) > 0):
        if address[end - 1] in surplus:
            surplus[address[end - 1]] -= 1
        end -= 1
    return address[:end]


@dataclass(frozen=True)
class IpAddress:
    """An IPv4 or IPv6 address; those that mean the machine itself, or none, are left."""

    kinds: ClassVar[tuple[str, ...]] = ("IP_ADDRESS",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The addresses in the text."""
        for match in _IPV4.finditer(text.folded):
            if _is_version_4(match.group()) and not match.group().startswith(_OF_NOBODY):
                yield text.found(match.start(), match.end(), "IP_ADDRESS")
        for match in _IPV6.finditer(text.folded):
            if match.group().count(":") >= 2 and match.end() - match.start() <= 45:
                start, end = _trimmed(text.folded, match.start(), match.end())
                if _is_version_6(text.folded[start:end]) and _stands_alone(text.folded, start, end):
                    yield text.found(start, end, "IP_ADDRESS", certain=True)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The places without the colon of the words before or behind, and with an IPv4 address that ends it."""
    if text.startswith(":", start) and not text.startswith("::", start):
        start += 1
    rest = _IPV4_REST.match(text, end)
    if rest:
        return start, rest.end()
    return start, end - (text[end - 1] == ":" and not text.endswith("::", start, end))


def _is_version_4(value: str) -> bool:
    try:
        IPv4Address(value)
    except AddressValueError:
        return False
    return True


def _is_version_6(value: str) -> bool:
    """Whether it is an address, and no name of a program such as a::b."""
    try:
        address = IPv6Address(value)
    except AddressValueError:
        return False
    return not address.is_loopback and not address.is_unspecified and len(value) >= 6 and any(map(str.isdigit, value))


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, behind = text[max(0, start - 1) : start], text[end : end + 1]
    is_free = not (before.isascii() and before.isalnum()) or text[max(0, start - 2) : start].upper() == "IP"
    return is_free and not (behind.isascii() and behind.isalnum())


@dataclass(frozen=True)
class MacAddress:
    """A hardware address: six pairs of hexadecimal digits, or three groups of four."""

    kinds: ClassVar[tuple[str, ...]] = ("MAC_ADDRESS",)

    def find(self, text: Surface) -> Iterator[Found]:
        """The addresses in the text."""
        for match in _MAC.finditer(text.folded):
            if len(set(match.group())) > 2:
                yield text.found(match.start(), match.end(), "MAC_ADDRESS", certain=True)
