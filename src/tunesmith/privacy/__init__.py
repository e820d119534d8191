"""Personal data: found by rules that prove themselves or by the words around it, and replaced."""

from __future__ import annotations

from tunesmith.privacy.actions import Action, Hash, Mask, Partial, Pseudonymise, Refuse
from tunesmith.privacy.chinese import BankCard, CreditCode, IdCard, Landline, Mobile, Plate
from tunesmith.privacy.contextual import Address, BirthDate, PersonName
from tunesmith.privacy.keys import RedactionKey
from tunesmith.privacy.nested import NestedRedaction
from tunesmith.privacy.network import Email, IpAddress, MacAddress, Url
from tunesmith.privacy.offsets import Offsets
from tunesmith.privacy.patterns import TAGGED_KINDS, Names, Pattern, kind_of
from tunesmith.privacy.phones import Phone
from tunesmith.privacy.presidio import Presidio
from tunesmith.privacy.redactor import Recogniser, Redacted, Redactor, restore
from tunesmith.privacy.refusing import PersonalDataError
from tunesmith.privacy.settings import ACTIONS, RedactionSettings, read_redaction, see_kinds
from tunesmith.privacy.surface import Found, Surface
from tunesmith.privacy.western import CreditCard, DriverLicence, Iban, Passport, SocialSecurityNumber

RECOGNISERS: dict[str, type[Recogniser]] = {
    "id_card": IdCard,
    "credit_code": CreditCode,
    "iban": Iban,
    "bank_card": BankCard,
    "credit_card": CreditCard,
    "email": Email,
    "url": Url,
    "mac_address": MacAddress,
    "ip_address": IpAddress,
    "ssn": SocialSecurityNumber,
    "mobile": Mobile,
    "landline": Landline,
    "phone": Phone,
    "plate": Plate,
    "passport": Passport,
    "driver_licence": DriverLicence,
    "birth_date": BirthDate,
    "address": Address,
    "person_name": PersonName,
    "pattern": Pattern,
    "presidio": Presidio,
}
"""Where two are alike sure of the same place, the earlier one here wins."""

_GIVEN_BY_THE_USER = ("pattern", "presidio")
"""These need settings, or a package that may not be there."""


def standard() -> tuple[Recogniser, ...]:
    """The recognisers that need neither settings nor a further package."""
    return tuple(kind() for name, kind in RECOGNISERS.items() if name not in _GIVEN_BY_THE_USER)


__all__ = [
    "ACTIONS", "RECOGNISERS", "TAGGED_KINDS", "Action", "Address", "BankCard", "BirthDate", "CreditCard", "CreditCode",
    "DriverLicence", "Email", "Found", "Hash", "Iban", "IdCard", "IpAddress", "Landline", "MacAddress", "Mask",
    "Mobile", "Names", "NestedRedaction", "Offsets", "Partial", "Passport", "Pattern", "PersonName",
    "PersonalDataError", "Phone", "Plate", "Presidio", "Pseudonymise", "Recogniser", "Redacted", "RedactionKey",
    "RedactionSettings", "Redactor", "Refuse", "SocialSecurityNumber", "Surface", "Url", "kind_of", "read_redaction",
    "restore", "see_kinds", "standard",
]  # fmt: skip
