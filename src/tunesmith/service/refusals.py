"""Requests that are not answered: a stable code, a status, and why, in English and Chinese. User text never occurs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.service.engine import ServiceError

Figure = str | int | float | bool | None
"""A number that was measured, or a name."""


@dataclass(frozen=True, slots=True)
class Why:
    """A reason to refuse: its HTTP status, and what is said with numbers filled in."""

    status: int
    en: str
    zh: str


REASONS: Mapping[str, Why] = {
    "bad_request": Why(
        400, "The request is not what this route takes: {detail}.", "请求不符合此接口的要求：{detail}。"
    ),
    "missing_field": Why(
        422,
        "This model needs the field '{field}', which is missing or empty.",
        "此模型需要字段“{field}”，但该字段缺失或为空。",
    ),
    "unused_field": Why(422, "This model cannot use the field '{field}'.", "此模型不使用字段“{field}”。"),
    "bad_span": Why(
        422, "A mark does not lie within the text of {limit} characters.", "标记超出了文本（{limit} 个字符）的范围。"
    ),
    "tokens_above_limit": Why(
        413,
        "A text has {given} tokens; the limit is {limit}. Shorten or part it.",
        "文本有 {given} 个词元，上限为 {limit}，请缩短或拆分。",
    ),
    "unknown_model": Why(
        404, "There is no such model here. GET /v1/models lists them.", "没有这个模型。GET /v1/models 可列出全部模型。"
    ),
    "unknown_version": Why(
        404,
        "No version of this model is loaded under this id. The id is what :load answered; /v1/models/NAME lists those "
        "that are loaded.",
        "此模型没有加载该编号的版本。编号见 :load 的回答；已加载的版本见 /v1/models/名称。",
    ),
    "unknown_answer": Why(
        422,
        'The answer to text {given} (counted from 0) is "I don\'t know", which this protocol has no form for: {detail} '
        "Send the other texts without it, or ask /v1/models/NAME/predict, which answers each.",
        "第 {given} 条文本（从 0 计）的回答为“我不知道”，此协议没有相应的形式：{detail}"
        "请去掉该文本后重发，或改用 /v1/models/名称/predict，其逐条回答。",
    ),
    "no_previous": Why(
        409, "There is no version to go back to: none was replaced.", "没有可回退的版本：尚未替换过任何版本。"
    ),
    "not_previous": Why(
        409,
        "The version that is named is not the one before, to which alone a rollback goes. Promote it instead.",
        "所指定的版本不是上一版本，回退只能回到上一版本；请改用 :promote。",
    ),
    "unknown_verb": Why(404, "There is no such verb. The verbs are {given}.", "没有这个操作。可用的操作：{given}。"),
    "not_found": Why(404, "There is nothing at this address.", "此地址不存在。"),
    "method_not_allowed": Why(405, "This address does not take this method.", "此地址不支持该请求方法。"),
    "wrong_task": Why(424, "This model's task cannot answer this route.", "此模型的任务不支持该接口。"),
    "body_too_slow": Why(
        408, "The body was not there after {limit} s. Send it faster.", "请求体未在 {limit} 秒内传完，请加快发送。"
    ),
    "unsupported_coding": Why(
        415, "Bodies are not decompressed here. Send plain JSON.", "此服务不解压请求体，请发送未压缩的 JSON。"
    ),
    "internal": Why(
        500,
        "The service failed on this request; its log says where. Report it with the request's id.",
        "服务处理该请求时出错，详情见日志；请附上请求编号反馈。",
    ),
    "overloaded": Why(
        429,
        "The service has more to answer than it can now. Try again in {seconds} s.",
        "服务繁忙，请在 {seconds} 秒后重试。",
    ),
    "deadline": Why(504, "There was no answer within {limit} ms.", "未能在 {limit} 毫秒内给出回答。"),
    "unanswerable": Why(
        422, "The model fails on this input; others are answered.", "模型无法处理此输入；其他输入不受影响。"
    ),
    "shutting_down": Why(
        503, "The service is stopping. Ask another replica, or try again.", "服务正在停止，请重试或换用其他副本。"
    ),
    "personal_data": Why(
        422,
        "The text holds personal data ({field}), which this service refuses.",
        "文本含有个人信息（{field}），本服务拒绝处理。",
    ),
    "no_store": Why(
        409,
        "This service remembers no answers. Start it with --store.",
        "本服务未保存回答，请用 --store 启动。",
    ),
    "not_loaded": Why(
        409, "It was not loaded, and the traffic is as before: {detail}", "未加载，流量未受影响：{detail}"
    ),
    "untrusted": Why(
        409,
        "This service takes versions that a trusted key has signed, and the traffic is as before: {detail} "
        "Sign it: tunesmith sign.",
        "本服务只接受由受信任密钥签名的版本，流量未受影响：{detail}请用 tunesmith sign 签名。",
    ),
    "in_use": Why(
        409,
        "The version still has a part (champion, canary, shadow or previous). Give that to another one first.",
        "该版本仍在使用（主版本、灰度、影子或上一版本），请先切换到其他版本。",
    ),
    "too_many_versions": Why(
        409,
        "This model has {limit} versions loaded, the most that are held at once. Unload one first.",
        "此模型已加载 {limit} 个版本，已达上限，请先卸载其中一个。",
    ),
    "no_memory": Why(
        507,
        "The version would take {given} MB of memory, and {limit} MB are free; the traffic is as before. "
        "Unload another version first.",
        "该版本约需 {given} MB 内存，目前仅余 {limit} MB；流量未受影响。请先卸载其他版本。",
    ),
    "no_root": Why(
        409,
        "This service was started without --root, so it loads no further versions.",
        "服务启动时未指定 --root，不能加载新的版本。",
    ),
    "inferior": Why(
        409,
        "Refused, the traffic is as before: on {n} golden examples {metric} is {new}, the champion's is {old}; "
        "the difference is {difference}, and {detail}. See where it is worse, or use force.",
        "已拒绝，流量未受影响：在 {n} 条黄金样本上，{metric} 为 {new}，当前版本为 {old}；差值 {difference}，"
        "{detail}。请查明变差之处，或用 force 强制执行。",
    ),
    "slice_worse": Why(
        409,
        "Refused, the traffic is as before: on the {slice_n} golden examples of '{slice}' it is shown to be worse "
        "by more than {margin}: {slice_new} where the champion has {slice_old}, the difference is below {slice_bound}. "
        "Better this part, or use force.",
        "已拒绝，流量未受影响：在“{slice}”的 {slice_n} 条黄金样本上，已证明其变差超过 {margin}："
        "为 {slice_new}，当前版本为 {slice_old}，差值低于 {slice_bound}。请改进这一部分，或用 force 强制执行。",
    ),
    "slice_undefined": Why(
        409,
        "Refused, the traffic is as before: on the {slice_n} golden examples of '{slice}' its {metric} is not "
        "defined, as where all its answers are the same; the champion has {slice_old}. Better this part, or use "
        "force.",
        "已拒绝，流量未受影响：在“{slice}”的 {slice_n} 条黄金样本上，其 {metric} 无定义（例如所有回答都相同），"
        "当前版本为 {slice_old}。请改进这一部分，或用 force 强制执行。",
    ),
    "confidence_missing": Why(
        409,
        "Refused, the traffic is as before: it leaves more answers to golden examples without a confidence than "
        "the champion does. Export it with its confidences, or use force.",
        "已拒绝，流量未受影响：与当前版本相比，它有更多黄金样本的回答没有置信度。请保留置信度后重试，"
        "或用 force 强制执行。",
    ),
    "calibration_worse": Why(
        409,
        "Refused, the traffic is as before: its confidence is further from the truth. The expected calibration "
        "error is {new_ece} where the champion has {old_ece}; {calibration_margin} more is let pass. "
        "Calibrate it, or use force.",
        "已拒绝，流量未受影响：其置信度偏差更大，期望校准误差为 {new_ece}，当前版本为 {old_ece}，最多允许增加 "
        "{calibration_margin}。请重新校准，或用 force 强制执行。",
    ),
    "golden_changed": Why(
        409,
        "Refused, the traffic is as before: the file of golden examples is not what it was when the service began. "
        "Put it back, or start the service again with the new one.",
        "已拒绝，流量未受影响：黄金样本文件与服务启动时不一致。请恢复原文件，或用新文件重启服务。",
    ),
    "golden_unanswered": Why(
        409,
        "Refused, the traffic is as before: the {field} did not answer all golden examples ({detail}). Try again, or "
        "use force.",
        "已拒绝，流量未受影响：{field} 未能回答全部黄金样本（{detail}）。请重试，或用 force 强制执行。",
    ),
    "golden_learnt": Why(
        409,
        "Refused, the traffic is as before: the champion learnt from {old_learnt} of the golden examples, the new "
        "version from {new_learnt}. {n} are new to both, and {needed} are needed. Label new ones, or use force.",
        "已拒绝，流量未受影响：黄金样本中，当前版本学过 {old_learnt} 条，新版本学过 {new_learnt} 条；"
        "两者都没学过的有 {n} 条，至少需要 {needed} 条。请标注新的样本，或用 force 强制执行。",
    ),
    "champion_changed": Why(
        409,
        "Refused: another version became champion while the golden examples were answered. Try again.",
        "已拒绝：回答黄金样本期间主版本已更换，请重试。",
    ),
}


DETAILS: Mapping[str, str] = {
    "it cannot be read": "无法读取",
    "a parameter is not of its form": "参数格式不正确",
    "a whole number of milliseconds": "应为以毫秒计的整数",
    "a text has half of a surrogate pair, which is no character": "文本含有不完整的代理对，不是有效字符",
    "this is not done here; leave it out": "此处不支持该选项，请去掉",
    "a flat list is one pair; send many texts as [[text], [text]]": (
        "一维列表表示一对文本；多条文本请写成 [[文本], [文本]]"
    ),
    "its answers mean something else (another task or labels).": "其回答的含义不同（任务或标签不同）。",
    "The artifact is not signed.": "该模型未签名。",
    "The artifact is signed by a key that is not trusted here.": "其签名密钥不受信任。",
    "The artifact's signature cannot be read.": "其签名无法读取。",
    "The artifact's signature does not fit its manifest: that was changed since, or is forged.": (
        "其签名与清单不符：清单在签名后被改动，或签名系伪造。"
    ),
    "The artifact was replaced after it was loaded.": "加载之后该模型已被替换。",
    "a canary needs 'share', above 0 and at most 1; 0 ends it": "canary 需要 'share'，大于 0 且不超过 1；0 表示结束",
    "all that is shown is that it is above {bound}, not above -{margin} (try {look} on them, alpha {alpha})": (
        "目前只能证明其高于 {bound}，未能证明高于 -{margin}（对该样本第 {look} 次尝试，alpha {alpha}）"
    ),
    "it is shown to be below {upper_bound}, and so worse by more than {margin}": (
        "已证明其低于 {upper_bound}，即变差超过 {margin}"
    ),
    "its {metric} is not defined, as where all its answers are the same": "其 {metric} 无定义（例如所有回答都相同）",
    "texts and lists are mixed": "文本与列表混用",
    "one text, or a pair of two": "应为一段文本或一对文本",
    "inputs are named text and second": "输入名应为 text 和 second",
    "the datatype of texts is BYTES": "文本的数据类型应为 BYTES",
    "the shape does not fit the number of texts": "shape 与文本数量不符",
    "an input text, and as many of second where there is one": "需要输入 text；若有 second，数量须相同",
    "other dimensions than the model's {limit} are not supported": "不支持模型自身的 {limit} 维以外的维数",
    "at most {limit}": "上限为 {limit}",
    "a text is wanted": "应为文本",
    "a list is wanted": "应为列表",
    "an object with fields is wanted": "应为含字段的对象",
    "a whole number is wanted": "应为整数",
    "a number is wanted": "应为数字",
    "true or false is wanted": "应为 true 或 false",
    "a text or a list is wanted": "应为文本或列表",
    "a text, or an object with fields, is wanted": "应为文本，或含字段的对象",
    "the least is {limit}": "最小为 {limit}",
    "more than {limit} is wanted": "须大于 {limit}",
    "the most is {limit}": "最大为 {limit}",
    "less than {limit} is wanted": "须小于 {limit}",
    "at most {limit} characters are taken": "最多 {limit} 个字符",
    "at most {limit} entries are taken": "最多 {limit} 项",
    "at least {limit} entries are wanted": "至少 {limit} 项",
    "it must be {limit}": "可用的值：{limit}",
    "the field '{field}' stands in the wrong place: it belongs into each entry of '{given}'": (
        "字段“{field}”位置不对：应放在“{given}”的每一项中"
    ),
    "the field '{field}' stands in the wrong place: it belongs at the top of the request": (
        "字段“{field}”位置不对：应放在请求的最外层"
    ),
    "a field is unknown; the nearest known one is '{field}'": "含有未知字段，最接近的已知字段是“{field}”",
    "the field '{field}' is missing": "缺少字段“{field}”",
    "a value is not of its type or range ({given})": "值的类型或取值范围不符（{given}）",
}
"""What is wrong with a request, in English and Chinese."""


class NoAnswerError(ServiceError):
    """A request that is not answered, and why.

    Attributes:
        code: one of `REASONS`.
        seconds: when to try again; 0 where that has no use.
        figures: what was measured, by name; mostly nothing.
    """

    def __init__(
        self,
        code: str,
        *,
        where: str = "",
        seconds: float = 0.0,
        figures: Mapping[str, Figure] | None = None,
        **numbers: object,
    ) -> None:
        self.code = code
        self.seconds = seconds
        self.figures = figures or {}
        self.numbers = {
            "seconds": max(1, round(seconds)),
            "limit": "",
            "given": "",
            "field": "",
            "detail": "",
            **{name: "?" if value is None else value for name, value in self.figures.items()},
            **numbers,
        }
        super().__init__(self.said("en"), where=where)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return REASONS[self.code].status

    def said(self, language: str) -> str:
        """The sentence, in "en" or "zh"."""
        why, detail = REASONS[self.code], str(self.numbers["detail"])
        if detail in DETAILS:
            detail = (DETAILS[detail] if language == "zh" else detail).format(**self.numbers)
        return (why.zh if language == "zh" else why.en).format(**{**self.numbers, "detail": detail})
