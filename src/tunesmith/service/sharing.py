"""Base models that are held once for the adapters of several artifacts, where that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.service.versions import Version


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which artifacts are held as an adapter beside their base model; all others are held whole, merged.

    Attributes:
        bases: the base models that are held once, each by what tells it from others.
        is_asked: whether it was asked for; nothing is shared otherwise.
    """

    bases: frozenset[str] = frozenset()
    is_asked: bool = False

    @classmethod
    def among(cls, versions: Sequence[Version], *, further: bool) -> Sharing:
        """Share each base model of which several of these versions have an adapter.

        Args:
            versions: what is served, and asked by guards.
            further: more versions may come, so that a single adapter too is held beside its base.
        """
        used = Counter(version.base for version in versions if version.base)
        return cls(frozenset(base for base, times in used.items() if further or times > 1), is_asked=True)

    def placed(self, version: Version) -> Version:
        """The version, to be held as these settings say."""
        base = version.base if version.base in self.bases else ""
        return replace(version, slot=replace(version.slot, base=base))

    def told(self, version: Version) -> str:
        """How a version is held, in words for those who run the service; empty where nothing was asked for."""
        if not self.is_asked:
            return ""
        if version.base in self.bases:
            return f"its adapter beside {version.base_name}, which is held once"
        if version.base:
            return f"held whole: no other model here was trained from its base, {version.base_name}"
        if version.form != "torch":
            return f"held whole: it answers in the form {version.form}"
        return "held whole: it keeps no adapter"


def could_share(versions: Sequence[Version]) -> int:
    """How many of these versions could be held beside a base model that another of them has too."""
    used = Counter(version.base for version in versions if version.base)
    return sum(times for times in used.values() if times > 1)
