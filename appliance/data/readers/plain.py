"""Plain text in pieces of whole paragraphs, for training on text as it is.

Documents are kept apart where the file marks their ends; without marks, paragraphs are put together until a piece
is long enough to learn from.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.data.encoding import Encoding
from appliance.data.readers.json_lines import lines
from appliance.data.rows import Fault, Row
from appliance.data.source import Source
from appliance.errors import UnreadableData

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")
_ENOUGH = 1000
"""Characters from which a piece ends with its paragraph."""
_TOO_MUCH = 64 * 1024
"""Characters at which a piece ends with its line."""


def read(source: Source, encoding: Encoding) -> Iterator[Row]:
    """The pieces of a text. Raises ``UnreadableData`` where it is not text."""
    number = 0
    start = 1
    piece: list[str] = []
    size = 0
    for line, text in lines(source, encoding):
        if isinstance(text, Fault):
            raise UnreadableData(f"{source.place(line)} {text.message}.", where=source.place(line))
        ends_document = text.strip() in _ENDS
        ends_paragraph = not text.strip() and size >= _ENOUGH
        if piece and (ends_document or ends_paragraph or size >= _TOO_MUCH):
            number += 1
            yield Row(number, start, "".join(piece).strip())
            piece, size = [], 0
        if ends_document or (not piece and not text.strip()):
            continue
        if not piece:
            start = line
        piece.append(text)
        size += len(text)
    if piece:
        yield Row(number + 1, start, "".join(piece).strip())
