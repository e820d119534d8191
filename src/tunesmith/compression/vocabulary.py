"""Word pieces that are not in use taken out of the tokenizer and the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from tunesmith.compression.pieces import Pieces, pieces_of, read_by, with_pieces
from tunesmith.compression.trained import Compressed, Trained, Workshop
from tunesmith.data.files import Place, read_lines
from tunesmith.data.scripts import SCRIPTS, script_of
from tunesmith.errors import ModelError, RecipeError, nearest
from tunesmith.models.model import Model
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import TextEncoder


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of scripts that are not in use are taken out of the tokenizer and the embeddings (Abdaoui et al. 2020).

    With `keep: scripts` a text in the kept scripts is cut into the same pieces as before, whose vectors stay, so that
    its answers stay to the last bit: no piece with a foreign letter could ever stand in it. Digits, signs and letters
    that all scripts share stay. With `keep: seen` only the pieces of given texts stay, and every piece of one
    character, of any script; other texts may then be cut into more pieces. How many of the training and validation
    texts are cut otherwise than before is counted.

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
        """Raise an error where pieces cannot be taken out of this model."""
        if task.body not in ("encoder", "classifier") or model.body.config.is_encoder_decoder:
            raise ModelError(
                "The body has an output layer over its vocabulary, which the task reads.",
                where="compress, vocabulary",
                to_do="Leave vocabulary out for this task.",
            )
        pieces_of(model.tokenizer)

    def compress(self, trained: Trained, workshop: Workshop) -> Compressed:
        """Take the pieces out."""
        tokenizer, model = trained.encoder.tokenizer, trained.model
        self.check(model, trained.task)
        pieces = pieces_of(tokenizer)
        known = [text for one in (*workshop.train, *workshop.validation) for text in (one.text, one.second) if text]
        before = read_by(tokenizer, known)
        kept = self.kept(pieces, self._seen(trained, workshop) if self.keep == "seen" else None)
        smaller = with_pieces(tokenizer, kept)
        _keep_rows(model, kept)
        model.tokenizer = smaller
        place = {old: new for new, old in enumerate(kept)}
        after = read_by(smaller, known)
        affected = sum(new != [place.get(old) for old in olds] for olds, new in zip(before, after, strict=True))
        encoder = TextEncoder.of(smaller, trained.encoder.max_length, trained.prefix)
        facts = {"kept": len(kept), "before": len(pieces.texts), "texts": len(known), "affected": affected}
        what = f"of {' and '.join(self.scripts)}" if self.keep == "scripts" else "seen or of one character"
        said = (
            f"{len(kept):,} of {len(pieces.texts):,} pieces stay, those {what}; {affected:,} of {len(known):,} "
            "training and validation texts are cut into other pieces than before."
        )
        return Compressed(Trained(model, trained.task, encoder, trained.prefix), facts, (said,))

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

    def _seen(self, trained: Trained, workshop: Workshop) -> frozenset[int]:
        texts = (
            [line.strip() for line in read_lines(Place.of(self.texts), "utf-8")]
            if self.texts
            else [text for one in workshop.train for text in (one.text, one.second) if text]
        )
        return frozenset(number for ids in read_by(trained.encoder.tokenizer, texts) for number in ids)


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
