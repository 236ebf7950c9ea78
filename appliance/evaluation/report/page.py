"""The document as one page of HTML that needs nothing else: no scripts, no fonts, no address but the endpoint's own."""

from __future__ import annotations

from html import escape
from pathlib import Path

from appliance.text import safe_text

from .document import (
    Block,
    Cell,
    Code,
    Document,
    Figure,
    Pairs,
    Paragraph,
    Sample,
    Samples,
    Section,
    Table,
    Tile,
    Tiles,
    Verdict,
)

_LIMIT = 4000
_IN_SIGHT = 6
# Nothing may be fetched or run, whatever a string in the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_page(document: Document) -> str:
    """The whole page."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{section.anchor}">{text(section.title)}</a>' for section in document.sections)
    opening = "".join(_block(block) for block in document.opening)
    sections = "".join(_section(section) for section in document.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(document.title)} – Luthier report</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><p class="eyebrow">Luthier report</p><h1>{text(document.title)}</h1>'
        f'<p class="subtitle">{text(document.subtitle)}</p></header>\n'
        f"<nav>{links}</nav>\n<main>\n{opening}\n{sections}</main>\n"
        f"<footer>{text(document.closing)}</footer>\n</body>\n</html>\n"
    )


def text(value: str, *, multiline: bool = False) -> str:
    """A foreign string as text of the page: without control and direction characters, and escaped."""
    return escape(safe_text(value, limit=_LIMIT, multiline=multiline))


def _section(section: Section) -> str:
    inner = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="{section.anchor}">\n<h2>{text(section.title)}</h2>\n{inner}\n</section>\n'


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            found = f'<p class="{block.tone}">{text(block.text)}</p>' if block.text else ""
        case Verdict():
            lines = "".join(f"<li>{text(line)}</li>" for line in block.lines)
            found = f'<div class="verdict {block.tone}"><h2>{text(block.title)}</h2><ul>{lines}</ul></div>'
        case Tiles():
            found = f'<div class="tiles">{"".join(_tile(tile) for tile in block.tiles)}</div>'
        case Pairs():
            pairs = "".join(f"<div><dt>{text(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in block.pairs)
            found = f'<dl class="pairs">{pairs}</dl>'
        case Table():
            found = _table(block)
        case Code():
            title = f'<p class="code-title">{text(block.title)}</p>' if block.title else ""
            found = f"{title}<pre><code>{text(block.text, multiline=True)}</code></pre>"
        case Figure():
            caption = f"<figcaption>{text(block.caption)}</figcaption>" if block.caption else ""
            found = f"<figure>{block.drawing}{caption}</figure>" if block.drawing else ""
        case Samples():
            found = _samples([_sample(sample) for sample in block.samples])
    return found


def _tile(tile: Tile) -> str:
    note = f'<span class="note">{text(tile.note)}</span>' if tile.note else ""
    return (
        f'<div class="tile {tile.tone}"><strong>{text(tile.value)}</strong><span>{text(tile.label)}</span>{note}</div>'
    )


def _table(table: Table) -> str:
    kinds = ["number" if column in table.numeric else "" for column in range(len(table.head))]
    head = "".join(f'<th class="{kind}">{text(name)}</th>' for kind, name in zip(kinds, table.head, strict=True))
    rows = []
    for row in table.rows:
        cells = (f'<td class="{kind}">{_cell(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return text(cell, multiline=True)
    note = f"<small>{text(cell.note)}</small>" if cell.note else ""
    return f"{_inner(cell)}{note}"


def _inner(cell: Cell) -> str:
    shown = text(cell.text, multiline=True)
    if cell.code:
        return f"<code>{shown}</code>"
    if cell.share is not None:
        width = 100 * min(1.0, max(0.0, cell.share))
        return f'<span class="bar"><i style="width:{width:.1f}%"></i></span><b class="share">{shown}</b>'
    if cell.tone != "plain" and shown:
        return f'<span class="word {cell.tone}">{shown}</span>'
    return f"{cell.drawing}{shown}"


def _samples(cards: list[str]) -> str:
    """The first few in sight, the rest folded away."""
    shown, folded = "".join(cards[:_IN_SIGHT]), cards[_IN_SIGHT:]
    found = f'<div class="samples">{shown}</div>'
    if folded:
        inner = f'<div class="samples">{"".join(folded)}</div>'
        found += f"<details><summary>{len(folded)} more</summary>{inner}</details>"
    return found


def _sample(sample: Sample) -> str:
    answers = [_answer("expected", sample.expected, None)]
    if sample.base is not None:
        answers.append(_answer("base", sample.base, sample.base_correct))
    answers.append(_answer("tuned", sample.tuned, sample.tuned_correct))
    return (
        f'<article><p class="label">{text(sample.label)}</p><p class="prompt">{text(sample.prompt, multiline=True)}</p>'
        f"<dl>{''.join(answers)}</dl></article>"
    )


def _answer(name: str, answer: str, correct: bool | None) -> str:
    tone = "" if correct is None else "right" if correct else "wrong"
    said = text(answer, multiline=True) or '<em class="quiet">nothing</em>'
    return f'<div class="{tone}"><dt>{name}</dt><dd>{said}</dd></div>'
