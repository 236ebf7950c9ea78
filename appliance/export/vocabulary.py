"""A Hugging Face ``tokenizer.json`` as a GGUF file describes a vocabulary.

Two kinds are known: byte-level BPE (``gpt2``, with the name llama.cpp has for its pre-tokeniser) and BPE on text
whose spaces became ``▁`` (``llama``, as SentencePiece has it, with scores instead of merges).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from appliance.data.chat import end_ids, load_template, load_tokenizer
from appliance.errors import InvalidBaseModel

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How a pre-tokeniser cuts text, described by `_cut`, and what llama.cpp calls it.
PRE_TOKENISERS: dict[tuple[str, ...], str] = {
    ("gpt2",): "gpt-2",
    (_LLAMA3,): "llama-bpe",
    (_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),): "qwen2",
    ("digits", "gpt2"): "smollm",
}


class TokenType(IntEnum):
    """``tokenizer.ggml.token_type`` (the GGUF specification)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens by id and everything llama.cpp needs to know of them."""

    model: str
    """``gpt2`` or ``llama``."""
    pre: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...] = ()
    """Of ``gpt2``."""
    scores: tuple[float, ...] = ()
    """Of ``llama``: the higher, the earlier a pair is joined."""
    bos: int | None
    eos: int | None
    pad: int | None
    unknown: int | None
    adds_bos: bool
    adds_space: bool
    """Whether text gets a space in front before it is cut."""
    more_ends: tuple[int, ...] = ()
    """Other tokens that end an answer."""


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Read the tokeniser; ids up to ``size`` that no token has become unused ones. Raises ``InvalidBaseModel``."""
    body = _json(folder / "tokenizer.json")
    config = _json(folder / "tokenizer_config.json", optional=True)
    model = body.get("model") or {}
    kind, pre = _kind(body, model, folder)
    added = {int(token["id"]): token for token in body.get("added_tokens") or ()}
    by_id = _by_id(body)
    if not by_id or max(by_id) >= size or min(by_id) < 0:
        raise InvalidBaseModel(
            f"{folder} has a token with id {max(by_id, default=None)}, but the model has {size} rows of embeddings.",
            hint="The tokeniser and the weights do not belong together; take both from one place.",
        )
    unknown = _id_of(model.get("unk_token"), by_id)
    special = _special(config, by_id)
    merges = tuple(" ".join(pair) if isinstance(pair, list) else str(pair) for pair in model.get("merges") or ())
    tokenizer = load_tokenizer(folder)
    ends = _ends(folder, size, [special["eos"], *sorted(end_ids(tokenizer, load_template(folder)))])
    return Vocabulary(
        model=kind,
        pre=pre,
        tokens=tuple(by_id.get(number, f"[PAD{number}]") for number in range(size)),
        types=tuple(_type(number, by_id, added, unknown) for number in range(size)),
        merges=merges if kind == "gpt2" else (),
        scores=_scores(by_id, merges, size) if kind == "llama" else (),
        bos=special["bos"],
        eos=next(iter(ends), None),
        pad=special["pad"],
        unknown=unknown,
        adds_bos=tokenizer.prefix_ids[:1] == [special["bos"]],
        adds_space=any(step.get("type") == "Prepend" for step in _steps(body.get("normalizer")))
        or any(step.get("prepend_scheme") in ("always", "first") for step in _steps(body.get("pre_tokenizer"))),
        more_ends=ends[1:],
    )


def read_tokens(folder: Path) -> tuple[str, ...]:
    """The tokens of a folder's tokeniser by id, as far as there are any; a gap is an unused one."""
    by_id = _by_id(_json(folder / "tokenizer.json"))
    return tuple(by_id.get(number, f"[PAD{number}]") for number in range(max(by_id, default=-1) + 1))


def _by_id(body: Mapping[str, Any]) -> dict[int, str]:
    vocabulary = (body.get("model") or {}).get("vocab") or {}
    added = {int(token["id"]): str(token["content"]) for token in body.get("added_tokens") or ()}
    if isinstance(vocabulary, list):
        return {number: str(entry[0]) for number, entry in enumerate(vocabulary)} | added
    return {int(number): str(token) for token, number in vocabulary.items()} | added


