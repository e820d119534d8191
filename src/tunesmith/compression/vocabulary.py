"""Word pieces that are not in use taken out of the tokenizer and the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from tunesmith.compression.pieces import Pieces, pieces_of, with_pieces
from tunesmith.compression.reading import always_read, encoded_by, numbers_of, pieces_in
from tunesmith.compression.trained import Compressed, Trained, Workshop
from tunesmith.data.files import Place, read_lines
from tunesmith.data.records import Example
from tunesmith.data.scripts import SCRIPTS, script_of
from tunesmith.errors import ModelError, RecipeError, nearest
from tunesmith.inference.predictor import Predictor
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import Encoded, TextEncoder

_PROBE = 16
"""Examples whose answers are compared before and after."""


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of scripts that are not in use are taken out of the tokenizer and the embeddings (Abdaoui et al. 2020).

    With `keep: scripts` a text in the kept scripts is cut into the same pieces as before, whose vectors stay, so that
    its answers stay to the last bit: no piece with a foreign letter could ever stand in it. Digits, signs and letters
    that all scripts share stay. With `keep: seen` only the pieces of given texts stay, and every piece of one
    character, of any script; other texts may then be cut into more pieces. What the task puts around texts or reads
    beside them (a prefix, descriptions of labels, items) always stays. How many of the training and validation examples
    are cut otherwise than before is counted, and some of the others are asked before and after.

    Needs: a WordPiece or Unigram tokenizer, and a body without an output layer over the vocabulary.

    Attributes:
        scripts: whose pieces stay.
        keep: all pieces of the scripts, or only those seen in texts and single characters.
        texts: for `keep: seen`, a file with one text per line; empty for the training texts.
    """

    scripts: tuple[str, ...] = ("Han", "Latin")
    keep: Literal["scripts", "seen"] = "scripts"
    texts: str = ""

    def __post_init__(self) -> None:
        if not self.scripts:
            raise RecipeError("No script would stay.", where="vocabulary.scripts", to_do="Name one: [Han, Latin].")
        for name in self.scripts:
            if name not in SCRIPTS:
                raise RecipeError(
                    f"Unknown script '{name}'.{nearest(name, SCRIPTS)}",
                    where="vocabulary.scripts",
                    to_do=f"Use some of {', '.join(SCRIPTS)}.",
                )
        if self.texts and self.keep == "scripts":
            raise RecipeError(
                "texts has no use where all pieces of the scripts stay.",
                where="vocabulary.texts",
                to_do="Leave it out, or set keep: seen.",
            )

    @property
    def trainings(self) -> int:
        """How often it trains on at most."""
        return 0

    def check(self, model: Model, task: Task) -> None:
        """Raise an error where pieces cannot be taken out of this model, or the file of texts cannot be read."""
        if task.body not in ("encoder", "classifier") or model.body.config.is_encoder_decoder:
            raise ModelError(
                "The body has an output layer over its vocabulary, which the task reads.",
                where="compress, vocabulary",
                to_do="Leave vocabulary out for this task.",
            )
        pieces_of(model.tokenizer)
        if self.texts:
            self._lines()

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Take the pieces out.

        Raises:
            ModelError: a text that is cut as before is answered otherwise, or has other pieces around it.
        """
        tokenizer, model, task = trained.encoder.tokenizer, trained.model.eval(), trained.task
        self.check(model, task)
        pieces = pieces_of(tokenizer)
        seen = self._seen(trained, workshop.train) if self.keep == "seen" else None
        kept = sorted({*self.kept(pieces, seen), *always_read(trained)})
        encoder = TextEncoder.of(with_pieces(tokenizer, kept), trained.encoder.max_length, trained.prefix)
        place = {old: new for new, old in enumerate(kept)}
        _see_framed_alike(trained.encoder, encoder, place)
        known = [*workshop.train, *workshop.validation]
        probe, affected = _compared(trained, encoder, place, known)
        expected = Predictor(model, task, trained.encoder).logits([old for old, _ in probe])
        _keep_rows(model, kept)
        model.tokenizer = encoder.tokenizer
        _see_answered_alike(expected, Predictor(model, task, encoder).logits([new for _, new in probe]))
        facts = {"kept": len(kept), "before": len(pieces.texts), "texts": len(known), "affected": affected}
        what = f"of {' and '.join(self.scripts)}" if self.keep == "scripts" else "seen or of one character"
        said = (
            f"{len(kept):,} of {len(pieces.texts):,} pieces stay, those {what}; {affected:,} of {len(known):,} "
            "training and validation examples are cut into other pieces than before."
        )
        return Compressed(Trained(model, task, encoder, trained.prefix), facts, (said,))

    def kept(self, pieces: Pieces, seen: frozenset[int] | None) -> list[int]:
        """The numbers of the pieces that stay; all of the scripts where none were `seen`."""
        allowed = {"", *self.scripts}
        if seen is not None:
            return [n for n, text in enumerate(pieces.texts) if text is None or n in seen or len(text) == 1]
        return [
            number
            for number, text in enumerate(pieces.texts)
            if text is None or all(script_of(character) in allowed for character in text)
        ]

    def _lines(self) -> list[str]:
        return [line.strip() for line in read_lines(Place.of(self.texts), "utf-8")]

    def _seen(self, trained: Trained, train: Sequence[Example]) -> frozenset[int]:
        """The pieces of the file's texts; without one, those that the training texts are cut into and read by."""
        if self.texts:
            return pieces_in(trained.encoder, self._lines())
        plain = pieces_in(trained.encoder, (text for one in train for text in (one.text, one.second) if text))
        # A task may part pieces further, at words and marks: it looks for both, the longer and the shorter ones.
        encoded = encoded_by(trained.task, trained.encoder, train)
        return plain.union(*(numbers_of(example, one) for example, one in zip(train, encoded, strict=True)))


