"""What a base model is, from ``config.json`` and the safetensors headers alone.

Both are untrusted: sizes are bounded before anything is computed from them, shards may only be plain names of
regular files in the folder, and a header is read no further than its stated length. Run in a child, not in the
daemon.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.errors import FileNotFound, InvalidBaseModel

_HEADER_MAX = 100 * 2**20  # the limit of the safetensors format itself
_BOUNDS = {
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (1, 512),
    "num_attention_heads": (1, 1024),
    "vocab_size": (1, 2_000_000),
    "max_position_embeddings": (1, 16_777_216),
}
# Families whose names differ from Llama's for the same thing.
_GPT2_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
    "n_inner": "intermediate_size",
}
_DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "BF16": 2,
    "F16": 2,
    "I64": 8,
    "I32": 4,
    "I8": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


@dataclass(frozen=True, kw_only=True)
class ModelProfile:
    """The shape of a model; counts are exact because they come from the stored tensors."""

    folder: str
    architecture: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    tied_embeddings: bool
    parameters: int
    embedding_parameters: int
    dtype: str
    weight_bytes: int
    linear_shapes: tuple[tuple[int, int], ...]
    """(outputs, inputs) of every matrix inside the layers."""

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        del data["linear_shapes"]
        return data


def read_model(folder: Path | str) -> ModelProfile:
    """Profile a Hugging Face folder. Raises ``FileNotFound`` and ``InvalidBaseModel``."""
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFound(f"There is no base model folder {root}.", where=str(root))
    config = _read_config(root)
    tensors = _read_tensors(root)
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    embedding = sum(_count(shape) for name, (_, shape) in tensors.items() if _is_embedding(name))
    dtypes = [dtype for dtype, shape in tensors.values() if len(shape) >= 2]
    return ModelProfile(
        folder=str(root),
        architecture=str((config.get("architectures") or ["unknown"])[0]),
        layers=layers,
        hidden=hidden,
        intermediate=int(config.get("intermediate_size") or 4 * hidden),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        vocab=config["vocab_size"],
        context=config["max_position_embeddings"],
        tied_embeddings=_tied(config, tensors),
        parameters=sum(_count(shape) for _, shape in tensors.values()),
        embedding_parameters=embedding,
        dtype=max(set(dtypes), key=dtypes.count, default="F32"),
        weight_bytes=sum(_count(shape) * _DTYPE_BYTES.get(dtype, 4) for dtype, shape in tensors.values()),
        linear_shapes=tuple(
            (shape[0], shape[1]) for name, (_, shape) in tensors.items() if len(shape) == 2 and not _is_embedding(name)
        ),
    )


def _read_config(root: Path) -> dict[str, Any]:
    path = root / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidBaseModel(
            f"{root} has no config.json, so it is not a model in the Hugging Face layout.",
            hint="Give the folder that holds config.json, tokenizer.json and *.safetensors.",
            where=str(path),
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidBaseModel(f"{path} is not JSON: {error}.", where=str(path)) from error
    if not isinstance(config, dict):
        raise InvalidBaseModel(f"{path} holds {type(config).__name__}, expected an object.", where=str(path))
    if "auto_map" in config:
        raise InvalidBaseModel(
            f"{path} asks to run Python code that came with the model (auto_map), which Luthier never does.",
            hint="Use a model of an architecture that transformers has itself.",
            where=str(path),
        )
    config |= {ours: config[theirs] for theirs, ours in _GPT2_NAMES.items() if theirs in config and ours not in config}
    faults = [fault for key, bounds in _BOUNDS.items() if (fault := _fault(config, key, bounds))]
    if faults:
        raise InvalidBaseModel(f"{path}: {'; '.join(faults)}.", where=str(path))
    return config


def _fault(config: Mapping[str, Any], key: str, bounds: tuple[int, int]) -> str | None:
    value = config.get(key)
    low, high = bounds
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"{key} is {value!r}, expected a whole number from {low} to {high}"


def _read_tensors(root: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → (dtype, shape) of every stored tensor."""
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
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in shards:
        tensors |= _read_header(path)
    return tensors


def _check_index(root: Path, present: set[str]) -> None:
    path = root / "model.safetensors.index.json"
    if not path.is_file():
        return
    try:
        wanted = {str(name) for name in json.loads(path.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidBaseModel(f"{path} is not an index of shards: {error}.", where=str(path)) from error
    if missing := sorted(wanted - present):
        raise InvalidBaseModel(
            f"{path} names {', '.join(missing[:3])}, which {'is' if len(missing) == 1 else 'are'} not in the folder.",
            hint="The download is incomplete, or the index points outside the folder.",
            where=str(path),
        )


def _read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The header of one safetensors file: 8 bytes of length, then JSON (safetensors format, README)."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_HEADER_MAX, size - 8):
                raise ValueError(f"its header claims {length} bytes of {size}")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        if end + 8 + length != size:
            raise ValueError(f"it is {size} bytes, its header describes {end + 8 + length}")
        return {str(name): (str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error, RecursionError) as error:
        raise InvalidBaseModel(f"{path} is not a whole safetensors file: {error}.", where=str(path)) from error


def _is_embedding(name: str) -> bool:
    return any(part in name for part in ("embed_tokens", "lm_head", "wte", "wpe"))


def _tied(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether the output matrix is the embedding; what the config leaves open, the stored tensors answer."""
    stated = config.get("tie_word_embeddings")
    return stated if isinstance(stated, bool) else not any(name.endswith("lm_head.weight") for name in names)


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
