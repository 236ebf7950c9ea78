"""The one typed example every format is normalised to, and how it lies in a file.

A line of ``train.jsonl`` is one example: a conversation (``messages``) or plain text (``text``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from appliance.errors import CorruptFolder, FileNotFound

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn."""

    role: str
    content: str
    weight: int | None = None
    """0: not learnt although an assistant said it; 1 or None: learnt when an assistant said it."""
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None

    def as_dict(self, *, weight: bool = True) -> dict[str, Any]:
        """The turn as JSON; without ``weight`` it is what a chat template is given."""
        result: dict[str, Any] = {"role": self.role, "content": self.content}
        if weight and self.weight is not None:
            result["weight"] = self.weight
        if self.name is not None:
            result["name"] = self.name
        if self.tool_calls:
            result["tool_calls"] = [dict(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            result["tool_call_id"] = self.tool_call_id
        return result

    @property
    def learnt(self) -> bool:
        """Whether training supervises this turn."""
        return self.role == "assistant" and self.weight != 0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One training item. Exactly one of ``messages`` and ``text`` is there."""

    row: int
    """1-based number of the input row it came from."""
    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str | None = None
    group: str = ""
    """Examples of one group never lie on both sides of a split."""
    parent: int | None = None
    """The row this was split from or made of."""

    def as_dict(self) -> dict[str, Any]:
        """The example as a line of ``train.jsonl``."""
        result: dict[str, Any] = {"row": self.row}
        if self.text is not None:
            result["text"] = self.text
        else:
            result["messages"] = [message.as_dict() for message in self.messages]
        if self.tools:
            result["tools"] = [dict(tool) for tool in self.tools]
        if self.group:
            result["group"] = self.group
        if self.parent is not None:
            result["parent"] = self.parent
        return result

    def content_key(self) -> str:
        """The same for two examples exactly when they are identical once normalised, wherever they came from."""
        body = [self.text, [message.as_dict() for message in self.messages], list(self.tools)]
        return fingerprint(body)

    def split_answer(self) -> tuple[tuple[Message, ...], Message | None]:
        """The turns up to the last learnt answer, and that answer; ``(messages, None)`` where nothing is learnt."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].learnt:
                return self.messages[:index], self.messages[index]
        return self.messages, None


def message_from_dict(data: Mapping[str, Any]) -> Message:
    """The turn that ``as_dict`` wrote."""
    return Message(
        role=data["role"],
        content=data.get("content") or "",
        weight=data.get("weight"),
        name=data.get("name"),
        tool_calls=tuple(data.get("tool_calls") or ()),
        tool_call_id=data.get("tool_call_id"),
    )


def example_from_dict(data: Mapping[str, Any]) -> Example:
    """The example that ``as_dict`` wrote."""
    return Example(
        row=data["row"],
        messages=tuple(message_from_dict(message) for message in data.get("messages") or ()),
        tools=tuple(data.get("tools") or ()),
        text=data.get("text"),
        group=data.get("group", ""),
        parent=data.get("parent"),
    )


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a file of a dataset folder, in order. Raises ``FileNotFound``, ``CorruptFolder``."""
    return (example for _, example in read_placed(path))


def read_placed(path: Path) -> Iterator[tuple[int, Example]]:
    """The same, each with the byte at which it begins."""
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFound(f"There is no file of examples {path}.", where=str(path)) from error
    with stream:
        place = 0
        for number, line in enumerate(stream, 1):
            yield place, _parsed(line, f"{path}:{number}")
            place += len(line)


def read_at(stream: BinaryIO, place: int) -> Example:
    """The example that begins at a byte of an open file."""
    stream.seek(place)
    return _parsed(stream.readline(), f"byte {place}")


def _parsed(line: bytes, where: str) -> Example:
    try:
        return example_from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFolder(f"{where} is not an example ({error}).", where=where) from error


def example_line(example: Example) -> str:
    """The example as one line, without its line break; the same bytes on every machine."""
    return json.dumps(example.as_dict(), ensure_ascii=False, separators=(",", ":"))


def as_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as a chat template is given them."""
    return [message.as_dict(weight=False) for message in messages]


def fingerprint(value: Any) -> str:
    """A short content hash of a JSON value, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
