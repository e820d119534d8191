"""Rows that hold an instruction, a dialogue or a preference: the forms in use are recognised, and said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from tunesmith.data.labels import is_missing
from tunesmith.data.records import Turn
from tunesmith.data.source import Source
from tunesmith.data.tally import Tally, shorten
from tunesmith.errors import DataError, nearest

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}
"""What the forms call who speaks, and what it is called here."""
LISTS = ("messages", "conversations", "conversation", "dialogue")
QUESTIONS = ("prompt", "question", "query", "问题")
ANSWERS = ("response", "completion", "answer", "output", "回答")
"""The names of columns that are looked for: of messages, of questions, of answers."""
_KNOWN = (
    "Known forms: instruction/input/output (Alpaca), conversations (ShareGPT), messages (OpenAI), prompt/response, "
    "each also with chosen/rejected; or name the columns in data.text and data.label."
)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The messages before an answer, the answer (None where none is asked for), and one found worse."""

    turns: tuple[Turn, ...]
    answer: str | None
    rejected: str


def read_dialogue(source: Source, row: Mapping[str, Any], line: int, tally: Tally) -> Dialogue | None:
    """The dialogue that a row holds; None for one that cannot be learnt from, which is counted.

    Raises:
        DataError: the row has no known form, or a message in it is none.
    """
    where = f"{source.path}:{line}"
    form, turns = _messages(source, row, where)
    answer, rejected = None, ""
    if not is_missing(row.get("chosen")) and not is_missing(row.get("rejected")):
        form += " with a preference" if form else "preference"
        turns, answer, rejected = _preference(row, turns, where)
    if not form:
        raise _unknown(row, where)
    tally.add(f"form {form}", "note", f"{{count}} rows have the form: {form}.")
    turns = _settled(turns, line, tally)
    if row.get("label") is False and answer is None:
        tally.add("bad_answers", "warning", "{count} answers are marked as bad (label: false) and left out.", _at(line))
        return None
    if answer is None:
        turns, answer = _parted(turns, line, tally, is_labelled=bool(source.label_kind))
    answer = answer or ""
    is_asked = any(turn.role != "system" for turn in turns) and turns[-1].role != "assistant"
    if not is_asked or (source.label_kind and not answer.strip()):
        message = "{count} dialogues without a question or without an answer were left out."
        tally.add("unanswered", "warning", message, _at(line))
        return None
    if not source.label_kind:
        return Dialogue(tuple(turns), None, "")
    if answer != answer.strip() or rejected != rejected.strip():
        tally.add("answer_blanks", "note", "{count} answers had blanks around them, which were taken off.", _at(line))
    return Dialogue(tuple(turns), answer.strip(), rejected.strip())


def _messages(source: Source, row: Mapping[str, Any], where: str) -> tuple[str, list[Turn]]:
    """The row's form and its messages, an answer included; no form where none is known."""
    key = source.text or next((name for name in LISTS if isinstance(row.get(name), list)), "")
    if isinstance(row.get(key), list):
        head = _beginning(row)
        return f"messages from '{key}'", [*head, *_turns(row[key], where)]
    if "instruction" in row and not source.text:
        given = [_text(row.get(name), where) for name in ("instruction", "input")]
        asked = "\n\n".join(part for part in given if part.strip())
        turns = [*_beginning(row), *_history(row.get("history"), where), Turn("user", asked)]
        return "instruction, input, output (Alpaca)", _answered(turns, row, source.label or "output", source, where)
    question = source.text or next((name for name in QUESTIONS if not is_missing(row.get(name))), "")
    if not question and not source.label_kind and not is_missing(row.get("text")):
        question = "text"
    if not question or question not in row:
        return "", []
    answer = source.label or next((name for name in ANSWERS if name in row and name != question), "")
    said = f"prompt from '{question}'" + (f", response from '{answer}'" if answer else "")
    turns = [*_beginning(row), Turn("user", _text(row[question], where))]
    return said, _answered(turns, row, answer, source, where)


def _answered(turns: list[Turn], row: Mapping[str, Any], column: str, source: Source, where: str) -> list[Turn]:
    """The messages with the answer of a column; a preference has its answers elsewhere."""
    if not source.label_kind or "chosen" in row:
        return turns
    if column not in row:
        raise _unknown(row, where)
    return [*turns, Turn("assistant", _text(row[column], where))]


def _beginning(row: Mapping[str, Any]) -> list[Turn]:
    """What stands before all messages: the system's, and the tools that can be called."""
    parts = [str(row["system"])] if not is_missing(row.get("system")) else []
    tools = row.get("tools")
    if tools and not is_missing(tools):
        listed = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
        parts += [f"Tools that can be called:\n{listed}"] if listed.strip() not in ("", "[]") else []
    return [Turn("system", "\n\n".join(parts))] if parts else []


