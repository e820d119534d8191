"""Dialogues as tokens, by the model's own chat template, and which of the tokens the assistant wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Turn
from tunesmith.errors import RecipeError
from tunesmith.tasks.encoding import TextEncoder

PLAIN = """\
{%- if messages[0]['role'] == 'system' -%}
{{- messages[0]['content'] -}}
{%- else -%}
{{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '\\n\\n### Response:\\n' + message['content'] + eos_token -}}
{%- elif message['role'] == 'user' -%}
{{- '\\n\\n### Instruction:\\n' + message['content'] -}}
{%- elif not loop.first -%}
{{- '\\n\\n### Input:\\n' + message['content'] -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '\\n\\n### Response:\\n' -}}
{%- endif -%}
"""
"""The text form of Stanford Alpaca (2023), for tokenizers without a template of their own."""

_PLAINLY = "Set task.template: plain."


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dialogue as token ids, the tokens [start, end) of each answer with its end token, and the unknown tokens."""

    ids: list[int]
    answers: list[tuple[int, int]]
    unknown: int = 0

    @property
    def length(self) -> int:
        """The tokens up to the end of the last answer: what a template writes after it is never read."""
        return self.answers[-1][1] if self.answers else len(self.ids)

    @property
    def places(self) -> list[int]:
        """The places that foretell the answers' tokens: each one before its token."""
        return [place - 1 for first, last in self.answers for place in range(first, last)]


@dataclass(frozen=True, slots=True)
class Chat:
    """How dialogues become tokens: the tokenizer, whether its own template is used, and the token that ends answers."""

    encoder: TextEncoder
    plain: bool
    end: int

    def prompt(self, turns: Sequence[Turn]) -> Rendered:
        """The messages up to where the assistant begins to answer."""
        tokens = self.encoder.tokens(rendered(self.encoder.tokenizer, turns, plain=self.plain, opens=True))
        return Rendered([*self._opening, *tokens.ids], [], tokens.unknown)

    def dialogue(self, turns: Sequence[Turn], *, every: bool) -> Rendered:
        """All messages, of which the last is the assistant's; `every` finds its earlier answers too.

        The whole is tokenised at once. Where an answer stands is found by rendering the messages before it: the
        template's text for these must be how its text for all begins.

        Raises:
            RecipeError: the template changes earlier messages when later ones follow, or leaves an answer out.
        """
        tokenizer = self.encoder.tokenizer
        whole = rendered(tokenizer, turns, plain=self.plain)
        tokens = self.encoder.tokens(whole)
        ids = [*self._opening, *tokens.ids]
        shift = len(self._opening)
        answers = []
        for place, turn in enumerate(turns):
            if turn.role != "assistant" or not (every or place == len(turns) - 1):
                continue
            before = rendered(tokenizer, turns[:place], plain=self.plain, opens=True)
            after = whole if place == len(turns) - 1 else rendered(tokenizer, turns[: place + 1], plain=self.plain)
            if not whole.startswith(before) or not after.startswith(before):
                raise _broken("changes earlier messages when others follow")
            text = turn.text.strip()
            found = after.find(text, len(before))
            if found < 0:
                raise _broken("leaves out an answer, or parts of it")
            if not whole.startswith(after[: found + len(text)]):
                raise _broken("changes earlier messages when others follow")
            first, last = self._covered(tokens.offsets, tokens.ids, len(before), found + len(text))
            answers.append((first + shift, last + shift))
        return Rendered(ids, answers, tokens.unknown)

    def _covered(self, offsets: Sequence[tuple[int, int]], ids: Sequence[int], start: int, end: int) -> tuple[int, int]:
        """The tokens of the characters from `start` to `end`, and those after them up to the end token."""
        first = next((place for place, (_, last) in enumerate(offsets) if last > start), len(offsets))
        last = next((place for place, (begin, _) in enumerate(offsets) if begin >= end), len(offsets))
        while last < len(ids) and ids[last] != self.end:
            last += 1
        return first, min(last + 1, len(ids))

    @property
    def _opening(self) -> tuple[int, ...]:
        """A template writes the tokenizer's opening tokens itself; the plain form does not."""
        return self.encoder.before if self.plain else ()


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, plain: bool, opens: bool = False) -> str:
    """The messages as the template writes them; with `opens`, up to where the assistant begins to answer.

    Raises:
        RecipeError: the template refuses the messages, such as those of a system or a tool.
    """
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    own = PLAIN if plain else None
    try:
        return str(
            tokenizer.apply_chat_template(messages, chat_template=own, tokenize=False, add_generation_prompt=opens)
        )
    except (TemplateError, ValueError) as error:
        roles = ", ".join(turn.role for turn in turns[:6])
        what = f"The model's chat template refuses messages of {roles}: {' '.join(str(error).split())[:120]}"
        raise RecipeError(what, where="task.template", to_do=_PLAINLY) from error


