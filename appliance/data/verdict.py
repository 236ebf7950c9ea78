"""Whether a file is good enough, and everything that is to be said about it."""

from __future__ import annotations

from appliance.data.findings import Finding, row_findings
from appliance.data.intake import Intake
from appliance.data.ledger import State
from appliance.data.lengths import Ruler
from appliance.data.quality_findings import Score, quality_findings, score_of
from appliance.errors import DataRejected
from appliance.text import safe_text

INVALID_LIMIT = 0.5
"""Share of invalid rows above which a file is not what it is taken for."""
_REFUSALS = (State.INVALID, State.NOTHING_TO_LEARN, State.OVER_LENGTH)


def stop_when_asked(intake: Intake, ruler: Ruler | None) -> None:
    """Raise ``DataRejected`` with the choices when rows are too long and the policy is to stop."""
    rows = list(intake.ledger.rows(State.OVER_LENGTH))
    if not rows or ruler is None or ruler.policy != "stop":
        return
    longest = max(intake.ledger.detail(row).get("tokens", 0) for row in rows)
    raise DataRejected(
        f"{len(rows):,} of {len(intake.ledger):,} rows of {intake.source.name} have more than {ruler.limit:,} tokens"
        f" (the longest {longest:,}).",
        hint="Choose what is to become of them: --over-length drop, split or truncate.",
        where=intake.source.place(intake.ledger.line(rows[0])),
        fixes=[{"data.over_length": policy} for policy in ("drop", "split", "truncate")],
    )


def reject_when_useless(intake: Intake, ruler: Ruler | None) -> None:
    """Raise ``DataRejected`` when nothing is left, or most rows are not examples."""
    counts = intake.ledger.counts()
    usable = counts["kept"] + counts["held_out"]
    total, invalid = counts["total"], counts["invalid"]
    if usable and invalid <= INVALID_LIMIT * total:
        return
    told = row_findings(intake.ledger, intake.notes, intake.source.name)
    reasons = [finding for finding in told if finding.severity == "warning" and finding.rows]
    listed = " ".join(f"{finding.where}: {finding.message}." for finding in reasons[:3])
    if usable:
        what = f"{invalid:,} of {total:,} rows of {intake.source.name} cannot be used."
    else:
        what = f"None of the {total:,} rows of {intake.source.name} can be used."
    raise DataRejected(
        f"{what} {listed}".strip(),
        hint=_hint(counts, intake),
        where=reasons[0].where if reasons else intake.source.name,
    )


def findings(intake: Intake, ruler: Ruler | None) -> list[Finding]:
    """Everything found, warnings first."""
    name = intake.source.name
    found = row_findings(intake.ledger, intake.notes, name)
    if intake.encoding.guessed:
        words = f"The file is not UTF-8; it was read as {intake.encoding.name}, because {intake.encoding.why}"
        found.append(Finding("encoding-guessed", "warning", words, name, "Save the file as UTF-8."))
    found += quality_findings(intake.quality, intake.ledger, name)
    found += _about_length(intake, ruler)
    found += _about_loss(intake)
    if intake.layout.confidence < 0.85 and not intake.layout.evidence[0].endswith("asked for"):
        pairs = ", ".join(f"{field}={column}" for field, column in intake.layout.mapping.items())
        words = f"The columns were read as {intake.layout.format.name}: {pairs}"
        found.append(Finding("mapping-unsure", "info", words, name, "Name them with --format and --map if not."))
    found.append(_score(score_of(intake.quality, intake.ledger), name))
    return sorted(found, key=lambda finding: finding.severity != "warning")


def _score(score: Score, name: str) -> Finding:
    parts = (
        f"{score.usable:.1%} of the rows usable, {score.unique:.1%} of these said once, {score.clean:.1%} unremarkable"
    )
    return Finding("quality-score", "info", f"Quality {score.value} of 100: {parts}", name)


def _about_length(intake: Intake, ruler: Ruler | None) -> list[Finding]:
    if ruler is not None:
        return []
    words = "How long the rows are in tokens was not looked at, because no base model was named"
    return [Finding("length-unknown", "info", words, intake.source.name, "Name one with --base.")]


def _about_loss(intake: Intake) -> list[Finding]:
    losses = intake.losses
    if not losses.lost:
        return []
    common = " ".join(safe_text(character) for character, _ in losses.which.most_common(12))
    words = (
        f"{len(losses.rows):,} rows: the base model's tokenizer has no token for {losses.lost:,} characters"
        f" ({losses.share:.2%} of the text), among them {common}"
    )
    where = intake.source.place(intake.ledger.line(losses.rows[0]))
    fix = "Take a base model with a larger vocabulary, or leave these characters out: the model will not see them."
    return [Finding("tokenizer-loss", "warning", words, where, fix, tuple(losses.rows), len(losses.rows))]


def _hint(counts: dict[str, int], intake: Intake) -> str:
    if counts["over_length"] > max(counts["invalid"], counts["nothing_to_learn"]):
        return "Keep them with --over-length split or truncate, or take a base model with a longer context."
    if counts["nothing_to_learn"] > counts["invalid"]:
        return "Give the rows answers, or say where they are: --map completion=COLUMN"
    return f"The rows were read as {intake.layout.format.name}; if they are not, say so with --format and --map."
