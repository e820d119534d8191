"""How much personal data is found, and how much of what is found is some: English and Chinese, beside Presidio.

English: the synthetic sentences of presidio-research (data set presidio-pii, both files), each file shuffled by a seed
and parted in halves. The recognisers were written while looking at the first half; the second is reported. Both halves
come from the same templates. Chinese: sentences made here around values of faker (zh_CN) and of this file, which counts
their check digits by code of its own; values stand right beside Chinese characters, some in groups, some full-width;
other sentences hold numbers that only look like personal data. A value is found if values of its kind cover all of it.

Presidio (if it is installed) runs on a blank spaCy pipeline, so with its pattern recognisers only, and at its own
threshold; for the Chinese texts China is added to the regions of its phone numbers. What is found in real texts of
other data sets is counted at the end, without a truth to compare it with.

Run it with: .venv/bin/python benchmarks/personal_data.py
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import lzma
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faker import Faker
from rich.console import Console
from rich.table import Table

from tunesmith.data.dataset import Data
from tunesmith.privacy import Found, Presidio, Redactor, Surface, standard
from tunesmith.privacy.presidio import analyzer_of
from tunesmith.privacy.redactor import resolved

FILES = ("synth_dataset_v2.json.xz", "generated_large.json.xz")
PHONES, CARDS = ("PHONE", "MOBILE", "LANDLINE"), ("CREDIT_CARD", "BANK_CARD")
ENGLISH: Mapping[str, tuple[str, ...]] = {
    "PHONE_NUMBER": PHONES,
    "EMAIL_ADDRESS": ("EMAIL",),
    "CREDIT_CARD": CARDS,
    "IBAN_CODE": ("IBAN",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "US_SSN": ("SSN",),
    "DOMAIN_NAME": ("URL",),
    "US_DRIVER_LICENSE": ("DRIVER_LICENCE",),
}
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
FREE: Mapping[str, tuple[str, ...]] = {"PERSON": ("PERSON",), "STREET_ADDRESS": ("ADDRESS",), "ADDRESS": ("ADDRESS",)}
"""Kinds that need a model: these are for information."""

REAL = {"chnsenticorp": "class", "trec": "class", "conll2003": "spans", "clinc150": "class"}
"""Real texts: reviews, questions, news, requests; and the kind of their labels."""

Value = tuple[int, int, str]


@dataclass(frozen=True)
class Text:
    """A text with the places and kinds of its personal data."""

    text: str
    values: tuple[Value, ...]


def main() -> None:
    """Score both languages and print a table for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", choices=["development", "test"], default="test")
    options.add_argument("--seed", type=int, default=13, help="parts the English texts")
    options.add_argument("--chinese-seed", type=int, default=31, help="makes the Chinese texts")
    options.add_argument("--size", type=int, default=3000, help="Chinese sentences")
    options.add_argument("--misses", action="store_true", help="print what was missed and what was found for nothing")
    given = options.parse_args()
    console = Console(width=150)
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    english = english_texts(given.seed, given.part)
    chinese = chinese_texts(given.size, given.chinese_seed)
    console.print(f"English: {len(english):,} texts, {given.part} half (seed {given.seed}).")
    console.print(f"Chinese: {len(chinese):,} texts (seed {given.chinese_seed}).")
    for title, texts, kinds in (
        ("English, structured", english, ENGLISH),
        ("English, without a model", english, FREE),
        ("Chinese, structured", chinese, CHINESE),
    ):
        systems = finders(title.partition(",")[0])
        report(console, title, texts, kinds, systems, misses=given.misses)
    real_texts(console)


def real_texts(console: Console) -> None:
    """What our recognisers find in real texts, of which most hold no personal data: counts alone."""
    table = Table(title="Real texts, Tunesmith", title_justify="left")
    for column in ("data set", "texts", "characters", "found", "microseconds per character"):
        table.add_column(column, justify="left" if column in ("data set", "found") else "right")
    redactor = Redactor(standard())
    for name, kind in REAL.items():
        data = Data(name=name, limit=4000, validation="none", test="none")
        texts = [example.text for example in data.load(kind, 13).splits.train]
        begin = time.process_time()
        counts = Counter(one.kind for text in texts for one in redactor.find(text))
        length = sum(map(len, texts))
        speed = (time.process_time() - begin) / length * 1e6
        said = ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "nothing"
        table.add_row(name, f"{len(texts):,}", f"{length:,}", said, f"{speed:.2f}")
    console.print(table)


