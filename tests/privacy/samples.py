"""Values that each recogniser must find and must leave, by its name; check digits are counted here anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Texts in which the part between ⟦ and ⟧ must be found, and texts in which nothing must be.

    `hostile`: a piece whose repetition asks most of the pattern.
    """

    found: tuple[str, ...]
    left: tuple[str, ...]
    hostile: tuple[str, ...]


def id_card(body: str) -> str:
    """The 17 digits with the check character of GB 11643."""
    weights = [pow(2, 17 - place, 11) for place in range(17)]
    rest = (12 - sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11) % 11
    return body + ("X" if rest == 10 else str(rest))


def luhn(body: str) -> str:
    """The digits with the one that makes them pass the Luhn check, found by trying."""
    return next(body + str(last) for last in range(10) if _luhn_sum(body + str(last)) % 10 == 0)


def _luhn_sum(digits: str) -> int:
    return sum(sum(divmod(int(d) * (1 + place % 2), 10)) for place, d in enumerate(reversed(digits)))


CREDIT_CODE = "91350100M000100Y43"
"""The example of GB 32100-2015."""
IBAN = "GB82WEST12345698765432"
"""The example of ISO 13616."""

SAMPLES: Mapping[str, Samples] = {
    "id_card": Samples(
        (
            f"⟦{id_card('11010119900307109')}⟧",
            f"id_⟦{id_card('44030720000229123')}⟧_x",
            f"⟦110101 19900307 {id_card('11010119900307109')[14:]}⟧",
            "身份证 ⟦110101900307109⟧",
            "⟦34052419800101001X⟧",  # the example of GB 11643
            "⟦３４０５２４１９８００１０１００１Ｘ⟧",
            "⟦34052419800101001x⟧",
        ),
        (
            "340524198001010019",
            id_card("11010119900230109"),
            id_card("99010119900307109"),
            f"1{id_card('11010119900307109')}",
            "110101900307109",
        ),
        ("1", "110101199003071", "110101 "),
    ),
    "credit_code": Samples(
        (f"⟦{CREDIT_CODE}⟧", f"⟦{CREDIT_CODE.lower()}⟧"),
        (CREDIT_CODE[:-1] + "4", "A" + CREDIT_CODE),
        ("9", "91350100M000100Y4"),
    ),
    "iban": Samples(
        (f"⟦{IBAN}⟧", "⟦gb82 west 1234 5698 7654 32⟧", "⟦DE89 3704 0044 0532 0130 00⟧", "⟦NO9386011117947⟧."),
        ("GB82WEST12345698765433", "GB82WEST123456987654321", "XX82WEST12345698765432"),
        ("GB82", "DE89 ", "GB82WEST"),
    ),
    "bank_card": Samples(
        (
            f"⟦{luhn('622202123456789012')}⟧",
            f"⟦{luhn('622848001234567')}⟧",
            "⟦6222 0000 0000 0000 " + luhn("622200000000000000")[16:] + "⟧",
        ),
        ("6222021234567890123456", luhn("122202123456789012"), luhn("622202123456789012")[:-1] + "x"),
        ("6", "6222 ", "622-"),
    ),
    "credit_card": Samples(
        (
            "⟦4111111111111111⟧",
            "⟦4111 1111 1111 1111⟧",
            "⟦3782-822463-10005⟧",
            "⟦5555555555554444⟧",
            "⟦6011111111111117⟧",
            "⟦30569309025904⟧",
            "⟦3530111333300000⟧",
            f"my card ⟦{luhn('060412345678')}⟧",
        ),
        ("4111111111111112", "1234567890123456", "0.4111111111111111", "4111111111111111.5", luhn("060412345678")),
        ("4", "4111 ", "1 ", "4-"),
    ),
    "email": Samples(
        (
            "⟦zhang@x.com⟧",
            "邮箱⟦zhang@x.com⟧谢谢",
            "(⟦first.last+tag@sub.example.co.uk⟧).",
            "⟦müller@firma.de⟧",
            "'⟦a@b.io⟧'",
            "⟦ａ＠ｂ.io⟧",
        ),
        ("a@b", "@home", "a@.com", "x@1.2", "at a @ b.com"),
        ("a", "a@", "a.", "@a.", "a@a.", "1@1.1."),
    ),
    "url": Samples(
        (
            "see ⟦https://example.com/a?b=c#d⟧.",
            "(⟦http://example.com/x_(y)⟧)",
            "网址⟦https://example.com/⟧请看",
            "⟦www.example.com/x⟧, then",
        ),
        ("http://", "example.com", "www. example"),
        ("http://a", "http://a)", "www.", "http://" + ")" * 20),
    ),
    "mac_address": Samples(
        ("MAC:⟦00:1a:2B:3c:4d:5e⟧", "⟦00-1A-2B-3C-4D-5E⟧.", "⟦001a.2b3c.4d5e⟧"),
        ("00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:6f", "12:30:45", "00:00:00:00:00:00"),
        ("00:", "0", "00-1a-"),
    ),
    "ip_address": Samples(
        (
            "from ⟦41.176.181.243⟧.",
            "ip:⟦fe80::1:2⟧: x",
            "来源IP⟦35.113.24.105⟧查",
            "IP⟦bad0:f74c:dd3e:237d:4e89:8341:3ee9:d549⟧",
            "|⟦19.253.176.22⟧|",
            "⟦2001:db8::8a2e:370:7334⟧",
            "⟦::ffff:1.2.3.4⟧",
        ),
        ("1.2.3", "1.2.3.4.5", "256.1.1.1", "127.0.0.1", "12:30:45", "std::string", "::", "v1.2.3.4"),
        ("1.", "1", ":", "a:", "1:1:", "::1."),
    ),
    "ssn": Samples(
        ("⟦123-45-6789⟧", "my ssn is ⟦123456789⟧", "SSN ⟦123 45 6789⟧"),
        ("000-45-6789", "666-45-6789", "912-45-6789", "123-00-6789", "123-45-0000", "123456789", "078-05-1120"),
        ("1", "123-", "123-45-"),
    ),
    "mobile": Samples(
        (
            "⟦13812345678⟧",
            "⟦+86 138 1234 5678⟧",
            "⟦138-1234-5678⟧",
            "Tel⟦13812345678⟧",
            "⟦１３８１２３４５６７８⟧",
            "⟦138\u200b1234\u200b5678⟧",
            "⟦(+86)13812345678⟧",
        ),
        ("12812345678", "138123456789", "1.13812345678", "a13812345678", "1381234567"),
        ("1", "138", "138 ", "+86"),
    ),
    "landline": Samples(
        ("⟦010-62345678⟧", "⟦(0755) 26001234⟧", "⟦0571-87654321-803⟧", "⟦+86 10 6234 5678⟧", "⟦021 62345678转12⟧"),
        ("0000-62345678", "010-1234567890", "1010-62345678"),
        ("0", "010-", "(0"),
    ),
    "phone": Samples(
        (
            "⟦+41 (0)62 585 51 90⟧",
            "⟦(898)666-3621x0135⟧",
            "⟦001-253-366-9781⟧",
            "⟦020 7946 0958⟧",
            "call me on ⟦450 0840⟧?",
            "⟦28-64-66-98⟧ office",
            "⟦+447700900123⟧",
            "⟦555-123-4567 ext 9⟧.",
        ),
        ("12345", "2010-03-10", "1,234,567", "450 0840", "order 123456789", "call 10.03.2010", "$5551234 call"),
        ("1", "1 ", "(1)", "0 1", "+1 ", "1.", "call 1 "),
    ),
    "plate": Samples(
        ("⟦京A12345⟧", "⟦粤BD12345⟧", "⟦沪A·12345D⟧", "⟦新O-64243⟧", "⟦浙C8888学⟧", "⟦苏e05ev8⟧"),
        ("京A1234", "京ABCDEF", "A12345"),
        ("京", "京A", "京A1"),
    ),
    "passport": Samples(
        ("护照号⟦E12345678⟧", "passport no. ⟦EA1234567⟧", "US passport ⟦123456789⟧"),
        ("E12345678", "order 123456789"),
        ("E", "E1", "护照", "护照E12345678 "),
    ),
    "driver_licence": Samples(
        (
            "driver's license number is ⟦A125325867⟧",
            "My driver's license: ⟦2270-66-1551⟧",
            "驾驶证档案编号⟦440301234567⟧",
        ),
        ("A125325867", "driver's license renewal"),
        ("A", "A-", "1-1", "驾照1234 "),
    ),
    "birth_date": Samples(
        (
            "born on ⟦March 7, 1990⟧",
            "出生于⟦1990年3月7日⟧",
            "date of birth: ⟦7/3/1990⟧",
            "生日⟦19900307⟧",
            "DOB ⟦1990-03-07⟧",
            "born ⟦7th of March 1990⟧",
        ),
        ("March 7, 1990", "born on 1990-02-31", "born in 1990"),
        ("1", "1990-", "1990年", "May 1", "born 1990-1-1 "),
    ),
    "address": Samples(
        (
            "at ⟦12 Baker Street⟧, London",
            "⟦1600 Pennsylvania Ave, Apt 4⟧.",
            "我住在⟦北京市海淀区中关村大街27号3单元201室⟧。",
            "地址：⟦南山区科技园路8号⟧",
        ),
        ("12 apples", "the Street", "一条路"),
        ("1 A ", "路1", "路1号", "北京", "1 Aaaa "),
    ),
    "person_name": Samples(
        ("Mr. ⟦John Smith⟧ said", "my name is ⟦Rubija⟧", "姓名：⟦张三⟧，男", "联系人 ⟦阿依古丽·买买提⟧ "),
        ("Mr. and Mrs.", "John Smith", "姓名不详的人已经走了", "反馈姓名不一致）"),
        ("Mr. A", "Mr ", "姓名", "姓名：张三李四", "A "),
    ),
    "pattern": Samples(
        ("工号⟦S-12345⟧，", "⟦S-00001⟧"),
        ("S-123456", "XS-12345", "s-12345"),
        ("S", "S-", "S-1", "S-12345"),
    ),
}
