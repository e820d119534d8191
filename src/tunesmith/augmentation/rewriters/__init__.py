"""What writes texts anew: programs, models and endpoints that translate there and back, or paraphrase."""

from __future__ import annotations

from tunesmith.augmentation.rewriters.apertium import Apertium
from tunesmith.augmentation.rewriters.chat_model import ChatModel
from tunesmith.augmentation.rewriters.ctranslate2 import CTranslate2
from tunesmith.augmentation.rewriters.endpoint import Endpoint, TranslatingEndpoint
from tunesmith.augmentation.rewriters.rewriter import Opened, Rewriter
from tunesmith.augmentation.rewriters.seq2seq import TranslationModels

TRANSLATORS: dict[str, type[Rewriter]] = {
    "apertium": Apertium,
    "translation_models": TranslationModels,
    "ctranslate2": CTranslate2,
    "endpoint": TranslatingEndpoint,
}
"""What translates a text into another language and back."""

PARAPHRASERS: dict[str, type[Rewriter]] = {"chat_model": ChatModel, "endpoint": Endpoint}
"""What answers a request to say a text in other words."""

__all__ = [
    "PARAPHRASERS",
    "TRANSLATORS",
    "Apertium",
    "CTranslate2",
    "ChatModel",
    "Endpoint",
    "Opened",
    "Rewriter",
    "TranslatingEndpoint",
    "TranslationModels",
]
