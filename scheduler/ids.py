"""Ids of things: a letter for what it is, and six base32 characters."""

from __future__ import annotations

import re
import secrets

from appliance.errors import UsageError

JOB, PIPELINE, DATASET, MODEL, DEPLOYMENT = "j", "p", "d", "m", "e"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_id(prefix: str) -> str:
    """A new id such as ``j-k3x7qa``; 2^30 of each kind, and the table's primary key refuses a second one."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(6))}"


def check_name(name: str, what: str) -> str:
    """The name, if it can be one. Raises ``UsageError``."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UsageError(
            f"{name!r} cannot name a {what}.",
            hint="A name has 1 to 64 letters, digits, dots, hyphens or underscores.",
        )
    return name


def name_from(text: str) -> str:
    """A name made from a file name or another text.

    >>> name_from("my data (2).jsonl")
    'my-data-2-jsonl'
    """
    cleaned = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:48]
    return cleaned or "tune"