def end_token(tokenizer: PreTrainedTokenizerBase, *, plain: bool) -> int:
    """The token with which the template ends an answer.

    Raises:
        RecipeError: it ends answers with no token of its own, so that a model could not learn to stop.
    """
    if plain:
        if tokenizer.eos_token_id is None:
            what = "The tokenizer has no end token, so a model could not learn to stop."
            raise RecipeError(what, where="model.name", to_do="Name its eos_token in tokenizer_config.json.")
        return int(tokenizer.eos_token_id)
    whole = rendered(tokenizer, [Turn("user", "a"), Turn("assistant", "b")], plain=False)
    after = whole[whole.rfind("b") + 1 :] if "b" in whole else ""
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    ids = tokenizer.backend_tokenizer.encode(whole, add_special_tokens=False)
    begin = len(whole) - len(after)
    for token, (start, _) in zip(ids.ids, ids.offsets, strict=True):
        if start >= begin and token in special:
            return int(token)
    raise _broken("ends answers with no token of its own, so that the model would not learn to stop")


def fitting(chat: Chat, turns: Sequence[Turn], answers: Sequence[str], to_write: int) -> tuple[tuple[Turn, ...], int]:
    """As many of the messages as fit the window with each of the answers, and how many tokens were dropped.

    The oldest rounds go first. Where even the last round is too long for the answer, the answer has half of the window
    (or what it needs), and the start of the last message goes until the rest suffices. Without answers, room is kept
    for `to_write` tokens.

    Raises:
        RecipeError: the template alone fills the window.
    """
    length = chat.encoder.max_length
    options = list(_shorter(turns))
    sizes = [len(chat.prompt(kept).ids) for kept in options]
    needed = max([len(chat.encoder.tokens(text).ids) + 2 for text in answers], default=to_write)
    room = length - needed if answers and sizes[-1] + needed <= length else length - min(needed, length // 2)
    place = next((number for number, size in enumerate(sizes) if size <= room), len(sizes) - 1)
    kept, size = options[place], sizes[place]
    for _ in range(4):  # a text without its start may have a token more than was reckoned
        if size <= room:
            break
        kept = _without_start(kept, chat.encoder, size - room)
        size = len(chat.prompt(kept).ids)
    if size >= length:
        raise RecipeError(
            f"The system's message and the template alone take {size} tokens of a window of {length}.",
            where="task.max_length",
            to_do="Allow more tokens.",
        )
    return kept, sizes[0] - size


def _shorter(turns: Sequence[Turn]) -> Iterator[tuple[Turn, ...]]:
    """The messages, then without the oldest round, and so on; the system's message and the last round stay."""
    head = tuple(turns[:1]) if turns and turns[0].role == "system" else ()
    rest = tuple(turns[len(head) :])
    yield (*head, *rest)
    for place, turn in enumerate(rest):
        if place and turn.role == "user":
            yield (*head, *rest[place:])


def _without_start(turns: Sequence[Turn], encoder: TextEncoder, excess: int) -> tuple[Turn, ...]:
    """The messages, the last of which lacks its first `excess` tokens; at least its last token stays."""
    last = turns[-1]
    offsets = encoder.tokens(last.text).offsets
    place = min(excess, len(offsets) - 1)
    return (*turns[:-1], replace(last, text=last.text[offsets[place][0] :])) if place > 0 else tuple(turns)


def _broken(how: str) -> RecipeError:
    return RecipeError(f"The model's chat template {how}.", where="task.template", to_do=_PLAINLY)
