"""Which characters the bytes of a file are, and whether they are characters at all."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from appliance.data.source import Source
from appliance.errors import UnreadableData

_HEAD = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"FEA1", "a Feather file of the old kind"),
    (b"SQLite format 3", "an SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"\x7fELF", "a program"),
    (b"\x80\x04\x95", "a Python pickle"),
)
# Files of columns: Parquet, Arrow, and a stream of Arrow messages (a continuation mark and a length).
_COLUMNS = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
_HIGH = bytes(range(0x80, 0x100))
_LOW = bytes(range(0x80))
_LETTERS = bytes((*range(0x41, 0x5B), *range(0x61, 0x7B)))
_NOT_LETTERS = bytes(byte for byte in range(256) if byte not in _LETTERS)
# Bytes that Windows-1252 leaves undefined.
_UNDEFINED = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))
_ACCENTS = 0.4
"""Most accented letters for each plain one, in a Western language."""
_COHERENT = 0.1
"""Least likeness of the frequencies of letters with those of a language (charset-normalizer's coherence)."""
# Encodings in which a line cannot be read on its own, and which have marks or no high bytes.
_STATEFUL = ("utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "hz")
_READ = "Luthier reads JSON, JSON lines, CSV, TSV, Parquet, Arrow and plain text: convert it to one of them first."


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file become text."""

    name: str
    """As Python calls it."""
    guessed: bool = False
    """No mark and no proof: the finding says so."""
    why: str = ""
    """What speaks for a guess."""

    @property
    def by_line(self) -> bool:
        """Whether the bytes of a line can be decoded on their own."""
        return not self.name.startswith(("utf-16", "utf-32", "binary"))


BINARY = Encoding("binary")
"""No characters at all: the reader knows what the bytes are."""


def find_encoding(source: Source) -> Encoding:
    """Decide on the encoding of a file. Raises ``UnreadableData`` for one that is not text."""
    head = source.head(_HEAD)
    if head.startswith(_COLUMNS):
        return BINARY
    for magic, what in _BINARY:
        if head.startswith(magic):
            raise UnreadableData(f"{source.name} is {what}, not text.", hint=_READ, where=source.name)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name)
    wide = _without_mark(head)
    if wide:
        return Encoding(wide, guessed=True, why="every other byte is zero")
    if _is_binary(head):
        raise UnreadableData(f"{source.name} holds binary data, not text.", hint=_READ, where=source.name)
    return _by_lines(source)


def _without_mark(head: bytes) -> str | None:
    """UTF-16 without a mark: in mostly Latin text every other byte is zero."""
    sample = head[: len(head) // 2 * 2]
    if len(sample) < 4:
        return None
    half = len(sample) // 2
    for name, zeros, letters in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if zeros.count(0) > 0.6 * half and letters.count(0) < 0.05 * half:
            return name
    return None


def _is_binary(head: bytes) -> bool:
    """Whether more than a stray byte is one that no text has."""
    controls = sum(head.count(byte) for byte in (*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20)))
    return controls > max(3, 0.02 * len(head))


def _by_lines(source: Source) -> Encoding:
    """UTF-8 if any line proves it or nothing speaks against it, else a legacy encoding, as a guess."""
    good = bad = 0
    cut = False
    with source.open() as stream:
        while line := stream.readline(_HEAD):
            if line.isascii():
                cut = not line.endswith(b"\n")
                continue
            # A very long line is looked at in parts, which may cut a character at either end.
            part = line.strip(_HIGH) if cut or len(line) == _HEAD else line
            cut = not line.endswith(b"\n")
            try:
                part.decode("utf-8")
                good += 1
            except UnicodeDecodeError:
                bad += 1
    if bad == 0 or good:
        return Encoding("utf-8")
    return _western(source)


def _western(source: Source) -> Encoding:
    """Windows-1252 or Latin-1, where accents are few; else the alphabet in whose encoding the bytes make words.

    Raises ``UnreadableData``.
    """
    ascii_letters = high = 0
    name = "cp1252"
    with source.open() as stream:
        while chunk := stream.read(1024 * 1024):
            high += len(chunk.translate(None, _LOW))
            ascii_letters += len(chunk.translate(None, _NOT_LETTERS))
            if any(byte in chunk for byte in _UNDEFINED):
                name = "latin-1"
    if high <= _ACCENTS * ascii_letters:
        return Encoding(name, guessed=True, why="it has few accents")
    return _by_words(source)


def _by_words(source: Source) -> Encoding:
    """The encoding in which the file has the letters of a language as often as that language has them.

    Raises ``UnreadableData`` where there is none.
    """
    from charset_normalizer import from_bytes

    best = from_bytes(_telling_lines(source), cp_exclusion=list(_STATEFUL)).best()
    if best is not None and best.coherence >= _COHERENT:
        return Encoding(best.encoding, guessed=True, why=f"its letters are as frequent as in {best.language}")
    raise UnreadableData(
        f"{source.name} is not UTF-8, and its encoding cannot be told for certain.",
        hint=f"Convert it: iconv -f ENCODING -t UTF-8 {source.name}",
        where=source.name,
    )


def _telling_lines(source: Source) -> bytes:
    """The first lines that are not plain ASCII: the others fit every encoding."""
    found: list[bytes] = []
    size = 0
    with source.open() as stream:
        while size < _HEAD and (line := stream.readline(_HEAD)):
            if not line.isascii():
                found.append(line)
                size += len(line)
    return b"".join(found)