def finders(language: str) -> dict[str, Callable[[str], Sequence[Found]]]:
    """What looks for personal data, by name."""
    ours = Redactor(standard())
    systems: dict[str, Callable[[str], Sequence[Found]]] = {"Tunesmith": ours.find}
    if importlib.util.find_spec("presidio_analyzer") is None:
        return systems
    if language == "Chinese":
        known = importlib.import_module("presidio_analyzer.predefined_recognizers")
        analyzer_of("en").registry.add_recognizer(known.PhoneRecognizer(supported_regions=("CN",)))
    presidio = Presidio(least_score=0.0)
    systems["Presidio"] = lambda text: resolved(presidio.find(Surface.of(text)))
    return systems


def english_texts(seed: int, part: str) -> list[Text]:
    """One half of the sentences of presidio-research."""
    folder = Path(os.environ.get("TUNESMITH_DATA", "../shared/data")) / "presidio-pii"
    texts: list[Text] = []
    for file in FILES:
        with lzma.open(folder / file, "rt", encoding="utf-8") as stream:
            rows = json.load(stream)
        random.Random(seed).shuffle(rows)
        half = len(rows) // 2
        for row in rows[:half] if part == "development" else rows[half:]:
            values = [(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]
            texts.append(Text(row["full_text"], tuple(values)))
    return texts


def report(
    console: Console,
    title: str,
    texts: Sequence[Text],
    kinds: Mapping[str, tuple[str, ...]],
    systems: Mapping[str, Callable[[str], Sequence[Found]]],
    *,
    misses: bool,
) -> None:
    """A table with recall and precision of each kind, for each system."""
    table = Table(title=title, title_justify="left")
    for column in ("kind", "values", "system", "recall", "precision", "gone"):
        table.add_column(column, justify="left" if column in ("kind", "system") else "right")
    speeds = []
    for system, find in systems.items():
        find(texts[0].text)
        begin = time.process_time()
        found = [find(text.text) for text in texts]
        speeds.append(f"{system} {(time.process_time() - begin) / len(texts) * 1e6:,.0f}")
        whole = [0, 0, 0, 0]
        for kind, accepted in kinds.items():
            counts = scored(texts, found, kind, accepted, kinds, console if misses and system == "Tunesmith" else None)
            values, hits, gone, named, right = counts
            if values:
                whole = [a + b for a, b in zip(whole, (values, hits, gone, named), strict=True)]
                table.add_row(kind, f"{values:,}", system, rate(hits, values), rate(right, named), rate(gone, values))
        table.add_row("all", f"{whole[0]:,}", system, rate(whole[1], whole[0]), "", rate(whole[2], whole[0]))
        table.add_section()
    console.print(table)
    console.print(f"Microseconds of the processor per text: {'; '.join(speeds)}.")


def scored(
    texts: Sequence[Text],
    found: Sequence[Sequence[Found]],
    kind: str,
    accepted: tuple[str, ...],
    kinds: Mapping[str, tuple[str, ...]],
    console: Console | None,
) -> tuple[int, int, int, int, int]:
    """Values of the kind; of these, covered by values of its kind, and by any; values found as it; of these, right."""
    values = hits = gone = named = right = 0
    alike = {name for name, others in kinds.items() if set(others) & set(accepted)}
    for text, ours in zip(texts, found, strict=True):
        for start, end, own in text.values:
            if own == kind:
                values += 1
                is_hit = covered(start, end, [one for one in ours if one.kind in accepted])
                hits += is_hit
                gone += covered(start, end, ours)
                if console is not None and not is_hit:
                    console.print(f"missed {kind}: {text.text[max(0, start - 30) : end + 10]!r}", markup=False)
        for one in ours:  # several kinds of one family share what was found, and so their precision
            if one.kind in accepted:
                named += 1
                is_right = any(one.start < e and s < one.end and own in alike for s, e, own in text.values)
                right += is_right
                if console is not None and not is_right:
                    shown = text.text[max(0, one.start - 30) : one.end + 10]
                    console.print(f"for nothing {one.kind}: {shown!r}", markup=False)
    return values, hits, gone, named, right


def covered(start: int, end: int, found: Sequence[Found]) -> bool:
    """Whether each character but blanks at the borders lies in something that was found."""
    return all(any(one.start <= place < one.end for one in found) for place in range(start, end))


def rate(part: int, whole: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    if not whole:
        return "-"
    z, share = 1.96, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return f"{share:.4f} [{max(0.0, middle - half):.4f}, {min(1.0, middle + half):.4f}]"


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


if __name__ == "__main__":
    main()
