"""How long texts are for a model, counted in the front before anything waits for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tokenizers import Tokenizer


class TokenCounter:
    """A tokenizer that only counts; nothing of it changes after loading, so that it may be asked at any time.

    Attributes:
        sha256: of its file; two that have the same one count alike.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.sha256 = sha256(content).hexdigest()
        self._tokenizer = Tokenizer.from_buffer(content)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, texts: Sequence[str]) -> int:
        """The tokens of all texts together, special ones included.

        Raises:
            UnicodeEncodeError: a text has half of a surrogate pair.
        """
        for text in texts:
            text.encode()
        # One by one, since many at once would start threads; without offsets, which nobody reads.
        return sum(len(self._tokenizer.encode_batch_fast([text])[0]) for text in texts)
