"""Personal data and secrets in a text. Where a number has a check digit, it is checked; names and addresses are not
looked for, because a pattern cannot tell them from other words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# A run of figures with no more than two signs between them.
_FIGURES = re.compile(r"\d(?:[ ().-]{0,2}\d){5}")
_ADDRESS = re.compile(r"\d\.\d{1,3}\.\d")
_MARKS = ("-----BEGIN", "AKIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "AIza", "hf_", "sk-", "xox", "glpat-", "eyJ")
_EMAIL = re.compile(r"(?<![\w.+-])\w[\w.+-]{0,63}@(?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,24}\b")
_IP = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_CARD = re.compile(r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d){8,15}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.,/$€£=*+-])\+?\(?\d{1,4}\)?(?:[ .-]?\(?\d{1,5}\)?){1,6}(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w%/=*])"
)
_PHONE_WORDS = re.compile(r"phone|call|\btel|mobile|cell|fax|dial|reach|whatsapp|text me", re.IGNORECASE)
_DATE = re.compile(r"\d{4}[-. ]\d{1,2}[-. ]\d{1,2}|\d{1,2}[-. ]\d{1,2}[-. ](?:19|20)\d\d")
_SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bAIza[\w-]{35}"
    r"|\bhf_[A-Za-z0-9]{30,}\b|\bsk-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bglpat-[\w-]{20}\b|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}"
)
_WINDOW = 40
"""Characters before a number in which a word about phones counts."""


def personal_kinds(text: str) -> Iterator[str]:
    """What there is in a text of ``email``, ``phone``, ``iban``, ``card``, ``ssn``, ``ip`` and ``secret``."""
    figures = _FIGURES.search(text) is not None
    wanted = {
        "email": "@" in text,
        **dict.fromkeys(("phone", "iban", "card", "ssn"), figures),
        "ip": _ADDRESS.search(text) is not None,
        "secret": any(mark in text for mark in _MARKS),
    }
    for kind, find in _KINDS.items():
        if wanted[kind] and next(find(text), None) is not None:
            yield kind


def find_personal(text: str, kind: str) -> list[str]:
    """Every place of one kind, as it is written."""
    return list(_KINDS[kind](text))


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_is_valid(text: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616: the number modulo 97 is 1)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _emails(text: str) -> Iterator[str]:
    if "@" in text:
        yield from _EMAIL.findall(text)


def _cards(text: str) -> Iterator[str]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(set(digits)) > 2 and luhn(digits):
            yield match[0]


def _ibans(text: str) -> Iterator[str]:
    for match in _IBAN.finditer(text):
        # What follows may look like one group more.
        shortened = (match[0].rsplit(" ", cut)[0] for cut in range(3))
        found = next((candidate for candidate in shortened if iban_is_valid(candidate)), None)
        if found is not None:
            yield found


def _phones(text: str) -> Iterator[str]:
    for match in _PHONE.finditer(text):
        found = match[0]
        number = re.split(r" ?(?:x|ext)", found)[0]
        digits = re.sub(r"\D", "", number)
        if not 7 <= len(digits) <= 15 or _DATE.fullmatch(number) or _IP.fullmatch(number):
            continue
        if _SSN.fullmatch(number) or (len(digits) >= 13 and luhn(digits)):
            continue
        if _looks_dialled(number) or _PHONE_WORDS.search(text, max(0, match.start() - _WINDOW), match.start()):
            yield found


def _looks_dialled(number: str) -> bool:
    """Whether a number is written as only phone numbers are."""
    groups = re.findall(r"\d+", number)
    if len(groups) < 2 or number.count(".") == len(groups) - 1 == 1:
        return False
    if number.startswith(("+", "00")) or re.match(r"\(\d{2,4}\) ?\d{3}", number):
        return True
    separators = set(re.findall(r"[ .-]", number))
    even = len(separators) == 1 and 3 <= len(groups) <= 5 and 2 <= len(groups[0]) <= 4 and len(groups[-1]) >= 2
    # Fewer figures are a subtraction as often.
    return even and sum(map(len, groups)) >= 9 and (separators != {" "} or groups[0].startswith("0"))


_KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    "email": _emails,
    "phone": _phones,
    "iban": _ibans,
    "card": _cards,
    "ssn": lambda text: iter(_SSN.findall(text)),
    "ip": lambda text: iter(_IP.findall(text)),
    "secret": lambda text: iter(_SECRET.findall(text)),
}