def _history(value: object, where: str) -> Iterator[Turn]:
    """Alpaca's earlier rounds: a list of [question, answer]."""
    if is_missing(value):
        return
    for pair in value if isinstance(value, list) else [value]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(
                f"The history holds {shorten(repr(pair), 60)}.", where=where, to_do='Give [["question", "answer"]].'
            )
        yield Turn("user", _text(pair[0], where))
        yield Turn("assistant", _text(pair[1], where))


def _preference(row: Mapping[str, Any], turns: list[Turn], where: str) -> tuple[list[Turn], str, str]:
    """The messages before the answer, the chosen answer and the rejected one."""
    good, bad = (_side(row[name], where) for name in ("chosen", "rejected"))
    if len(good) > 1:
        if good[:-1] != bad[:-1]:
            raise DataError(
                "'chosen' and 'rejected' differ before their last message.",
                where=where,
                to_do="Give two answers to the same messages.",
            )
        turns = [*(turn for turn in turns if turn.role == "system" and turn not in good), *good[:-1]]
    elif turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    if not turns:
        raise _unknown(row, where)
    return turns, good[-1].text, bad[-1].text


def _side(value: object, where: str) -> list[Turn]:
    """A text, a message or several messages, as messages that end with the assistant's."""
    if isinstance(value, str):
        return [Turn("assistant", value)]
    turns = _turns(value if isinstance(value, list) else [value], where)
    if not turns or turns[-1].role != "assistant":
        raise DataError("A preferred dialogue must end with the assistant.", where=where, to_do="Correct the row.")
    return turns


def _turns(values: Sequence[object], where: str) -> list[Turn]:
    """Messages with role/content or from/value."""
    turns = []
    for value in values:
        keys = ("role", "content") if isinstance(value, Mapping) and "role" in value else ("from", "value")
        if not isinstance(value, Mapping) or keys[0] not in value:
            raise DataError(
                f"{shorten(repr(value), 60)} is no message.",
                where=where,
                to_do='Give {"role": "user", "content": "..."} or {"from": "human", "value": "..."}.',
            )
        name = str(value[keys[0]])
        if name not in ROLES:
            raise DataError(
                f"Unknown role '{name}'.{nearest(name, ROLES)}", where=where, to_do=f"Known roles: {', '.join(ROLES)}."
            )
        calls = value.get("tool_calls")
        text = _text(value.get(keys[1]), where)
        called = json.dumps([call.get("function", call) for call in calls], ensure_ascii=False) if calls else ""
        turns.append(Turn(ROLES[name], "\n".join(part for part in (text, called) if part)))
    return turns


def _text(value: object, where: str) -> str:
    """A message's text; a list of parts must hold texts only."""
    if isinstance(value, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value
    ):
        return "\n".join(part["text"] for part in value)
    if isinstance(value, list | Mapping | bytes):
        raise DataError(f"{shorten(repr(value), 60)} is no text.", where=where, to_do="Give messages that are texts.")
    return "" if is_missing(value) else str(value)


def _settled(turns: Sequence[Turn], line: int, tally: Tally) -> list[Turn]:
    """The messages without empty ones and opening answers, and neighbours of one role joined; each is counted."""
    kept = [turn for turn in turns if turn.text.strip() or turn.role == "assistant"]
    if len(kept) < len(turns):
        tally.add("empty_messages", "warning", "{count} dialogues have empty messages, which were left out.", _at(line))
    system = [turn for turn in kept if turn.role == "system"][:1] if kept and kept[0].role == "system" else []
    rest = list(dropwhile(lambda turn: turn.role == "assistant", kept[len(system) :]))
    if len(system) + len(rest) < len(kept):
        message = "{count} dialogues begin with an answer to nothing, which was left out."
        tally.add("opening_answers", "warning", message, _at(line))
    joined: list[Turn] = [*system]
    for turn in rest:
        if joined and joined[-1].role == turn.role and turn.role != "tool":
            joined[-1] = Turn(turn.role, f"{joined[-1].text}\n\n{turn.text}")
            tally.add(
                "joined_messages",
                "warning",
                "{count} messages follow one of their own role and were joined.",
                _at(line),
            )
        else:
            joined.append(turn)
    return joined


def _parted(turns: list[Turn], line: int, tally: Tally, *, is_labelled: bool) -> tuple[list[Turn], str | None]:
    """The messages before the last answer, and that answer."""
    if not is_labelled:
        if turns and turns[-1].role == "assistant":
            tally.add(
                "answers_taken_off", "note", "{count} dialogues end with an answer; it is asked for anew.", _at(line)
            )
            return turns[:-1], None
        return turns, None
    last = max((place for place, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    if 0 <= last < len(turns) - 1:
        message = "{count} dialogues end without an answer; they were cut after their last one."
        tally.add("open_ends", "warning", message, _at(line))
    return (turns[:last], turns[last].text) if last >= 0 else (turns, None)


def _at(line: int) -> str:
    return f"line {line}"


def _unknown(row: Mapping[str, Any], where: str) -> DataError:
    keys = ", ".join(map(str, row))[:100] or "none"
    return DataError(f"The row is no dialogue of a known form; its keys are {keys}.", where=where, to_do=_KNOWN)
