"""Apertium: rule-based translation by a program of the system, without any network."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.errors import MissingExtraError, ResourceError

_PATIENCE = 60.0
_PER_TEXT = 0.5
"""Seconds that the program may take, and so many more for each text."""

_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_UNKNOWN = re.compile(r"(?<![^\s\W])[*@#](?=[^\W\d_])")
"""The marks before words that it does not know, cannot translate, or cannot inflect."""


@dataclass(frozen=True)
class Apertium:
    """Translate by Apertium (Forcada et al. 2011), a program of rules and dictionaries that needs no network.

    Words that its dictionaries lack stay as they are.

    Needs: Debian's packages apertium and one of a pair of languages, such as apertium-eng-spa.

    Attributes:
        forth, back: its modes, one for each direction; `apertium -l` lists those that there are.
    """

    forth: str = "eng-spa"
    back: str = "spa-eng"

    def opened(self) -> Program:
        """The program, after seeing that it has both modes.

        Raises:
            MissingExtraError: it is not installed, or lacks a mode.
        """
        path = shutil.which("apertium")
        if path is None:
            raise MissingExtraError(
                "The program 'apertium' is not installed.",
                where="augmenters.by",
                to_do="Install it and a pair of languages: apt-get install apertium apertium-eng-spa",
            )
        known = _run([path, "-l"], "").split()
        for mode in (self.forth, self.back):
            if mode not in known:
                raise MissingExtraError(
                    f"Apertium has no mode '{mode}' here; it has {', '.join(known) or 'none'}.",
                    where="augmenters.by",
                    to_do="Install the package of that pair, such as apertium-eng-spa, or name another mode.",
                )
        version = " ".join(_run([path, "-V"], "").split())
        return Program(path, self.forth, self.back, version)


@dataclass(frozen=True)
class Program:
    """Apertium as it is installed here."""

    path: str
    forth: str
    back: str
    version: str

    @property
    def identity(self) -> str:
        """Version and modes."""
        return f"{self.version}, {self.forth}, {self.back}"

    @property
    def at_once(self) -> int:
        """A process takes a third of a second to begin, so it is given many texts."""
        return 1000

    @property
    def destination(self) -> str:
        """Texts stay here."""
        return ""

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """Each text translated there and back; one process for each direction."""
        return self._translated(self._translated(texts, self.forth), self.back)

    def _translated(self, texts: Sequence[str], mode: str) -> list[str]:
        """The texts as paragraphs, which the program ends as it ends sentences: no word moves into another one."""
        if not texts:
            return []
        lines = [" ".join(text.split()) for text in texts]
        written = _run([self.path, "-u", mode], "".join(f"{line or '.'}\n\n" for line in lines))
        found = _PARAGRAPHS.split(written.strip("\n"))
        if len(found) == len(texts):
            return [_tidy(line, new) for line, new in zip(lines, found, strict=True)]
        if len(texts) == 1:
            return [_tidy(lines[0], written)]
        middle = len(texts) // 2
        return self._translated(texts[:middle], mode) + self._translated(texts[middle:], mode)


def _tidy(source: str, written: str) -> str:
    """What was written, on one line, without marks of unknown words or blanks that the source has not before marks."""
    if not source:
        return ""
    text = _UNKNOWN.sub("", " ".join(written.split()))
    for mark in ".,;:!?":
        if f" {mark}" not in source:
            text = text.replace(f" {mark}", mark)
    return text


def _run(arguments: list[str], given: str) -> str:
    limit = _PATIENCE + _PER_TEXT * given.count("\n\n")
    try:
        done = subprocess.run(
            arguments, input=given.encode(errors="replace"), capture_output=True, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"Apertium did not answer within {limit:.0f} s.", where=arguments[0], to_do="Try it with a few texts."
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise ResourceError(
            f"Apertium failed: {' '.join(said.split())[:200] or 'it said nothing'}",
            where=" ".join(arguments),
            to_do="Try it in a shell: echo 'This is good.' | apertium eng-spa",
        ) from error
    return done.stdout.decode(errors="replace")
