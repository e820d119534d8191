"""Recordings as numbers: the logarithm of their energy by time and pitch."""

from __future__ import annotations

import io
import math
import wave
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from tunesmith.data.media import content_of, last_change
from tunesmith.errors import DataError

WINDOW, HOP = 0.025, 0.010
"""Seconds that a spectrum is taken over, and from one to the next, as is usual for speech."""

_KEPT = 1024
_SILENCE = 1e-10
_UNTOLD = 0x7FFF0000
"""Bytes from which a header does not mean its length: so software writes that did not know it at the beginning."""

_RATES = (1000, 400_000)
"""Samples per second that a recording can have."""


@dataclass(frozen=True, slots=True)
class Listening:
    """How recordings are heard.

    Attributes:
        sample_rate: samples per second; recordings of another rate are resampled.
        mel_bands: bands of pitch.
        max_seconds: the longest recording that is taken.
    """

    sample_rate: int
    mel_bands: int
    max_seconds: float


def log_mel_of(path: str, how: Listening) -> NDArray[np.float32]:
    """The log-mel spectrogram [F, T] of a WAV file, shifted and scaled to mean 0 and deviation 1.

    Energies of Hann windows of 25 ms every 10 ms, summed in triangular bands of equal width on the mel scale (Davis and
    Mermelstein 1980, sec. II), then logarithms; several channels are averaged.

    Raises:
        DataError: there is no such file, it is no whole WAV file with whole numbers, holds no sound, or is too long.
    """
    return _log_mel(path, last_change(path), how)


@lru_cache(maxsize=_KEPT)
def _log_mel(path: str, _changed: int, how: Listening) -> NDArray[np.float32]:
    return spectrogram(_signal(path, how), how)


def spectrogram(signal: NDArray[np.float64], how: Listening) -> NDArray[np.float32]:
    """The log-mel spectrogram [F, T] of samples in [-1, 1]; what is shorter than a window is filled up with silence."""
    window, hop = round(WINDOW * how.sample_rate), round(HOP * how.sample_rate)
    size = 1 << (window - 1).bit_length()
    filled = np.pad(signal, (0, max(0, window - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(filled, window)[::hop] * np.hanning(window)
    energy = np.abs(np.fft.rfft(frames, size)) ** 2
    bands = np.log(np.maximum(energy @ mel_filters(how.mel_bands, size, how.sample_rate).T, _SILENCE)).T
    scaled = (bands - bands.mean()) / max(float(bands.std()), 1e-5)
    return np.asarray(scaled, dtype=np.float32)


@lru_cache(maxsize=8)
def mel_filters(bands: int, size: int, sample_rate: int) -> NDArray[np.float64]:
    """Triangular bands over the frequencies of a spectrum [bands, size / 2 + 1], the weights of each adding up to 1.

    Their corners stand at equal steps of mel = 2595 log10(1 + f / 700) from 0 to half the sample rate.
    """
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, sample_rate / 2, size // 2 + 1)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    filters = np.maximum(np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)), 0)
    # A band that lies between two frequencies of the spectrum hears the nearer one.
    deaf = np.flatnonzero(filters.sum(1) == 0)
    filters[deaf, np.abs(frequencies - middle[deaf]).argmin(1)] = 1
    scaled: NDArray[np.float64] = filters / filters.sum(1, keepdims=True)
    return scaled


def _signal(path: str, how: Listening) -> NDArray[np.float64]:
    """The samples of a WAV file in [-1, 1], at the rate that is asked for."""
    try:
        with wave.open(io.BytesIO(content_of(path))) as file:
            described = file.getparams()
            content = file.readframes(described.nframes)
    except (wave.Error, EOFError) as error:
        what = f"{path} is no WAV file that can be read: {str(error) or 'it ends too early'}."
        raise DataError(what, where=path, to_do="Save it as WAV with 16-bit samples (PCM).") from error
    declared = described.nframes * described.sampwidth * described.nchannels
    if len(content) < declared < _UNTOLD:
        what = f"{path} is cut off: {len(content):,} of {declared:,} bytes of sound are there."
        raise DataError(what, where=path, to_do="Copy it again.")
    samples = _samples(content, described.sampwidth, described.nchannels)
    rate = described.framerate
    if not len(samples) or not _RATES[0] <= rate <= _RATES[1]:
        what = f"{path} holds no sound ({len(samples)} samples at {rate} Hz)."
        raise DataError(what, where=path, to_do="Record it again, or leave its field empty.")
    if len(samples) / rate > how.max_seconds:
        what = f"The recording {path} has {len(samples) / rate:.1f} seconds; at most {how.max_seconds:g} are taken."
        raise DataError(what, where=path, to_do="Cut it, or raise task.max_seconds.")
    if rate == how.sample_rate:
        return samples
    common = math.gcd(rate, how.sample_rate)
    resampled: NDArray[np.float64] = resample_poly(samples, how.sample_rate // common, rate // common)
    return resampled


def _samples(content: bytes, width: int, channels: int) -> NDArray[np.float64]:
    """PCM samples as numbers in [-1, 1], channels averaged; those of 8 bits have no sign."""
    whole = len(content) // (width * channels) * width * channels
    raw = np.frombuffer(content[:whole], dtype=np.uint8).reshape(-1, width)
    # The bytes of a sample are moved to the top of 32 bits, so that one division does for all widths.
    wide = np.zeros((len(raw), 4), dtype=np.uint8)
    wide[:, 4 - width :] = raw ^ 0x80 if width == 1 else raw
    return np.asarray(wide.view("<i4").reshape(-1, channels).mean(1) / 2**31)
