"""A guard against texts that try to change a language model's instructions: patterns and reserved marks."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import re2
from pydantic import Field

from tunesmith.data.records import Example, Prediction
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

_WHOSE = r"(?:previous|prior|above|earlier|preceding|all|any|your|the|these|those|system|original|initial|everything)"
_RULES = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directions|commands?|directives?|constraints?|restrictions?|"
    r"programming|policy|policies|safeguards?|you (?:were|have been) told|said (?:before|above))"
)
_FREE = (
    r"(?:no (?:rules|restrictions|limits|filters?|guidelines|ethic\w*|moral\w*)|unrestricted|unfiltered|uncensored|"
    r"jailbroken|without (?:any )?(?:rules|restrictions|limits|filters?|guidelines|ethic\w*|censorship))"
)
_HIDDEN = (
    r"(?:system|hidden|secret|initial|original|internal|developer|confidential|own|first|pre-?set) ?(?:\w+ )?"
    r"(?:prompts?|instructions?|messages?|rules|guidelines|configuration)"
)
SIGNS: tuple[str, ...] = (
    # What was said before shall not hold.
    (
        rf"\b(?:ignore|disregard|forget|override|bypass|discard|neglect|overrule|circumvent|stop following|"
        rf"(?:do not|don't) (?:follow|obey))\b.{{0,40}}\b{_WHOSE}\b.{{0,40}}\b{_RULES}"
    ),
    (
        r"(?:忽略|无视|忘记|忘掉|不要?理会|不必理会|抛开|跳过|绕过|别管|推翻|覆盖|不要?遵守|不再遵守|违反).{0,16}"
        r"(?:指令|指示|提示|规则|设定|限制|约束|命令|准则)"
    ),
    # What is hidden shall be shown.
    (
        rf"\b(?:reveal|show|print|repeat|output|display|tell|give|leak|disclose|share|dump|quote|"
        rf"what (?:is|are|was|were))\b.{{0,40}}\b(?:your|the|its|this)\b.{{0,20}}\b{_HIDDEN}"
    ),
    (
        r"\b(?:repeat|print|output|copy|translate|summari[sz]e)\b.{0,30}\b(?:text|words|everything|all|content|"
        r"lines)\b.{0,12}\babove\b"
    ),
    (
        r"(?:输出|显示|打印|告诉我?|重复|复述|泄露|透露|展示|写出|公开|发给我|给我看|说出|翻译).{0,16}"
        r"(?:系统提示|系统指令|系统消息|初始指令|隐藏指令|原始指令|提示词|内部规则|你的指令|你的规则|开发者消息|上面的所有|以上所有)"
    ),
    # Another role, to which no rule applies.
    rf"\b(?:act|pretend|behave|respond|answer|role-?play|imagine|you are|you're|become)\b.{{0,80}}\b{_FREE}",
    r"\b(?:developer|debug|god|admin|sudo|root|jailbreak|dan|maintenance|unrestricted) mode\b",
    r"\bdo anything now\b|\byou are (?:now )?dan\b|\bjailbreak\b",
    (
        r"(?:扮演|假装|假扮|你现在是|你是一个|从现在(?:起|开始)|你不再是|想象你).{0,30}"
        r"(?:没有(?:任何)?(?:限制|约束|规则|道德)|不受(?:任何)?(?:限制|约束)|无限制|无审查|越狱|不需要遵守)"
    ),
    r"(?:开发者|调试|管理员|上帝|越狱|维护|超级用户)模式",
    # Other rules from now on.
    (
        r"\b(?:new|updated|real|actual|revised) (?:system )?(?:instructions?|rules|directives?|prompt)\b"
        r" ?(?:are|is|follow)? ?:"
    ),
    r"(?:新的?|最新的?|真正的?|更新后的?)(?:系统)?(?:指令|指示|命令|规则)(?:如下|是)?\s*:",
    # What protects shall be off.
    (
        r"\b(?:disable|turn off|deactivate|switch off|lift|remove|suspend)\b.{0,30}\b(?:safety|content filters?|"
        r"filters?|guardrails?|moderation|safeguards?|censorship|content policy|restrictions)\b"
    ),
    r"(?:关闭|解除|取消|停用|移除|去掉|关掉).{0,12}(?:安全|审查|过滤|内容审核|护栏|防护|所有限制|一切限制)",
)
"""What such attempts say, over text in lower case with single blanks; each match is one sign."""

MARKS: tuple[str, ...] = (
    r"<\|[a-z_0-9]{2,30}\|>",
    r"\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|</?s>",
    r"</?(?:system|assistant|developer|system_prompt|im_start|im_end)>",
    r"(?:^|\n)\s*(?:#{1,4} ?|\[)?(?:system|assistant|developer|系统|助手)\]?(?: (?:message|prompt|override))?\s*:",
    r"(?:^|\n)\s*#{2,4} ?(?:instruction|response|system)\b",
    r"\b(?:end|begin|start) of (?:the )?(?:system|user) (?:prompt|message|input)\b",
)
"""Reserved for the roles of a dialogue: tokens of chat templates, and lines that begin like another's."""

_SIGNS = [re2.compile(f"(?is){sign}") for sign in SIGNS]
_MARKS = [re2.compile(f"(?is){mark}") for mark in MARKS]
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|[\U000e0000-\U000e007f]")
_SPELT = re.compile(r"\b(?:\w[ .\-_]){4,}\w\b")
_CODED = re.compile(r"[A-Za-z0-9+/]{24,4000}={0,2}")


@dataclass(frozen=True)
class PromptInjection:
    """Refuse texts that try to change the instructions of a model that writes.

    It looks for what such attempts say in English and Chinese, for tokens of chat templates, and for lines that begin
    like another role's; also behind look-alike letters, invisible characters, letters spelt one by one and base64.
    This stops the attempts that everybody copies. Whoever tries will find words that it does not know: recall and false
    alarms stand in docs/evidence/guards.md. It replaces no other defence; give the model nothing that it must not tell.

    Attributes:
        signs: refuse from so many signs on.
        marks: whether reserved marks of roles alone are a reason.
    """

    signs: Annotated[int, Field(ge=1)] = 1
    marks: bool = True

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the text."""
        return frozenset()

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Refuse a text with signs or marks; of a dialogue every message but the system's is read."""
        texts = [turn.text for turn in example.turns if turn.role != "system"] or [example.text]
        readings = [reading for text in (*texts, example.second) if text for reading in _readings(text)]
        if self.marks and (found := sum(any(mark.search(one) for one in readings) for mark in _MARKS)):
            return Verdict("refuse", "role_markers", {"limit": 0, "value": found})
        flat = [" ".join(one.split()) for one in readings]
        found = sum(any(sign.search(one) for one in flat) for sign in _SIGNS)
        if found >= self.signs:
            return Verdict("refuse", "prompt_injection", {"limit": self.signs, "value": found})
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Pass."""
        return prediction


def _readings(text: str) -> Iterator[str]:
    """The text with its letters made plain, and what stands in it in base64."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    yield _SPELT.sub(lambda found: re.sub(r"[ .\-_]", "", found[0]), plain)
    for coded in _CODED.findall(plain):
        try:
            decoded = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        yield decoded
