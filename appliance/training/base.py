"""Looking at a base model's folder before anything in it is loaded. Nothing here imports torch.

The folder is untrusted: sizes are bounded before a model of that size is built, weights may only be safetensors
lying in the folder itself, and nothing that asks to run code is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import FileNotFound, InvalidBaseModel

INDEX = "model.safetensors.index.json"
_LIMITS = {"hidden_size": 65_536, "num_hidden_layers": 512, "num_attention_heads": 1024, "vocab_size": 2_000_000}
# Keys by which a configuration makes Transformers load or fetch code.
_CODE_KEYS = ("auto_map", "custom_pipelines", "_attn_implementation_autoset", "trust_remote_code")


def check_base(folder: Path) -> dict[str, Any]:
    """The configuration of a folder that can be trained. Raises ``FileNotFound`` and ``InvalidBaseModel``."""
    if not folder.is_dir():
        raise FileNotFound(f"There is no base model folder {folder}.", where=str(folder))
    config = _read_config(folder)
    weight_files(folder)
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files a model is loaded from. Raises ``InvalidBaseModel``."""
    index = folder / INDEX
    names = _indexed(index) if index.is_file() else ["model.safetensors"]
    files = [folder / name for name in names]
    for file in files:
        if file.name not in names or not file.is_file():
            others = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for p in folder.glob(pattern))
            found = f"; it has {', '.join(others[:3])}, which Luthier does not train from" if others else ""
            raise InvalidBaseModel(
                f"{folder} holds no weights: {file.name} is missing{found}.",
                hint="Save the model as safetensors: model.save_pretrained(DIR).",
                where=str(file),
            )
    return files


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = _json(path)
    for key in _CODE_KEYS:
        if config.get(key):
            raise InvalidBaseModel(
                f"{path} asks to run code that came with the model ({key}), which Luthier never does.",
                hint="Use a model of an architecture that Transformers has itself.",
                where=str(path),
            )
    if config.get("quantization_config"):
        raise InvalidBaseModel(
            f"{path} describes quantised weights, which cannot be trained further as they are.",
            hint="Use the model's unquantised folder.",
            where=str(path),
        )
    for key, limit in _LIMITS.items():
        value = config.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
            raise InvalidBaseModel(
                f"{path}: {key} is {value!r}, expected a whole number from 1 to {limit}.", where=str(path)
            )
    return config


def _indexed(index: Path) -> list[str]:
    """The shards of an index; each must be the bare name of a file in the folder."""
    shards = _json(index).get("weight_map")
    if not isinstance(shards, Mapping) or not shards:
        raise InvalidBaseModel(f"{index} has no weight_map.", where=str(index))
    names = sorted({str(name) for name in shards.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InvalidBaseModel(
                f"{index} names the shard {name!r}, expected the bare name of a safetensors file beside it.",
                where=str(index),
            )
    return names


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidBaseModel(
            f"{path.parent} has no {path.name}, so it is not a model in the Hugging Face layout.",
            hint="Give the folder that holds config.json, tokenizer.json and *.safetensors.",
            where=str(path),
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidBaseModel(f"{path} is not readable JSON: {error}.", where=str(path)) from error
    if not isinstance(value, dict):
        raise InvalidBaseModel(f"{path} holds {type(value).__name__}, expected an object.", where=str(path))
    return value
