"""llama.cpp as a program that reads tokens and gives logits: one loaded file, asked through llama.cpp's C functions.

The package's own class would hold the logits of every token of a window, compile the file's chat template and write to
the terminal. Here logits are made where they are wanted, texts come as tokens, and nothing is written.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import ArtifactError, ResourceError, import_extra

AT_ONCE = 256
"""Tokens that are computed together; a longer text takes several such steps."""
_FLOAT32 = 0
_ERROR = 4


class Program(Protocol):
    """What gives logits for tokens, one text at a time."""

    def read(self, ids: Sequence[int], places: Sequence[int], *, room: int = 0) -> Tensor:
        """Forget what was read, read a text, and give the logits at these places [P, V]; `room` more may follow."""

    def go_on(self, token: int) -> Tensor:
        """Read one more token and give its logits [V]."""


class LlamaProgram:
    """A GGUF file in llama.cpp, on the CPU, with as many threads as torch has.

    Attributes:
        vocabulary: how many tokens it knows.
    """

    def __init__(self, file: Path) -> None:
        """Load a file.

        Raises:
            MissingExtraError: llama-cpp-python is not installed.
            ArtifactError: llama.cpp does not take the file.
        """
        library = import_extra("llama_cpp", "llama-cpp")
        self._said = _listening(library)
        self._said.clear()
        how = library.llama_model_default_params()
        how.n_gpu_layers = 0
        # Where the processor has AMX, matrices of 8 bits in such buffers end the process (llama.cpp issue 20824).
        how.use_extra_bufts = False
        model = library.llama_model_load_from_file(str(file).encode(), how)
        if not model:
            raise ArtifactError(
                f"llama.cpp does not load the file: {self._reason()}.",
                where=str(file),
                to_do="Export the artifact again: tunesmith export --form gguf.",
            )
        self.vocabulary = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(model)))
        self._library, self._model, self._file = library, model, file
        self._held: list[Any] = []  # the context, which is made anew where a longer text needs more room
        self._room, self._read = 0, 0
        self._batch = library.llama_batch_init(AT_ONCE, 0, 1)
        weakref.finalize(self, _let_go, library, model, self._held, self._batch)

    def read(self, ids: Sequence[int], places: Sequence[int], *, room: int = 0) -> Tensor:
        """Forget what was read, read a text, and give the logits at these places [P, V]; `room` more may follow.

        Raises:
            ResourceError: there is no memory for so many tokens.
        """
        self._make_room(len(ids) + room)
        self._library.llama_memory_clear(self._library.llama_get_memory(self._held[0]), False)
        self._read = 0
        wanted = set(places)
        found: dict[int, Tensor] = {}
        for start in range(0, len(ids), AT_ONCE):
            found |= self._step(ids[start : start + AT_ONCE], wanted)
        return torch.stack([found[place] for place in places]) if places else torch.zeros(0, self.vocabulary)

    def go_on(self, token: int) -> Tensor:
        """Read one more token and give its logits [V]."""
        return self._step([token], {self._read})[self._read - 1]

    def _step(self, ids: Sequence[int], wanted: set[int]) -> dict[int, Tensor]:
        """Read some tokens, and give the logits of those places among them that are wanted."""
        library, batch, first = self._library, self._batch, self._read
        batch.n_tokens = len(ids)
        for row, token in enumerate(ids):
            batch.token[row], batch.pos[row] = token, first + row
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, 0
            batch.logits[row] = first + row in wanted
        code = library.llama_decode(self._held[0], batch)
        if code:
            raise ResourceError(
                f"llama.cpp could not go on with a text of {first + len(ids)} tokens (code {code}).",
                where=str(self._file),
                to_do="Use a machine with more memory, or shorter texts.",
            )
        self._read += len(ids)
        return {first + row: torch.from_numpy(self._row(row)) for row in range(len(ids)) if first + row in wanted}

    def _row(self, row: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        held = self._library.llama_get_logits_ith(self._held[0], row)
        return np.ctypeslib.as_array(held, shape=(self.vocabulary,)).copy()

    def _make_room(self, tokens: int) -> None:
        """See that a text of so many tokens fits. What was read before is lost where there must be more room."""
        if tokens <= self._room:
            return
        library = self._library
        if self._held:
            library.llama_free(self._held.pop())
            self._room = 0
        how = library.llama_context_default_params()
        how.n_ctx = room = max(AT_ONCE, 1 << (tokens - 1).bit_length())
        how.n_batch = how.n_ubatch = AT_ONCE
        how.n_threads = how.n_threads_batch = torch.get_num_threads()
        # What is kept of the tokens before stays in float32, as in torch: it would be rounded to 16 bits else.
        how.type_k = how.type_v = _FLOAT32
        how.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        how.no_perf = True
        self._said.clear()
        context = library.llama_init_from_model(self._model, how)
        if not context:
            raise ResourceError(
                f"llama.cpp has no room for a text of {tokens} tokens: {self._reason()}.",
                where=str(self._file),
                to_do="Use a machine with more memory, or set a smaller task.max_new_tokens or max_length.",
            )
        self._held.append(context)
        self._room = room

    def _reason(self) -> str:
        """What llama.cpp said last of what is wrong."""
        return (self._said[0] if self._said else "it does not say why")[:160].rstrip(".")


def _let_go(library: ModuleType, model: Any, held: list[Any], batch: Any) -> None:
    library.llama_batch_free(batch)
    while held:
        library.llama_free(held.pop())
    library.llama_model_free(model)


@cache
def _listening(library: ModuleType) -> deque[str]:
    """The errors that llama.cpp tells from now on; it writes nothing to the terminal.

    Its listener is one for the whole process, and must live as long as that.
    """
    said: deque[str] = deque(maxlen=8)

    @library.llama_log_callback  # type: ignore[untyped-decorator]
    def hear(level: int, text: bytes, _data: object) -> None:
        line = " ".join(text.decode("utf-8", "replace").split())
        if level == _ERROR and line:
            said.append(line)

    library.llama_log_set(hear, None)
    _LISTENERS.append(hear)
    return said


_LISTENERS: list[Any] = []
