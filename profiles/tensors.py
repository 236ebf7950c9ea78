"""What tensors a folder of safetensors files holds, from their headers alone.

They are untrusted: shards are regular files of the folder itself, a header is read no further than its stated length,
and a tensor is as large as the bytes it has in the file.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import InvalidBaseModel

_HEADER_MAX = 100 * 2**20  # the limit of the safetensors format itself
_DTYPE_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "BF16": 16, "F16": 16, "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One stored tensor."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def read_tensors(root: Path) -> dict[str, Tensor]:
    """Every stored tensor by name. Raises ``InvalidBaseModel``."""
    shards = sorted(path for path in root.glob("*.safetensors") if path.is_file())
    if not shards:
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for path in root.glob(pattern))
        found = f"; it has {', '.join(others[:3])}, which can hold code or is no training format" if others else ""
        raise InvalidBaseModel(
            f"{root} holds no weights: no *.safetensors file{found}.",
            hint="Download or convert the model to safetensors; Luthier reads nothing else.",
            where=str(root),
        )
    _check_index(root, {path.name for path in shards})
    tensors: dict[str, Tensor] = {}
    for path in shards:
        tensors |= _read_header(path)
    return tensors


def _check_index(root: Path, present: set[str]) -> None:
    path = root / "model.safetensors.index.json"
    if not path.is_file():
        return
    try:
        wanted = {str(name) for name in json.loads(path.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidBaseModel(f"{path} is not an index of shards: {error}.", where=str(path)) from error
    if missing := sorted(wanted - present):
        raise InvalidBaseModel(
            f"{path} names {', '.join(missing[:3])}, which {'is' if len(missing) == 1 else 'are'} not in the folder.",
            hint="The download is incomplete, or the index points outside the folder.",
            where=str(path),
        )


def _read_header(path: Path) -> dict[str, Tensor]:
    """The header of one safetensors file: 8 bytes of length, then JSON (safetensors format, README)."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_HEADER_MAX, size - 8):
                raise ValueError(f"its header claims {length} bytes of {size}")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = {str(name): _tensor(str(name), entry) for name, entry in header.items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        if end + 8 + length != size:
            raise ValueError(f"it is {size} bytes, its header describes {end + 8 + length}")
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        struct.error,
        RecursionError,
    ) as error:
        raise InvalidBaseModel(f"{path} is not a whole safetensors file: {error}.", where=str(path)) from error
    return tensors


def _tensor(name: str, entry: dict[str, Any]) -> Tensor:
    """One entry; its shape must be what its bytes can hold. Raises ``ValueError``."""
    dtype, shape = str(entry["dtype"]), tuple(map(int, entry["shape"]))
    begin, end = map(int, entry["data_offsets"])
    if not 0 <= begin <= end or len(shape) > 16 or any(not 0 <= side < 2**48 for side in shape):
        raise ValueError(f"'{name}' has the shape {shape!s:.80} at {begin} to {end}")
    tensor = Tensor(dtype, shape, end - begin)
    bits = _DTYPE_BITS.get(dtype)
    if bits and tensor.count * bits != 8 * tensor.bytes:
        raise ValueError(f"'{name}' is {dtype} of the shape {shape!s:.80} in {tensor.bytes} bytes")
    return tensor
