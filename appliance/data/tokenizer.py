"""A model's own tokenizer, read from its folder with the light ``tokenizers`` package.

It gives the ids that Transformers gives, and says what Transformers does not: which characters a text loses.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import durable
from appliance.data.tokenizer_json import (
    GENERIC_CLASS,
    as_transformers_reads,
    dropped_characters,
    missing_tokens,
    without_prefix,
)
from appliance.errors import InvalidBaseModel
from appliance.text import safe_text

if TYPE_CHECKING:
    import tokenizers

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_SURROGATES = re.compile("[\ud800-\udfff]")
Span = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """A text as tokens: their ids, and where in the text each lies (half-open, in characters)."""

    ids: list[int]
    spans: list[Span]


class Tokenizer:
    """Text to token ids and back, without adding anything."""

    def __init__(self, engine: tokenizers.Tokenizer, special: Mapping[str, str]) -> None:
        self._engine = engine
        self.special: dict[str, str] = dict(special)
        """``bos_token`` → its text and so on: what a chat template is given."""
        self.prefix_ids: list[int] = _added_in_front(engine)
        """What the tokenizer itself puts before a plain text: usually the begin token, or nothing."""
        # Without its post-processor the engine reports where a token lies with its spaces.
        engine.post_processor = None
        engine.no_truncation()
        engine.no_padding()
        self.vocab_size: int = engine.get_vocab_size(with_added_tokens=True)
        added = engine.get_added_tokens_decoder()
        self.special_ids: frozenset[int] = frozenset(id_ for id_, token in added.items() if token.special)
        """Ids that stand for no text: begin, end, roles."""
        self.control_ids: frozenset[int] = frozenset(added)
        """Ids that are matched as a whole in text, special or not."""
        content = json.loads(engine.to_str())
        bare = without_prefix(content)
        self._continuing = engine if bare == content else _engine(json.dumps(bare), Path("tokenizer.json"))
        unknown = content["model"].get("unk_token")
        self.unknown_id: int | None = self.id_of(unknown) if unknown else content["model"].get("unk_id")
        self._is_dropped = dropped_characters(content) if self.unknown_id is None else None

    @property
    def bos(self) -> str | None:
        return self.special.get("bos_token")

    @property
    def eos(self) -> str | None:
        return self.special.get("eos_token")

    @property
    def pad(self) -> str | None:
        return self.special.get("pad_token")

    @property
    def bos_id(self) -> int | None:
        return self.id_of(self.bos)

    @property
    def eos_id(self) -> int | None:
        return self.id_of(self.eos)

    @property
    def pad_id(self) -> int:
        """What fills a batch: the pad token, else the end token, else 0; padding is always masked."""
        for id_ in (self.id_of(self.pad), self.eos_id):
            if id_ is not None:
                return id_
        return 0

    def id_of(self, token: str | None) -> int | None:
        """The id of a token by its text, or None when there is no such token."""
        return None if token is None else self._engine.token_to_id(token)

    def token_of(self, id_: int) -> str:
        """A token's own text as the vocabulary writes it."""
        return self._engine.id_to_token(id_) or ""

    def encode(self, text: str) -> list[int]:
        """The ids of a text; nothing is added. Control tokens written out in it become their ids."""
        return self._encoding(text).ids

    def encode_spans(self, text: str, *, continuing: bool = False) -> Tokens:
        """The ids of a text and where each token lies in it; ``continuing``: it goes on where other text ended.

        Behind a character for which it writes nothing, the engine reports places that are too far to the front;
        the places are then taken from the text without those characters, which has the same tokens.
        """
        encoding = self._encoding(text, continuing)
        kept = self._kept(text)
        if len(kept) == len(text):
            return Tokens(encoding.ids, encoding.offsets)
        shorter = self._encoding("".join(text[place] for place in kept), continuing)
        if shorter.ids != encoding.ids:
            return Tokens(encoding.ids, encoding.offsets)
        kept.append(len(text))
        spans = [(kept[start], kept[end - 1] + 1 if end > start else kept[start]) for start, end in shorter.offsets]
        return Tokens(encoding.ids, spans)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, encoded together, which is faster."""
        batch = self._engine.encode_batch_fast([_encodable(text) for text in texts], add_special_tokens=False)
        return [len(encoding) for encoding in batch]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of ids, without the tokens that stand for no text."""
        return self._engine.decode(list(ids), skip_special_tokens=skip_special)

    def text_within(self, ids: Sequence[int]) -> str:
        """The text of ids that stand in the middle of others: some decoders take away a space at the beginning."""
        front = self.encode("a")
        return self.decode([*front, *ids], skip_special=False)[len(self.decode(front, skip_special=False)) :]

    def loss_of(self, text: str) -> str:
        """The characters of ``text`` that no token represents, in order; empty when the text survives.

        A character is lost when the tokenizer writes its unknown token for it, or nothing at all.
        """
        if self._is_dropped is not None:
            return "".join(character for character in text if self._is_dropped(character))
        tokens = self.encode_spans(text)
        if self.unknown_id not in tokens.ids:
            return ""
        lost = bytearray(len(text))
        for id_, (start, end) in zip(tokens.ids, tokens.spans, strict=True):
            if id_ == self.unknown_id:
                lost[start:end] = b"\1" * (end - start)
        return "".join(character for character, gone in zip(text, lost, strict=True) if gone)

    def _kept(self, text: str) -> list[int]:
        """The places of the characters of ``text`` that are not dropped."""
        if self._is_dropped is None:
            return list(range(len(text)))
        return [place for place, character in enumerate(text) if not self._is_dropped(character)]

    def _encoding(self, text: str, continuing: bool = False) -> tokenizers.Encoding:
        engine = self._continuing if continuing else self._engine
        return engine.encode(_encodable(text), add_special_tokens=False)


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """Read the tokenizer of a model folder. Raises ``InvalidBaseModel``."""
    folder = Path(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InvalidBaseModel(
            f"{folder} has no tokenizer.json.",
            hint="Save its tokenizer in the fast format: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR).",
            where=str(folder),
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    named = special_tokens(folder)
    engine = _engine(json.dumps(_content(folder)), path)
    _add_missing(engine, folder, named)
    return Tokenizer(engine, named)


def special_tokens(folder: Path) -> dict[str, str]:
    """The named special tokens of a model folder, as Transformers would name them to a template."""
    config = read_json(folder / "tokenizer_config.json")
    mapped = read_json(folder / "special_tokens_map.json")
    found = {}
    for name in _NAMED:
        value = config.get(name, mapped.get(name))
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[name] = text
    return found


def copy_tokenizer(source: Path, target: Path, template: str) -> None:
    """Put a model's tokenizer and the chat template in use into ``target``, which then needs ``source`` no more.

    ``tokenizer_config.json`` names the class that takes ``tokenizer.json`` literally, so that it gives these ids
    in every program.
    """
    named = special_tokens(source)
    engine = _engine(json.dumps(_content(source)), source / "tokenizer.json")
    _add_missing(engine, source, named)
    config = read_json(source / "tokenizer_config.json") | named
    for key in ("chat_template", "auto_map", "tokenizer_file", "name_or_path", "add_prefix_space"):
        config.pop(key, None)
    # The post-processor is written in tokenizer.json; these two would have it made anew.
    for key in ("add_bos_token", "add_eos_token"):
        config.pop(key, None)
    config["tokenizer_class"] = GENERIC_CLASS
    durable.write_text(target / "tokenizer.json", engine.to_str(pretty=True))
    durable.write_json(target / "tokenizer_config.json", config)
    durable.write_text(target / "chat_template.jinja", template)


def _content(folder: Path) -> dict[str, Any]:
    return as_transformers_reads(read_json(folder / "tokenizer.json"), read_json(folder / "tokenizer_config.json"))


def _engine(text: str, path: Path) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Engine

    # The engine raises bare Exception, and panics that derive from BaseException.
    try:
        return Engine.from_str(text)
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise InvalidBaseModel(f"{path} cannot be read: {safe_text(error, limit=200)}.", where=str(path)) from error


def _add_missing(engine: tokenizers.Tokenizer, folder: Path, named: Mapping[str, str]) -> None:
    content, config = read_json(folder / "tokenizer.json"), read_json(folder / "tokenizer_config.json")
    missing = missing_tokens(content, config, named)
    if missing:
        from tokenizers import AddedToken

        engine.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in missing])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder, empty when there is no such file. Raises ``InvalidBaseModel``."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidBaseModel(f"{path} is not readable JSON: {error}.", where=str(path)) from error
    if not isinstance(value, dict):
        raise InvalidBaseModel(f"{path} holds {type(value).__name__}, expected an object.", where=str(path))
    return value


def _added_in_front(engine: tokenizers.Tokenizer) -> list[int]:
    bare = engine.encode("a", add_special_tokens=False).ids
    whole = engine.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return list(whole[:start])
    return []


def _encodable(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD; as long as before."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text
