"""A dataset: what became of each row, how it was split, and what was found."""

from __future__ import annotations

from textual.content import Content

from tui.show.words import count, lines_of, one_line
from tui.world import Thing, items, number, section

# Fate of a row → (fill of the bar, colour, words). The states sum to the total; `fixed` marks kept rows.
FATES: tuple[tuple[str, str, str, str], ...] = (
    ("kept", "█", "$primary", "kept for training"),
    ("held_out", "▓", "$success", "held out to test"),
    ("duplicate", "▒", "$secondary", "the same as another"),
    ("near_duplicate", "▒", "$secondary", "nearly the same"),
    ("over_length", "░", "$warning", "too long"),
    ("nothing_to_learn", "░", "$warning", "nothing to learn"),
    ("invalid", "╳", "$error", "could not be read"),
    ("quarantined", "╳", "$error", "set aside"),
)
_SEVERITY = {"error": ("✖", "$error"), "warning": ("▲", "$warning"), "info": ("·", "$quiet")}


def ledger_bar(rows: Thing, width: int) -> Content:
    """All rows as one bar; every fate that a row met has at least one cell."""
    counts = [(int(number(rows.get(fate)) or 0), fill, colour) for fate, fill, colour, _ in FATES]
    total = sum(amount for amount, _, _ in counts)
    if total <= 0:
        return Content.styled("no rows", "$quiet")
    met = [(amount, fill, colour) for amount, fill, colour in counts if amount]
    cells = [max(1, int(amount * width / total)) for amount, _, _ in met]
    cells[cells.index(max(cells))] += width - sum(cells)
    return Content.assemble(*((fill * cell, colour) for cell, (_, fill, colour) in zip(cells, met, strict=True)))


def ledger(rows: Thing, width: int) -> Content:
    """The bar and what its parts mean."""
    lines = [ledger_bar(rows, width)]
    for fate, fill, colour, words in FATES:
        amount = int(number(rows.get(fate)) or 0)
        if amount:
            lines.append(Content.assemble((fill, colour), f" {count(amount):>7}  ", (words, "$quiet")))
    if fixed := number(rows.get("fixed")):
        lines.append(Content.styled(f"  {count(fixed):>7}  of the kept rows were mended", "$quiet"))
    return Content("\n").join(lines)


def findings(dataset: Thing, width: int) -> Content:
    """What the check found, worst first, each with what to do."""
    order = list(_SEVERITY)
    found = sorted(items(dataset, "findings"), key=lambda item: _rank(order, str(item.get("severity"))))
    if not found:
        return Content.assemble(("✔", "$success"), " nothing to complain about")
    lines: list[Content] = []
    for finding in found:
        glyph, colour = _SEVERITY.get(str(finding.get("severity")), ("·", "$quiet"))
        first, *more = lines_of(finding.get("message"), width - 2, 4)
        lines.append(Content.assemble((f"{glyph} ", colour), first))
        lines += [Content(f"  {line}") for line in more]
        beside = [
            str(finding[key]) if key == "where" else f"→ {finding[key]}" for key in ("where", "fix") if finding.get(key)
        ]
        lines += [Content.styled(f"  {line}", "$quiet") for words in beside for line in lines_of(words, width - 2, 3)]
    return Content("\n").join(lines)


def _rank(order: list[str], severity: str) -> int:
    return order.index(severity) if severity in order else len(order)


def splits(dataset: Thing) -> str:
    """The parts of a dataset and their sizes."""
    parts = section(dataset, "splits")
    return "  ".join(f"{one_line(name, 20)} {count(number(size))}" for name, size in parts.items())


def summary(dataset: Thing) -> Content:
    """Name, format and the mapping of columns."""
    mapping = section(dataset, "mapping")
    columns = ", ".join(f"{one_line(ours, 20)} ← {one_line(theirs, 30)}" for ours, theirs in mapping.items())
    lines = [
        Content.assemble(
            (one_line(dataset.get("name") or dataset.get("id"), 50), "bold"), (f"  {dataset.get('id')}", "$quiet")
        ),
        Content.assemble(
            ("format  ", "$quiet"), one_line(dataset.get("format") or "–", 40), (f"   {columns}", "$quiet")
        ),
        Content.assemble(("splits  ", "$quiet"), splits(dataset) or "–"),
    ]
    return Content("\n").join(lines)
