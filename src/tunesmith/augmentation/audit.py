"""What came of changed copies: kept, refused and why, and how many lost their label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tunesmith.data.records import Finding
from tunesmith.data.tally import SHOWN, shorten

_Z = 1.959964
"""The normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Refused:
    """A copy that the judge refused: the texts, the label it should have kept, and what the judge answers."""

    source: str
    copy: str
    label: str
    answer: str


@dataclass(frozen=True)
class Flips:
    """The copies that lost their label among those that were judged: a share with its 95 % interval."""

    lost: int
    judged: int
    share: float
    low: float
    high: float


@dataclass
class Audit:
    """What came of the copies: the kept ones, and why others were not, by augmenter.

    `verdicts` holds for each augmenter and source how many of its copies were judged and how many of these lost their
    label. `unjudged` counts the kept copies of which no judge said anything; `shown` has a source's text and its
    copy's, `refusals` the copies that were refused; `notes` is what augmenters say of themselves.
    """

    sources: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    verdicts: dict[tuple[str, int], list[bool]] = field(default_factory=dict)
    unjudged: int = 0
    judge: str = ""
    shown: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    refusals: dict[str, list[Refused]] = field(default_factory=dict)
    notes: list[Finding] = field(default_factory=list)

    def plain(self) -> dict[str, object]:
        """The audit as plain values."""
        counts = {"kept": self.kept, "unchanged": self.unchanged, "known": self.known, "refused": self.refused}
        plain = {name: dict(count) for name, count in counts.items()}
        flips = self.flips()
        found = {"label_flips": flips.share, "label_flips_low": flips.low, "label_flips_high": flips.high}
        notes = [note.message for note in self.notes]
        return {
            "sources": self.sources,
            **plain,
            "unjudged": self.unjudged,
            "judged": flips.judged,
            **found,
            "notes": notes,
        }

    def flips(self, augmenter: str = "") -> Flips:
        """The share of judged copies (of one augmenter) to which the judge gives another label than to their source."""
        own: dict[int, list[bool]] = {}
        for (name, source), lost in self.verdicts.items():
            if augmenter in ("", name):
                own.setdefault(source, []).extend(lost)
        return share_of_lost(list(own.values()))


def share_of_lost(groups: Sequence[Sequence[bool]]) -> Flips:
    """The share of true values with Wilson's interval; values of one group are not independent of each other.

    The interval is that of as many independent values as tell equally much: their number over the design effect of the
    ratio of sums (Kish 1965, sec. 8.2), which counts where it is above 1.
    """
    total, lost = sum(map(len, groups)), sum(map(sum, groups))
    if not total:
        return Flips(0, 0, 0.0, 0.0, 1.0)
    share = lost / total
    independent = float(total)
    if 0 < share < 1 and 1 < len(groups) < total:
        spread = sum((sum(group) - share * len(group)) ** 2 for group in groups) * len(groups) / (len(groups) - 1)
        effect = spread / total**2 / (share * (1 - share) / total)
        independent /= max(1.0, effect)
    scale = 1 + _Z**2 / independent
    middle = (share + _Z**2 / (2 * independent)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / independent + _Z**2 / (4 * independent**2))
    return Flips(lost, total, share, max(0.0, middle - half), min(1.0, middle + half))


def findings_of(audit: Audit) -> list[Finding]:
    """What the report says of the copies."""
    listed = ", ".join(f"{name} {count:,}" for name, count in audit.kept.most_common())
    made = audit.kept.total()
    shown = tuple(
        f"{name}: {shorten(source, 60)} -> {shorten(changed, 60)}"
        for name, pairs in audit.shown.items()
        for source, changed in pairs[:1]
    )
    message = f"{made:,} examples were made from the {audit.sources:,} of train ({listed or 'none'})."
    found = [Finding("augmented", "note" if made else "warning", message, made, shown[:SHOWN])]
    for code, counts, why in (
        ("not_changed", audit.unchanged, "times an augmenter found nothing in a text that it may change"),
        ("already_known", audit.known, "copies were left out, since their text stands in another example"),
        ("label_not_kept", audit.refused, "copies were left out, since the judge gives them another label"),
    ):
        if counts:
            listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
            found.append(Finding(code, "note", f"{counts.total():,} {why} ({listed}).", counts.total()))
    flips = audit.flips()
    if flips.judged:
        message = (
            f"Of {flips.judged:,} judged copies {said_of(flips)} lost their label, by {audit.judge or 'the judge'}."
        )
        found.append(Finding("label_flips", "note", message, flips.lost))
    return [*found, *audit.notes]


def said_of(flips: Flips) -> str:
    """The share with its interval, in per cent."""
    return f"{100 * flips.share:.1f} % [{100 * flips.low:.1f}, {100 * flips.high:.1f}]"