def _see_framed_alike(before: TextEncoder, after: TextEncoder, place: Mapping[int, int]) -> None:
    """See that the same pieces stand before, between and after texts.

    Raises:
        ModelError: others do.
    """
    for old, new in ((before.before, after.before), (before.between, after.between), (before.after, after.after)):
        if [place.get(number) for number in old] != list(new):
            raise ModelError(
                "With fewer pieces the tokenizer puts other ones around a text.",
                where="compress, vocabulary",
                to_do="Leave vocabulary out for this model.",
            )


def _compared(
    trained: Trained, encoder: TextEncoder, place: Mapping[int, int], known: Sequence[Example]
) -> tuple[list[tuple[Encoded, Encoded]], int]:
    """A few examples, as cut before and now, of those that are cut alike; and how many are not."""
    both = (encoded_by(trained.task, one, known) for one in (trained.encoder, encoder))
    alike: list[tuple[Encoded, Encoded]] = []
    affected = 0
    for example, old, new in zip(known, *both, strict=True):
        if [place.get(number) for number in numbers_of(example, old)] != numbers_of(example, new):
            affected += 1
        elif len(alike) < _PROBE:
            alike.append((old, new))
    return alike, affected


def _see_answered_alike(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> None:
    """See that examples which are cut as before are answered as before.

    Raises:
        ModelError: one is not.
    """
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape or not torch.allclose(old, new, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise ModelError(
                "A text that is cut into the same pieces as before is answered otherwise.",
                where="compress, vocabulary",
                to_do="Leave vocabulary out for this model, and report it: the step has a fault.",
            )


def _keep_rows(model: Model, kept: Sequence[int]) -> None:
    """Take all rows out of the word embeddings but these, and number the special pieces of the configuration anew."""
    table = cast(nn.Embedding, model.body.get_input_embeddings())
    rows = table.weight.detach()[torch.tensor(kept, dtype=torch.long, device=table.weight.device)].clone()
    place = {old: new for new, old in enumerate(kept)}
    pad = table.padding_idx
    smaller = nn.Embedding(len(kept), rows.shape[1], padding_idx=None if pad is None else place.get(pad))
    smaller.weight = nn.Parameter(rows)
    model.body.set_input_embeddings(smaller)
    for config in (model.body.config, model.config):
        config.vocab_size = len(kept)
        for name, value in config.to_dict().items():
            if name.endswith("_token_id") and isinstance(value, int):
                setattr(config, name, place.get(value))
    model.plain = frozenset(model.state_dict())
