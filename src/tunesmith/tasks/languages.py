"""Language codes: the tokens by which multilingual encoder-decoders are told what to read and what to write."""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerBase

from tunesmith.errors import RecipeError, nearest
from tunesmith.tasks.encoding import TextEncoder

_CODE = re.compile(r"[a-z]{2,3}_[A-Z]{2}|[a-z]{3}_[A-Z][a-z]{3}|__[a-z]{2,3}__")
"""Codes as mBART (en_XX), NLLB (eng_Latn) and M2M-100 (__en__) write them."""


def codes_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The language codes that a tokenizer knows, with their ids."""
    return {token: number for token, number in tokenizer.get_added_vocab().items() if _CODE.fullmatch(token)}


def check_language(tokenizer: PreTrainedTokenizerBase, code: str, where: str) -> None:
    """See that the tokenizer knows a language code.

    Raises:
        RecipeError: it does not, or it has no such codes.
    """
    known = codes_of(tokenizer)
    if not known:
        raise RecipeError(
            "The model's tokenizer has no language codes, so a language has no effect.",
            where=where,
            to_do="Remove it; for T5 and its kin say the languages in task.source_prefix.",
        )
    if code not in known:
        shown = ", ".join(sorted(known)[:8]) + (" ..." if len(known) > 8 else "")
        raise RecipeError(
            f"The model knows no language '{code}'.{nearest(code, known)}", where=where, to_do=f"Its codes: {shown}."
        )


def around(encoder: TextEncoder, language: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after a text in a language: the tokenizer's, with this language's code in the code's place.

    After a text stands an end token, also where the tokenizer gives none.
    """
    codes = codes_of(encoder.tokenizer)
    before, after = encoder.before, encoder.after
    if language:
        known, code = set(codes.values()), codes[language]
        before, after = (tuple(code if token in known else token for token in part) for part in (before, after))
    end = encoder.tokenizer.eos_token_id
    return before, after if end is None or end in after else (*after, end)
