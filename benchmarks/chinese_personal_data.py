"""Chinese sentences with personal data: values of faker (zh_CN) and of this file, with check digits by its own code."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faker import Faker

Value = tuple[int, int, str]
PHONES, CARDS = ("PHONE", "MOBILE", "LANDLINE"), ("CREDIT_CARD", "BANK_CARD")
CHINESE: Mapping[str, tuple[str, ...]] = {
    "ID_CARD": ("ID_CARD",),
    "MOBILE": PHONES,
    "LANDLINE": PHONES,
    "BANK_CARD": CARDS,
    "PLATE": ("PLATE",),
    "PASSPORT": ("PASSPORT",),
    "CREDIT_CODE": ("CREDIT_CODE",),
    "EMAIL": ("EMAIL",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "URL": ("URL",),
}


@dataclass(frozen=True)
class Text:
    """A text with the places and kinds of its personal data."""

    text: str
    values: tuple[Value, ...]


TEMPLATES = (
    "我的{0}是{1}，请核对。",
    "{0}{1}",
    "请把{0}改为{1}谢谢",
    "客户{2}的{0}：{1}",
    "您好，{0}为{1}的用户无法登录。",
    "【{0}】{1}已登记",
    "{2}说他的{0}是{1}吧？",
    "用{0}{1}查询不到订单，麻烦处理",
    "系统记录显示{0}({1})异常",
    "{2}，{0}“{1}”，明天上午联系",
)
WORDS: Mapping[str, tuple[str, ...]] = {
    "ID_CARD": ("身份证号", "身份证", "证件号码", "身份证号码"),
    "MOBILE": ("手机号", "电话", "手机", "联系方式"),
    "LANDLINE": ("座机", "电话", "公司电话", "固话"),
    "BANK_CARD": ("银行卡号", "卡号", "储蓄卡", "收款账号"),
    "PLATE": ("车牌", "车牌号", "车辆", "新能源车"),
    "PASSPORT": ("护照", "护照号", "护照号码"),
    "CREDIT_CODE": ("统一社会信用代码", "信用代码", "税号"),
    "EMAIL": ("邮箱", "电子邮件", "邮件地址"),
    "IP_ADDRESS": ("IP", "登录地址", "来源IP"),
    "URL": ("网址", "链接", "主页"),
}
NOTHING = (
    "订单号{d20}已发货，请注意查收。",
    "本季度营收{d4}.{d2}万元，同比增长{d2}.{d1}%。",
    "{y}年{m}月{m}日{h}:{h}开会，地点在三楼{d3}会议室。",
    "商品编号{d10}，库存{d3}件，单价{d2}.{d2}元。",
    "共{d5}人参加，报名费{d3}元。",
    "版本{d1}.{d1}.{d2}已发布，修复了{d2}个问题。",
    "错误的证件{wrong_id}不能通过校验。",
    "流水{wrong_card}不是卡号。",
    "快递单号SF{d12}，预计{m}月{m}日到达。",
    "这家店的评分是4.{d1}，有{d4}条评论。",
    "统计编号{d18}仅供内部使用。",
    "A{d5}号产品京东自营，满{d3}减{d2}。",
)


def chinese_texts(size: int, seed: int) -> list[Text]:
    """Sentences with one value or two, and every fourth with what only looks like one."""
    faker, rng = Faker("zh_CN"), random.Random(seed)
    faker.seed_instance(seed)
    texts = []
    for number in range(size):
        if number % 4 == 3:
            texts.append(Text(rng.choice(NOTHING).format_map(_Numbers(rng)), ()))
            continue
        text, values = "", []
        for _ in range(rng.choice((1, 1, 2))):
            kind = rng.choice(tuple(CHINESE))
            value = chinese_value(kind, faker, rng)
            said = rng.choice(TEMPLATES).format(rng.choice(WORDS[kind]), "\0", faker.name())
            before, _, behind = said.partition("\0")
            start = len(text) + len(before)
            values.append((start, start + len(value), kind))
            text += before + value + behind
        texts.append(Text(text, tuple(values)))
    return texts


class _Numbers(dict[str, str]):
    """Numbers for the templates without personal data."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def __missing__(self, key: str) -> str:
        rng = self.rng
        if key == "wrong_id":
            day = f"19{rng.randint(50, 99)}0{rng.randint(1, 9)}1{rng.randint(0, 9)}"
            body = f"{rng.randint(110000, 659000)}{day}{digits(rng, 3)}"
            return body + rng.choice([c for c in "0123456789X" if c != id_check(body)])
        if key == "wrong_card":
            body = "62" + digits(rng, 16)
            return body + rng.choice([c for c in "0123456789" if c != luhn_digit(body)])
        return {"y": str(rng.randint(2000, 2025)), "m": str(rng.randint(1, 12)), "h": str(rng.randint(10, 23))}.get(
            key
        ) or digits(rng, int(key[1:]))


