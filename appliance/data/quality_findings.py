"""What was noticed in the examples, in words, and a score that says how much of it there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.data.findings import Finding, Severity
from appliance.data.ledger import Ledger, State
from appliance.data.quality import IMBALANCE, LENGTH_VARIATION, Quality
from appliance.text import safe_text

MISSING = 0.1
"""Share of the rows with a missing value from which it is said of the file."""
_MISSING = ("missing-value", "missing-answer", "empty-turn", "empty-text", "missing-prompt")
_MIXED = 0.02
_PERSONAL = "Replace it by something made up, or leave the rows out: a model can repeat what it learnt word for word."
# Code → severity, what to say, what to do.
_NOTICED: dict[str, tuple[Severity, str, str]] = {
    "secret": ("warning", "a key or token that opens something", "Take it out and revoke it: it is in this file."),
    "personal-email": ("warning", "an e-mail address", _PERSONAL),
    "personal-phone": ("warning", "a phone number", _PERSONAL),
    "personal-iban": ("warning", "a bank account (IBAN, check digits right)", _PERSONAL),
    "personal-card": ("warning", "a card number (check digit right)", _PERSONAL),
    "personal-ssn": ("warning", "a US social security number", _PERSONAL),
    "personal-ip": ("info", "an IP address", _PERSONAL),
    "refusal": ("warning", "an answer that refuses", "Leave these rows out, or the model learns to refuse."),
    "boilerplate": ("info", "text of web pages: cookies, rights, tags", "Take it out if answers are not to have it."),
    "broken-characters": ("warning", "characters broken by a wrong encoding", "Write the file anew as UTF-8."),
    "echoed-answer": ("warning", "the answer is the question again", "Give a real answer, or leave the rows out."),
    "disagreeing-answers": ("warning", "the same is asked and answered otherwise", "Decide which answer is right."),
}


@dataclass(frozen=True)
class Score:
    """How good a file is, 0 to 100, as the product of its parts."""

    usable: float
    """Rows that are examples and fit, of all."""
    unique: float
    """Rows that do not repeat an earlier one, of those."""
    clean: float
    """Examples in which nothing was noticed."""
    even: float
    """1; 0.9 for lengths, and 0.9 for classes, that are far apart."""

    @property
    def value(self) -> int:
        """The score; repetition costs half of its share, because it is left out anyway."""
        return round(100 * self.usable * (0.5 + 0.5 * self.unique) * self.clean * self.even)


def score_of(quality: Quality, ledger: Ledger) -> Score:
    """The score of a file whose rows all have a state."""
    counts = ledger.counts()
    total = counts["total"] or 1
    bad = counts["invalid"] + counts["nothing_to_learn"] + counts["over_length"] + counts["quarantined"]
    repeated = counts["duplicate"] + counts["near_duplicate"]
    good = total - bad
    even = (0.9 if quality.length_variation > LENGTH_VARIATION else 1.0) * (0.9 if _imbalance(quality) else 1.0)
    return Score(
        usable=round(good / total, 4),
        unique=round(1 - repeated / good, 4) if good else 0.0,
        clean=round(1 - quality.flagged / quality.examples, 4) if quality.examples else 0.0,
        even=round(even, 4),
    )


def quality_findings(quality: Quality, ledger: Ledger, name: str) -> list[Finding]:
    """Everything noticed in the examples of a file."""
    found = [_noticed(code, quality, ledger, name) for code in _NOTICED if code in quality.rows]
    found += _missing(ledger, name)
    found += _lengths(quality, ledger, name)
    if imbalance := _imbalance(quality):
        fix = "Add rows of the rare classes, or accept that they are learnt less well."
        found.append(Finding("class-imbalance", "warning", imbalance, name, fix))
    found += _scripts(quality, name)
    return found


def _noticed(code: str, quality: Quality, ledger: Ledger, name: str) -> Finding:
    severity, words, fix = _NOTICED[code]
    return _about(code, severity, words, (sorted(quality.rows[code]), ledger, name), fix)


def _about(
    code: str, severity: Severity, words: str, where: tuple[Sequence[int], Ledger, str], fix: str | None
) -> Finding:
    rows, ledger, name = where
    many = f"{len(rows):,} rows" if len(rows) > 1 else f"row {rows[0]}"
    return Finding(code, severity, f"{many}: {words}", f"{name}:{ledger.line(rows[0])}", fix, tuple(rows), len(rows))


def _missing(ledger: Ledger, name: str) -> list[Finding]:
    rows: list[int] = []
    for state in (State.INVALID, State.NOTHING_TO_LEARN):
        codes = ledger.codes(state)
        rows += [row for code in _MISSING for row in codes.get(code, ())]
    share = len(rows) / max(len(ledger), 1)
    if share <= MISSING:
        return []
    words = f"{share:.0%} of the rows lack a value that is needed"
    fix = "Look at where the file comes from: so many are seldom an accident."
    return [Finding("missing-values", "warning", words, name, fix, tuple(sorted(rows)), len(rows))]


def _lengths(quality: Quality, ledger: Ledger, name: str) -> list[Finding]:
    found = []
    if quality.length_variation > LENGTH_VARIATION:
        words = f"The lengths vary by {quality.length_variation:.1f} times their mean"
        fix = "Look at the longest rows: several examples may have run together."
        found.append(Finding("length-variation", "warning", words, name, fix))
    outliers = quality.outliers()
    if outliers:
        words = "more than twenty times as long as the middle row"
        found.append(
            _about("length-outlier", "info", words, (outliers, ledger, name), "Look whether they are one example.")
        )
    return found


def _imbalance(quality: Quality) -> str | None:
    classes = quality.classes()
    if classes is None:
        return None
    (most, many), (least, few) = classes.most_common()[0], classes.most_common()[-1]
    if many <= IMBALANCE * few:
        return None
    return (
        f"The class '{safe_text(most, limit=40)}' has {many:,} rows and '{safe_text(least, limit=40)}' {few:,}:"
        f" more than {IMBALANCE:.0f} to 1"
    )


def _scripts(quality: Quality, name: str) -> list[Finding]:
    shares = [(script, count / quality.examples) for script, count in quality.scripts.most_common() if count]
    mixed = [(script, share) for script, share in shares if share >= _MIXED and script != "no letters"]
    if len(mixed) < 2:
        return []
    words = "The rows are in several writings: " + ", ".join(f"{script} {share:.0%}" for script, share in mixed)
    fix = "Take a base model that knows each of them, or keep one."
    return [Finding("language-mix", "info", words, name, fix)]
