"""Read and check a GGUF file before an engine sees it: a malformed one makes llama.cpp abort the process.

The layout is that of the GGUF specification, version 3 (ggml, ``docs/gguf.md``). Standard library only.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.engine import ModelRefused

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
# ggml type → (values in a block, bytes of a block); `ggml.h` and `ggml-common.h`.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    20: (32, 18),
    23: (256, 136),
    30: (1, 2),
}
_MOST_ENTRIES = 1_000_000
_MOST_TOKENS = 4_000_000
_MOST_SIDE = 1 << 40


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies: ``start`` and ``size`` in bytes, from the beginning of the file."""

    kind: int
    sides: tuple[int, ...]
    """Fastest varying first, as ggml has it."""
    start: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file says of itself, checked."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorPlace]

    def size(self, key: str) -> int:
        """A count of the architecture, such as ``block_count``."""
        return int(self.metadata[f"{self.metadata['general.architecture']}.{key}"])

    @property
    def vocabulary(self) -> int:
        return self.tensors["token_embd.weight"].sides[1]

    @property
    def context(self) -> int:
        return self.size("context_length")

    @property
    def tokens(self) -> list[str]:
        return list(self.metadata["tokenizer.ggml.tokens"])

    @property
    def template(self) -> str | None:
        return self.metadata.get("tokenizer.chat_template")

    @property
    def ends(self) -> frozenset[int]:
        """The ids that end an answer: end of sequence, of turn, of message."""
        found = (self.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
        return frozenset(id_ for id_ in found if id_ is not None)

    @property
    def begin(self) -> int | None:
        """The id put before plain text, or None when this model takes none."""
        adds = self.metadata.get("tokenizer.ggml.add_bos_token", False)
        return self.metadata.get("tokenizer.ggml.bos_token_id") if adds else None

    def cache_bytes(self, tokens: int, width: int) -> int:
        """Memory of keys and values of ``tokens`` tokens at ``width`` bytes a number."""
        heads = self.size("attention.head_count_kv")
        side = self.metadata.get(f"{self.metadata['general.architecture']}.attention.key_length")
        each = int(side) if side else self.size("embedding_length") // self.size("attention.head_count")
        return 2 * self.size("block_count") * heads * each * tokens * width


def check_gguf(path: Path) -> GgufFile:
    """Read the header of ``path`` and check all that an engine would trust. Raises ``ModelRefused``."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            file = _read(path, _Cursor(data))
    except (OSError, ValueError, struct.error) as error:
        raise ModelRefused(f"{path} cannot be read as GGUF: {error}.", where=str(path)) from error
    faults = [*_size_faults(file), *_token_faults(file)]
    if faults:
        raise ModelRefused(
            f"{path} must not be loaded: {'; '.join(faults)}.",
            hint="Export the model again; the file was damaged or made by something else.",
            where=str(path),
        )
    return file


class _Cursor:
    """Reads forward through the file; leaving it raises ``ValueError``."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.place + count > len(self.data):
            raise ValueError(f"it ends within its header, at byte {self.place}")
        chunk = self.data[self.place : self.place + count]
        self.place += count
        return chunk

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def value(self, kind: int, *, nested: bool = False) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and not nested:
            inner, count = self.number("I"), self.number("Q")
            if count > _MOST_TOKENS:
                raise ValueError(f"an array claims {count} entries")
            if inner in _SCALARS and inner != _BOOL:
                form = f"<{count}{_SCALARS[inner]}"
                return list(struct.unpack(form, self.take(struct.calcsize(form))))
            return [self.value(inner, nested=True) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"a value is of the unknown kind {kind}")
        number = self.number(_SCALARS[kind])
        return bool(number) if kind == _BOOL else number


def _read(path: Path, cursor: _Cursor) -> GgufFile:
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, tensor_count, key_count = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in (2, 3):
        raise ValueError(f"its version is {version}, expected 2 or 3")
    if max(tensor_count, key_count) > _MOST_ENTRIES:
        raise ValueError(f"it claims {tensor_count} tensors and {key_count} keys")
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = cursor.text()
        if key in metadata:
            raise ValueError(f"the key '{key}' is there twice")
        metadata[key] = cursor.value(cursor.number("I"))
    listed = {}
    for _ in range(tensor_count):
        name = cursor.text()
        if name in listed:
            raise ValueError(f"the tensor '{name}' is there twice")
        sides = tuple(cursor.number("Q") for _ in range(_side_count(cursor, name)))
        listed[name] = (sides, cursor.number("I"), cursor.number("Q"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise ValueError(f"its alignment is {alignment!r}, expected a power of two")
    data = -(-cursor.place // alignment) * alignment
    return GgufFile(path, metadata, _places(listed, data, alignment, len(cursor.data)))


def _side_count(cursor: _Cursor, name: str) -> int:
    count = int(cursor.number("I"))
    if not 1 <= count <= 4:
        raise ValueError(f"the tensor '{name}' has {count} dimensions")
    return count


def _places(
    listed: Mapping[str, tuple[tuple[int, ...], int, int]], data: int, alignment: int, end: int
) -> dict[str, TensorPlace]:
    places: dict[str, TensorPlace] = {}
    for name, (sides, kind, offset) in listed.items():
        if kind not in _BLOCKS:
            raise ValueError(f"the tensor '{name}' is of the unknown type {kind}")
        values, width = _BLOCKS[kind]
        if not all(1 <= side <= _MOST_SIDE for side in sides) or sides[0] % values:
            raise ValueError(f"the tensor '{name}' has the impossible shape {sides}")
        size = math.prod(sides) // values * width
        if offset % alignment or offset + size > end - data:
            raise ValueError(f"the tensor '{name}' lies outside the file")
        places[name] = TensorPlace(kind, sides, data + offset, size)
    ordered = sorted(places.items(), key=lambda item: item[1].start)
    for (name, place), (following, next_place) in itertools.pairwise(ordered):
        if place.start + place.size > next_place.start:
            raise ValueError(f"the tensors '{name}' and '{following}' overlap")
    return places


def _size_faults(file: GgufFile) -> list[str]:
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        return ["it names no architecture"]
    faults = [
        f"it has no tensor '{name}'" for name in ("token_embd.weight", "output_norm.weight") if not _has(file, name)
    ]
    needed = {
        "block_count": 1000,
        "context_length": 1 << 28,
        "embedding_length": 1 << 20,
        "feed_forward_length": 1 << 24,
    }
    needed |= {"attention.head_count": 1 << 16, "attention.head_count_kv": 1 << 16}
    for key, most in needed.items():
        value = file.metadata.get(f"{architecture}.{key}")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            faults.append(f"{architecture}.{key} is {value!r}, expected 1 to {most}")
    if faults:
        return faults
    if file.size("attention.head_count") % file.size("attention.head_count_kv"):
        faults.append("its query heads are no multiple of its key heads")
    if file.tensors["token_embd.weight"].sides[0] != file.size("embedding_length"):
        faults.append("its embeddings do not have the width it names")
    for key, value in file.metadata.items():
        if isinstance(value, float) and not math.isfinite(value):
            faults.append(f"{key} is {value}")
    missing = [n for n in range(file.size("block_count")) if not _has(file, f"blk.{n}.attn_norm.weight")]
    if missing:
        faults.append(f"block {missing[0]} has no weights")
    return faults


def _token_faults(file: GgufFile) -> list[str]:
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return ["it has no list of tokens"]
    embedding = file.tensors.get("token_embd.weight")
    faults = []
    if embedding and (len(embedding.sides) != 2 or embedding.sides[1] != len(tokens)):
        faults.append(f"it has {len(tokens)} tokens and embeddings of shape {embedding.sides}")
    for key in ("token_type", "scores"):
        listed = file.metadata.get(f"tokenizer.ggml.{key}")
        if listed is not None and len(listed) != len(tokens):
            faults.append(f"tokenizer.ggml.{key} has {len(listed)} entries for {len(tokens)} tokens")
    for key, value in file.metadata.items():
        wrong = not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(tokens)
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and wrong:
            faults.append(f"{key} is {value!r}, but there are {len(tokens)} tokens")
    template = file.metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        faults.append("its chat template is not text")
    return faults


def _has(file: GgufFile, name: str) -> bool:
    return name in file.tensors