def digits(rng: random.Random, count: int) -> str:
    """Digits of which the first is no 0."""
    return str(rng.randint(1, 9)) + "".join(str(rng.randint(0, 9)) for _ in range(count - 1))


def id_check(body: str) -> str:
    """The check character of 17 digits, by the definition of ISO 7064 MOD 11-2."""
    rest = 0
    for digit in body:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11]


def luhn_digit(body: str) -> str:
    """The last digit of a card."""
    total = sum(sum(divmod(int(d) * (2 - place % 2), 10)) for place, d in enumerate(reversed(body)))
    return str(-total % 10)


def credit_code(rng: random.Random) -> str:
    """A unified social credit code with its check character, by trying which one fits."""
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = rng.choice(("91", "92", "11", "51", "Y1")) + str(rng.randint(110000, 659000))
    body += "".join(rng.choice(letters) for _ in range(9))
    weighted = sum(letters.index(c) * 3**place for place, c in enumerate(body))
    return body + next(c for c in letters if (weighted + letters.index(c)) % 31 == 0)


def chinese_value(kind: str, faker: Faker, rng: random.Random) -> str:
    """A value as people write it: mostly plain, some in groups, some full-width."""
    plain: Mapping[str, Callable[[], str]] = {
        "ID_CARD": lambda: faker.ssn(),
        "MOBILE": lambda: rng.choice(("", "", "", "+86 ", "86-")) + faker.phone_number(),
        "LANDLINE": lambda: (
            rng.choice(("010-", "021-", "0755-", "(0571)", "028 ")) + str(rng.randint(20000000, 89999999))
        ),
        "BANK_CARD": lambda: bank_card(rng),
        "PLATE": lambda: plate(faker, rng),
        "PASSPORT": lambda: rng.choice(("E", "G", "EA", "EB")) + digits(rng, 8),
        "CREDIT_CODE": lambda: credit_code(rng),
        "EMAIL": lambda: rng.choice((faker.email(), faker.free_email(), faker.company_email())),
        "IP_ADDRESS": lambda: rng.choice((faker.ipv4_public(), faker.ipv6())),
        "URL": lambda: faker.url() + rng.choice(("", "index.html?id=3")),
    }
    value = plain[kind]()
    value = value[:9] if kind == "PASSPORT" else value
    chance = rng.random()
    if chance < 0.1 and kind in ("ID_CARD", "MOBILE", "BANK_CARD", "LANDLINE"):
        return value.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789X"})
    if chance < 0.25 and kind in ("MOBILE", "BANK_CARD", "ID_CARD") and value.isdigit():
        mark = rng.choice(" -")
        cuts = {"MOBILE": (3, 7), "ID_CARD": (6, 14), "BANK_CARD": (4, 8, 12, 16)}[kind]
        return "".join((mark if place in cuts else "") + c for place, c in enumerate(value))
    return value


def bank_card(rng: random.Random) -> str:
    """A card of a Chinese bank with its Luhn digit."""
    body = rng.choice(("622202", "621700", "622848", "621661", "622588", "625999"))
    body += digits(rng, rng.choice((9, 12)))
    return body + luhn_digit(body)


def plate(faker: Faker, rng: random.Random) -> str:
    """A plate as faker writes it, without its dash, with a dot, or one of a new-energy car."""
    usual = str(faker.license_plate())
    if rng.random() < 0.4:
        return usual[:2] + rng.choice("DF") + digits(rng, 5)
    return usual.replace("-", rng.choice(("", "", "·", "-")))
