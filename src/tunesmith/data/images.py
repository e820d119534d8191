"""Pictures as numbers."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.media import content_of, last_change
from tunesmith.errors import DataError, import_extra

_KEPT = 1024
"""Pictures kept decoded: questions about one picture often follow each other."""


def pixels_of(path: str, size: int) -> NDArray[np.uint8]:
    """A picture in any format that Pillow reads, scaled to `size` x `size`: red, green, blue [3, size, size].

    It is turned as its camera says, transparency is laid on white, of a film the first picture is taken, and of greys
    with 16 bits the upper 8.

    Raises:
        MissingExtraError: Pillow is not installed.
        DataError: there is no such file, or it is no picture.
    """
    return _pixels(path, last_change(path), size)


@lru_cache(maxsize=_KEPT)
def _pixels(path: str, _changed: int, size: int) -> NDArray[np.uint8]:
    pillow, turning = import_extra("PIL.Image", "image"), import_extra("PIL.ImageOps", "image")
    content = content_of(path)
    try:
        with pillow.open(io.BytesIO(content)) as opened:
            picture = turning.exif_transpose(_of_bytes(opened, pillow)).convert("RGBA")
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        what = f"{path} is no picture that can be read: {str(error).partition(' <')[0]}."
        raise DataError(what, where=path, to_do="Give a PNG or JPEG file.") from error
    white = pillow.new("RGBA", picture.size, "white")
    flat = pillow.alpha_composite(white, picture).convert("RGB")
    scaled = flat.resize((size, size), pillow.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(scaled, dtype=np.uint8).transpose(2, 0, 1))


def _of_bytes(picture: Any, pillow: Any) -> Any:
    """The picture, its greys as bytes: Pillow would cut what is above 255 to white."""
    if picture.mode in ("I", "F"):
        raise ValueError("its points are numbers of 32 bits")
    if not picture.mode.startswith("I;16"):
        return picture
    greys = pillow.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    greys.info = picture.info
    return greys
