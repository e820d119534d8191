"""The refusal of a text that holds personal data, in the words that a user of the service sees."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.errors import DataError

REFUSED = "personal_data_refused"
"""The stable code of the refusal."""

MESSAGES: Mapping[str, Mapping[str, str]] = {
    REFUSED: {
        "en": "The text holds personal data that is not accepted here: {kinds}. Remove it and send the text again.",
        "zh": "文本中含有此处不接受的个人信息：{kinds}。请删除后重新提交。",
    }
}


class PersonalDataError(DataError):
    """A text holds personal data of a kind that is refused; nothing of the text is told, only kinds and counts."""

    code = REFUSED

    def __init__(self, counts: Mapping[str, int], where: str = "") -> None:
        said = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
        super().__init__(
            f"The text holds personal data that is refused: {said}.",
            where=where,
            to_do="Remove it, or choose another action for these kinds.",
        )
        self.counts = dict(counts)

    def said(self, language: str = "en") -> str:
        """The refusal as a user reads it, in English ("en") or Chinese ("zh")."""
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(self.counts.items()))
        return MESSAGES[REFUSED][language].format(kinds=kinds)
