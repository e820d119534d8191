"""Presidio's recognisers as one of ours (extra `presidio`), for comparison and for countries that ours do not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tunesmith.errors import import_extra
from tunesmith.privacy.surface import Found, Surface

KINDS: Mapping[str, str] = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "US_PASSPORT": "PASSPORT",
    "UK_PASSPORT": "PASSPORT",
    "US_DRIVER_LICENSE": "DRIVER_LICENCE",
    "LOCATION": "PLACE",
}
"""Presidio's names of kinds that have another one here; all others keep their own."""
_LEFT = ("DATE_TIME", "NRP")


@dataclass(frozen=True)
class Presidio:
    """The pattern recognisers of Presidio, on a blank spaCy pipeline: no model is loaded, and none is fetched.

    Needs: the extra `presidio`.

    Attributes:
        language: of the texts, as Presidio names it.
        least_score: what Presidio is less sure of is left.
    """

    language: str = "en"
    least_score: float = 0.4

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its usual recognisers find; those of single countries have further names."""
        return (*dict.fromkeys(KINDS.values()), "CREDIT_CARD", "CRYPTO", "IP_ADDRESS", "MAC_ADDRESS", "URL")

    def find(self, text: Surface) -> Iterator[Found]:
        """What Presidio finds in the original text."""
        analyzer = analyzer_of(self.language)
        for one in analyzer.analyze(text.original, self.language, score_threshold=self.least_score):
            if one.entity_type not in _LEFT:
                kind = KINDS.get(one.entity_type, one.entity_type)
                yield Found(one.start, one.end, kind, certain=one.score >= 1.0)


@cache
def analyzer_of(language: str) -> Any:
    """Presidio's engine for one language, which takes a second to make; recognisers may be added to its registry."""
    analyzer = import_extra("presidio_analyzer", "presidio")
    # Its e-mail recogniser asks this package, which would fetch a list of domains when it is first used.
    domains: Any = import_extra("tldextract.tldextract", "presidio")
    domains.TLD_EXTRACTOR = domains.TLDExtract(cache_dir=None, suffix_list_urls=())
    engines = import_extra("presidio_analyzer.nlp_engine", "presidio")
    spacy = import_extra("spacy", "presidio")
    engine = engines.SpacyNlpEngine(models=[{"lang_code": language, "model_name": "blank"}])
    engine.nlp = {language: spacy.blank(language)}
    return analyzer.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
