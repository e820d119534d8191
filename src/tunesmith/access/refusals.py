"""Requests that are turned away: a stable code, a status, and a sentence in two languages that tells no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunesmith.errors import TunesmithError

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Refusal:
    """What is said outside for a code: HTTP status, what was wrong, what to do; {names} are numbers or own words."""

    status: int
    what: Mapping[Language, str]
    to_do: Mapping[Language, str]


def _refusal(status: int, what: tuple[str, str], to_do: tuple[str, str]) -> Refusal:
    return Refusal(status, {"en": what[0], "zh": what[1]}, {"en": to_do[0], "zh": to_do[1]})


REFUSALS: Mapping[str, Refusal] = {
    "missing_key": _refusal(
        401,
        ("The request carries no key.", "请求没有携带密钥。"),
        ("Send the header 'Authorization: Bearer <key>'.", "请发送请求头 Authorization: Bearer <密钥>。"),
    ),
    "invalid_key": _refusal(
        401,
        ("The key is not valid.", "密钥无效。"),
        ("Check that the whole key was copied, or ask for a new one.", "请确认密钥复制完整，或申请新的密钥。"),
    ),
    "expired_key": _refusal(
        401,
        ("The key has expired.", "密钥已过期。"),
        ("Ask for a new key.", "请申请新的密钥。"),
    ),
    "revoked_key": _refusal(
        401,
        ("The key was revoked.", "密钥已被吊销。"),
        ("Ask for a new key.", "请申请新的密钥。"),
    ),
    "invalid_token": _refusal(
        401,
        ("The token is not valid here.", "令牌在此无效。"),
        ("Sign in again, for this service.", "请重新登录本服务。"),
    ),
    "expired_token": _refusal(
        401,
        ("The token has expired.", "令牌已过期。"),
        ("Sign in again.", "请重新登录。"),
    ),
    "signers_unavailable": _refusal(
        503,
        ("The keys of whoever signed the token cannot be fetched now.", "目前无法获取令牌签发方的公钥。"),
        ("Try again in {retry_after} seconds.", "请在 {retry_after} 秒后重试。"),
    ),
    "missing_scope": _refusal(
        403,
        ("The key does not have the scope '{scope}'.", "密钥没有权限“{scope}”。"),
        ("Ask for a key with this scope.", "请申请具有该权限的密钥。"),
    ),
    "too_many_failures": _refusal(
        429,
        (
            "Too many wrong keys came from here: more than {limit} within a minute.",
            "此来源提交的错误密钥过多：一分钟内超过 {limit} 次。",
        ),
        ("Try again in {retry_after} seconds.", "请在 {retry_after} 秒后重试。"),
    ),
    "too_many_requests": _refusal(
        429,
        ("The key may make {limit} requests per minute.", "该密钥每分钟最多 {limit} 次请求。"),
        ("Try again in {retry_after} seconds.", "请在 {retry_after} 秒后重试。"),
    ),
    "too_many_tokens": _refusal(
        429,
        (
            "The key may use {limit} tokens per minute; this request needs {given}.",
            "该密钥每分钟最多使用 {limit} 个词元；本次请求需要 {given} 个。",
        ),
        ("Try again in {retry_after} seconds.", "请在 {retry_after} 秒后重试。"),
    ),
    "request_above_limit": _refusal(
        413,
        (
            "The request needs {given} tokens, more than the {limit} that the key may use in a minute.",
            "本次请求需要 {given} 个词元，超过该密钥每分钟 {limit} 个的上限。",
        ),
        ("Send it in smaller parts.", "请拆分后再发送。"),
    ),
    "body_too_large": _refusal(
        413,
        ("The body is larger than {limit} bytes.", "请求体超过 {limit} 字节。"),
        ("Send it in smaller parts.", "请拆分后再发送。"),
    ),
    "not_json": _refusal(
        400,
        ("The body is not JSON in UTF-8.", "请求体不是 UTF-8 编码的 JSON。"),
        ("Send one JSON value in UTF-8.", "请发送一个 UTF-8 编码的 JSON 值。"),
    ),
    "json_too_deep": _refusal(
        400,
        ("The JSON is nested deeper than {limit} levels.", "JSON 嵌套超过 {limit} 层。"),
        ("Send flatter JSON.", "请减少嵌套层数。"),
    ),
    "json_too_large": _refusal(
        413,
        ("The JSON holds more than {limit} values.", "JSON 包含的值超过 {limit} 个。"),
        ("Send it in smaller parts.", "请拆分后再发送。"),
    ),
    "json_number_too_long": _refusal(
        400,
        ("The JSON holds a number of more than {limit} characters.", "JSON 中有超过 {limit} 个字符的数字。"),
        ("Send shorter numbers.", "请缩短数字。"),
    ),
    "no_items": _refusal(
        400,
        ("The request holds no text.", "请求中没有文本。"),
        ("Send at least one text.", "请至少发送一条文本。"),
    ),
    "too_many_items": _refusal(
        413,
        ("The request holds {given} texts; at most {limit} go together.", "请求包含 {given} 条文本，最多 {limit} 条。"),
        ("Send it in smaller parts.", "请拆分后再发送。"),
    ),
    "text_too_long": _refusal(
        413,
        (
            "Text {item} has {given} characters; at most {limit} are read.",
            "第 {item} 条文本有 {given} 个字符，最多 {limit} 个。",
        ),
        ("Send a shorter text, or its parts.", "请缩短或拆分文本。"),
    ),
    "texts_too_long": _refusal(
        413,
        (
            "The texts have {given} characters together; at most {limit} are read.",
            "所有文本共有 {given} 个字符，最多 {limit} 个。",
        ),
        ("Send it in smaller parts.", "请拆分后再发送。"),
    ),
    "bad_name": _refusal(
        400,
        ("The name of the {kind} is not one.", "{kind} 的名称不合规。"),
        (
            "Use 1 to 64 of a-z, 0-9, dot, underscore and hyphen; a letter or digit first.",
            "请使用 1 至 64 个字符：a-z、0-9、点、下划线、连字符，且以字母或数字开头。",
        ),
    ),
    "bad_path": _refusal(
        404,
        ("There is no such {kind}.", "没有这个 {kind}。"),
        ("See whether the name is misspelt.", "请检查名称拼写。"),
    ),
}
"""Everything that is said outside."""

OUTSIDE: Mapping[str, str] = {
    **dict.fromkeys(("malformed_key", "unknown_key", "wrong_key"), "invalid_key"),
    **dict.fromkeys(
        (
            *("malformed_token", "algorithm_refused", "unknown_signer", "bad_signature", "wrong_audience"),
            *("wrong_issuer", "token_not_yet_valid", "missing_claim", "bad_claim"),
        ),
        "invalid_token",
    ),
}
"""Codes for logs and counters alone, and the one that is said outside: whoever guesses learns nothing from it."""


class RefusedError(TunesmithError):
    """A request is turned away.

    Attributes:
        code: the exact reason, for logs and counters.
        outside: the code that may be sent to who asked; the same for a key that is unknown and one that is wrong.
        numbers: limits, what was given, seconds to wait (`retry_after`), and words of our own such as a scope.
    """

    def __init__(self, code: str, numbers: Mapping[str, int | str] | None = None) -> None:
        self.code = code
        self.outside = OUTSIDE.get(code, code)
        self.numbers = dict(numbers or {})
        said = self.told("en")
        super().__init__(said["message"], to_do=said["to_do"])

    @property
    def status(self) -> int:
        """The HTTP status that fits."""
        return REFUSALS[self.outside].status

    def told(self, language: Language = "en") -> dict[str, str]:
        """What may be sent to who asked: `code`, `message` and `to_do`."""
        refusal = REFUSALS[self.outside]
        return {
            "code": self.outside,
            "message": refusal.what[language].format_map(self.numbers),
            "to_do": refusal.to_do[language].format_map(self.numbers),
        }
