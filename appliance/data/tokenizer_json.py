"""``tokenizer.json`` as Transformers 5 understands it.

For a SentencePiece tokenizer of the Llama class, Transformers does not take the file as it is: it keeps vocabulary
and merges and builds the rest anew (``LlamaTokenizer.__init__``), with other rules for the space in front of a text
and with no unknown token. What is trained here is loaded there, so the same is done here, and the file that goes
with a trained model has it written down under the class that is taken literally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

GENERIC_CLASS = "PreTrainedTokenizerFast"
_REBUILT = {"LlamaTokenizer", "LlamaTokenizerFast"}
_SPACE = "\u2581"


def as_transformers_reads(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``tokenizer.json`` with what ``tokenizer_config.json`` changes about it."""
    result = dict(content)
    if config.get("tokenizer_class") in _REBUILT and _is_sentencepiece(content):
        result |= _rebuilt(content, config)
    result["truncation"] = result["padding"] = None
    return result


def without_prefix(content: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer that puts no space before a text, for text that goes on where other text ended."""

    def stripped(part: Any) -> Any:
        if isinstance(part, list):
            return [stripped(item) for item in part if not (isinstance(item, dict) and item.get("type") == "Prepend")]
        if not isinstance(part, dict):
            return part
        changed = {key: stripped(value) for key, value in part.items()}
        if changed.get("type") == "Metaspace":
            changed["prepend_scheme"] = "never"
        if changed.get("type") == "ByteLevel":
            changed["add_prefix_space"] = False
        return changed

    result = dict(content)
    for key in ("normalizer", "pre_tokenizer"):
        part = content.get(key)
        prepends = isinstance(part, dict) and part.get("type") == "Prepend"
        result[key] = None if prepends else stripped(part)
    return result


def missing_tokens(content: Mapping[str, Any], config: Mapping[str, Any], named: Mapping[str, str]) -> list[str]:
    """The special tokens that the configuration names and ``tokenizer.json`` lacks, in the order of their ids."""
    known = {token.get("content") for token in content.get("added_tokens") or ()}
    declared = config.get("added_tokens_decoder")
    entries = sorted(declared.items(), key=lambda item: int(item[0])) if isinstance(declared, dict) else []
    wanted = [entry.get("content") for _, entry in entries if isinstance(entry, dict)]
    wanted += list(named.values())
    return [token for token in dict.fromkeys(wanted) if isinstance(token, str) and token not in known]


def dropped_characters(content: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Tells whether a character has no token at all; None when every character has one.

    For byte-pair models without an unknown token, which write nothing for what they do not know.
    """
    model = content["model"]
    if model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        return None
    vocabulary = model["vocab"]
    if _uses_bytes(content):
        missing = {byte for byte, character in enumerate(byte_characters()) if character not in vocabulary}
        whole = frozenset[str]()
    else:
        fallback = bool(model.get("byte_fallback"))
        missing = {byte for byte in range(256) if not fallback or f"<0x{byte:02X}>" not in vocabulary}
        spaced = {" "} if _SPACE in vocabulary else set()
        added = {token["content"] for token in content.get("added_tokens") or ()}
        whole = frozenset(spaced.union(token for token in (*vocabulary, *added) if len(token) == 1))
    if not missing:
        return None

    @cache
    def dropped(character: str) -> bool:
        return character not in whole and not missing.isdisjoint(character.encode("utf-8", "replace"))

    return dropped


def byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 bytes stand for themselves, the others for U+0100 and up in order (GPT-2, encoder.py).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    following = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(following)) for byte in range(256)]


def _uses_bytes(content: Mapping[str, Any]) -> bool:
    return "'ByteLevel'" in repr((content.get("pre_tokenizer"), content.get("normalizer")))


def _is_sentencepiece(content: Mapping[str, Any]) -> bool:
    return (content.get("model") or {}).get("type") == "BPE" and not _uses_bytes(content)


def _rebuilt(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    prefixed = config.get("add_prefix_space") is not False
    scheme = ("always" if config.get("legacy", False) else "first") if prefixed else "never"
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefixed:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    model = {"unk_token": None, "fuse_unk": True, "byte_fallback": True, "dropout": None, "ignore_merges": False}
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": False},
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {**content["model"], **model},
    }
