"""Why feedback is not taken, by a stable code, in English and Simplified Chinese; and errors of the store itself."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.errors import TunesmithError

REFUSALS: Mapping[str, Mapping[str, str]] = {
    "unknown_request": {
        "en": "No answer with this request id and item is remembered. Give the id of an answer that was served.",
        "zh": "没有记录该请求编号和序号的回答。请提供已返回的回答的编号。",
    },
    "gone": {
        "en": "The answer of this request is past its retention date and no longer takes feedback.",
        "zh": "该请求的回答已超过保留期限，不再接受反馈。",
    },
    "wrong_verdict": {
        "en": "The verdict is neither 'correct' nor 'wrong'.",
        "zh": "判定必须是 correct（正确）或 wrong（错误）。",
    },
    "contradictory_feedback": {
        "en": "The verdict is 'correct' and a right answer is given. Leave one of them out.",
        "zh": "判定为正确时不应再给出正确答案。请去掉其中之一。",
    },
    "same_answer": {
        "en": "The verdict is 'wrong', and the right answer is the one that was served. Say 'correct' or give another.",
        "zh": "判定为错误，但给出的正确答案与已返回的回答相同。请改为 correct，或给出其他答案。",
    },
    "wrong_right_answer": {
        "en": "The right answer does not fit the model's labels.",
        "zh": "给出的正确答案不符合模型的标签。",
    },
    "too_long": {
        "en": "A part of the feedback is too long.",
        "zh": "反馈内容过长。",
    },
    "idempotency_conflict": {
        "en": "This idempotency key was used for other feedback on the same answer. Use a new one.",
        "zh": "该幂等键已用于同一回答的另一条反馈。请换一个新的键。",
    },
    "not_storable": {
        "en": "The database does not take this feedback. Change it; sending the same again is of no use.",
        "zh": "数据库无法保存这条反馈。请修改内容；重复发送同样内容无效。",
    },
    "feedback_unavailable": {
        "en": "The feedback could not be confirmed as stored. Send it again later, with the same idempotency key.",
        "zh": "无法确认反馈已保存。请稍后使用相同的幂等键重新发送。",
    },
}
"""Code -> what it says; none of it ever holds a user's text."""


class StoreError(TunesmithError):
    """The database of answers cannot be opened, or is not what the code expects."""


class FeedbackError(TunesmithError):
    """Feedback that is not taken; `code` is one of `REFUSALS`, `detail` a reason or number without any user text."""

    def __init__(self, code: str, detail: str = "") -> None:
        said = REFUSALS[code]["en"]
        super().__init__(f"{said} {detail}".rstrip(), where="feedback")
        self.code = code
        self.detail = detail

    def said(self, language: str = "en") -> str:
        """The sentence in "en" or "zh", with its detail (English) behind it."""
        return f"{REFUSALS[self.code][language]} {self.detail}".rstrip()
