"""The document as Markdown that no string in it can break out of: markup is escaped, answers stand in fences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.text import safe_text

from .document import Block, Cell, Code, Document, Figure, Pairs, Paragraph, Sample, Samples, Table, Tiles, Verdict

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~!$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LIST_START = re.compile(r"^(\s*)(\d{0,9})([-+=.)])(?=[-=\s]|$)")
_ANSWER_LIMIT = 4000


def render_markdown(document: Document) -> str:
    """The whole document."""
    parts = [f"# {plain(document.title)}", plain(document.subtitle)]
    parts += [text for block in document.opening for text in _block(block)]
    for section in document.sections:
        parts.append(f"## {plain(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    parts.append(f"---\n\n{plain(document.closing)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(value: str) -> str:
    """A foreign string as plain text on one line.

    >>> plain("# <b>*bold*</b> | http://a.b")
    '\\\\# &lt;b&gt;\\\\*bold\\\\*&lt;/b&gt; \\\\| http:&#47;&#47;a.b'
    """
    text = "".join(_ENTITIES.get(character, character) for character in safe_text(value))
    text = _LIST_START.sub(r"\1\2\\\3", _MARKUP.sub(r"\\\1", text))
    # Some renderers make a link of whatever looks like an address.
    return text.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def code_span(value: str, *, in_table: bool = False) -> str:
    """A foreign string in a code span; in a table even there a bar must not end the cell."""
    text = safe_text(value).replace("|", "\\|" if in_table else "|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text else ""


def fenced(value: str, language: str = "text") -> str:
    """A foreign string in a fence longer than any in it."""
    text = safe_text(value, limit=_ANSWER_LIMIT, multiline=True)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            yield f"*{plain(block.text)}*" if block.tone == "quiet" and block.text else plain(block.text)
        case Verdict():
            yield f"**{plain(block.title)}.**"
            yield "\n".join(f"- {plain(line)}" for line in block.lines)
        case Tiles():
            yield _table(("", "", ""), [(tile.label, tile.value, tile.note) for tile in block.tiles])
        case Pairs():
            yield "\n".join(f"- **{plain(name)}**: {_cell(value)}" for name, value in block.pairs)
        case Table():
            yield _table(block.head, block.rows, block.numeric)
        case Code():
            yield f"{plain(block.title)}:" if block.title else ""
            yield fenced(block.text, block.language)
        case Figure():
            yield code_span(block.words)
        case Samples():
            for sample in block.samples:
                yield from _sample(sample)


def _table(
    head: tuple[str, ...],
    rows: list[tuple[str, ...]] | tuple[tuple[str | Cell, ...], ...],
    numeric: frozenset[int] = frozenset(),
) -> str:
    rule = ["---:" if column in numeric else "---" for column in range(len(head))]
    lines = [[plain(name) for name in head], rule, *([_cell(cell) for cell in row] for row in rows)]
    # A column of drawings only has nothing to say in text.
    shown = [i for i in range(len(head)) if any(line[i] for line in lines[2:]) or not rows]
    return "\n".join(f"| {' | '.join(line[index] for index in shown)} |" for line in lines)


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return plain(cell)
    if cell.code:
        words = code_span(cell.text, in_table=True)
    else:
        strong = cell.text and cell.tone in ("good", "bad", "warn")
        words = f"**{plain(cell.text)}**" if strong else plain(cell.text)
    if not cell.note:
        return words
    return f"{words} {plain(cell.note)}" if cell.note.startswith("[") else f"{words} ({plain(cell.note)})"


def _sample(sample: Sample) -> Iterator[str]:
    yield f"**{plain(sample.label)}**"
    yield fenced(sample.prompt)
    yield f"Expected: {code_span(sample.expected)}"
    if sample.base is not None:
        yield f"Base{_mark(sample.base_correct)}: {code_span(sample.base) or '(nothing)'}"
    yield f"Tuned{_mark(sample.tuned_correct)}: {code_span(sample.tuned) or '(nothing)'}"


def _mark(correct: bool | None) -> str:
    return "" if correct is None else " ✓" if correct else " ✗"