def _kind(body: Mapping[str, Any], model: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    found = f"a {model.get('type') or 'nameless'} tokeniser"
    if model.get("type") == "BPE":
        steps = list(_steps(body.get("pre_tokenizer")))
        if any(step.get("type") == "ByteLevel" for step in steps):
            cut = _cut(steps)
            if cut in PRE_TOKENISERS:
                return "gpt2", PRE_TOKENISERS[cut]
            found = f"a byte-level tokeniser that cuts text by {' then '.join(cut) or 'nothing'}"
        elif "▁" in json.dumps([body.get("normalizer"), body.get("pre_tokenizer")], ensure_ascii=False):
            return "llama", "default"
    raise InvalidBaseModel(
        f"A GGUF file cannot be written: {folder / 'tokenizer.json'} is {found}; supported: BPE on text whose spaces "
        f"became ▁, and byte-level BPE cut like {', '.join(PRE_TOKENISERS.values())}.",
        hint="Export as safetensors instead.",
    )


def _cut(steps: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """What cuts the text, in order: a regular expression, ``digits``, or ``gpt2`` for the one inside ByteLevel."""
    cuts: list[str] = []
    for step in steps:
        if step.get("type") == "Split":
            pattern = step.get("pattern") or {}
            cuts.append(str(pattern.get("Regex") or pattern.get("String")))
        elif step.get("type") == "Digits":
            cuts.append("digits" if step.get("individual_digits") else "digit groups")
        elif step.get("type") == "ByteLevel":
            cuts += ["gpt2"] if step.get("use_regex", True) else []
        else:
            cuts.append(str(step.get("type")))
    return tuple(cuts)


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a normaliser or pre-tokeniser, sequences unfolded."""
    if not isinstance(part, dict):
        return
    inner = part.get("normalizers") or part.get("pretokenizers")
    if part.get("type") == "Sequence" and isinstance(inner, list):
        for step in inner:
            yield from _steps(step)
    else:
        yield part


def _type(
    number: int, by_id: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], unknown: int | None
) -> TokenType:
    if number not in by_id:
        return TokenType.UNUSED
    if number == unknown:
        return TokenType.UNKNOWN
    if number in added:
        return TokenType.CONTROL if added[number].get("special") else TokenType.USER_DEFINED
    return TokenType.BYTE if _BYTE.fullmatch(by_id[number]) else TokenType.NORMAL


def _scores(by_id: Mapping[int, str], merges: tuple[str, ...], size: int) -> tuple[float, ...]:
    """A token made by an earlier merge scores higher; what no merge makes scores lowest."""
    rank: dict[str, int] = {}
    for place, pair in enumerate(merges):
        rank.setdefault(pair.replace(" ", "", 1), place)
    return tuple(-float(rank.get(by_id.get(number, ""), len(merges) + number)) for number in range(size))


def _special(config: Mapping[str, Any], by_id: Mapping[int, str]) -> dict[str, int | None]:
    return {name: _id_of(config.get(f"{name}_token"), by_id) for name in ("bos", "eos", "pad")}


def _id_of(token: Any, by_id: Mapping[int, str]) -> int | None:
    text = token.get("content") if isinstance(token, dict) else token
    return next((number for number, known in by_id.items() if known == text), None) if text else None


def _ends(folder: Path, size: int, known: list[int | None]) -> tuple[int, ...]:
    """Every id that ends an answer: the tokeniser's, the template's, and those of ``generation_config.json``."""
    listed = _json(folder / "generation_config.json", optional=True).get("eos_token_id")
    numbers = [*known, *(listed if isinstance(listed, list) else [listed])]
    return tuple(dict.fromkeys(n for n in numbers if isinstance(n, int) and 0 <= n < size))


def _json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        if optional:
            return {}
        raise InvalidBaseModel(f"{path} does not exist; a model needs its tokeniser.", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise InvalidBaseModel(f"{path} cannot be read: {error}.", where=str(path)) from error
    return value if isinstance(value, dict) else {}
