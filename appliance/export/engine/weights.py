"""Tensors of a safetensors folder, one at a time and without torch: the header is JSON, the rest is mapped."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from appliance.errors import InvalidBaseModel

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_HEADER_MOST = 100_000_000


@dataclass(frozen=True)
class Weight:
    """Where one tensor lies."""

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the beginning of the file."""

    def read(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The tensor in 32-bit floats."""
        raw = np.memmap(self.file, dtype=_DTYPES[self.kind], mode="r", offset=self.offset, shape=self.shape)
        if self.kind == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)


def read_weights(folder: Path) -> dict[str, Weight]:
    """Every tensor of a model folder by name. Raises ``InvalidBaseModel``."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    if not files:
        raise InvalidBaseModel(f"{folder} has no .safetensors file.", where=str(folder))
    return {weight.name: weight for file in files for weight in _tensors(file)}


def _tensors(file: Path) -> Iterator[Weight]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_HEADER_MOST, size - 8):
            raise InvalidBaseModel(f"{file} is not a safetensors file.", where=str(file))
        try:
            header = json.loads(stream.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    yield _checked(file, name, entry, (8 + length, size))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidBaseModel(f"{file} has a damaged header: {error}.", where=str(file)) from error


def _checked(file: Path, name: str, entry: dict[str, Any], bounds: tuple[int, int]) -> Weight:
    start, size = bounds
    first, last = (int(offset) for offset in entry["data_offsets"])
    shape = tuple(int(side) for side in entry["shape"])
    kind = str(entry["dtype"])
    if kind not in _DTYPES:
        raise InvalidBaseModel(f"{file}: tensor '{name}' is of type {kind}; supported: {', '.join(_DTYPES)}.")
    expected = _DTYPES[kind].itemsize
    for side in shape:
        expected *= side
    if min(shape, default=1) < 1 or not 0 <= first <= last <= size - start or last - first != expected:
        raise InvalidBaseModel(f"{file}: tensor '{name}' does not lie within the file.", where=str(file))
    return Weight(name, file, kind, shape, start + first)
