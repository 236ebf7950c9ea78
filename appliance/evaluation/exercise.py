"""What a model is asked: exercises that want an answer, and passages whose likelihood is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from appliance.data.example import ROLES, Example, Message, fingerprint, message_from_dict
from appliance.errors import FileNotFound, InvalidSpec

FAULTS_SHOWN = 20
_Item = TypeVar("_Item", "Exercise", "Passage")


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A conversation whose next turn is wanted."""

    prompt: tuple[Message, ...]
    expected: str
    group: str
    """Exercises of one group are not independent of each other."""
    skill: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()

    def key(self) -> str:
        return fingerprint([[message.as_dict() for message in self.prompt], self.expected])

    def prompt_text(self) -> str:
        """The question for people: the only turn, or every turn with its role."""
        if len(self.prompt) == 1:
            return self.prompt[0].content
        return "\n".join(f"{message.role}: {message.content}" for message in self.prompt)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """An example whose supervised tokens are to be likely."""

    example: Example
    group: str

    def key(self) -> str:
        return self.example.content_key()


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where exercises come from, and how many are taken."""

    dataset: Path | None
    """A dataset folder as ingest writes it."""
    retention: Path | None = None
    """A file of exercises for what the base can do."""
    limit: int = 200
    """Most held-out exercises that are answered."""

    def split(self, name: str) -> Path | None:
        """The file of a split, when the dataset has one."""
        file = self.dataset / f"{name}.jsonl" if self.dataset else None
        return file if file is not None and file.is_file() else None


def taken(items: list[_Item], limit: int) -> list[_Item]:
    """At most ``limit`` items: those with the smallest content hash, in their own order.

    The same ones on any machine and whatever the order of the file, so two evaluations can be compared.
    """
    if len(items) <= limit:
        return items
    chosen = set(sorted(range(len(items)), key=lambda i: items[i].key())[:limit])
    return [item for index, item in enumerate(items) if index in chosen]


def group_of(example: Example) -> str:
    """The group of an example; one without stands alone."""
    return example.group or f"row {example.row}"


def read_exercises(path: Path) -> list[Exercise]:
    """A retention file: lines of ``{"skill", "messages", "expected"}``, where messages end before the answer.

    Raises ``FileNotFound``, and ``InvalidSpec`` naming the faulty lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFound(f"There is no file of exercises {path}.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{path} is not UTF-8 text ({error}).", where=str(path)) from error
    faults: list[str] = []
    exercises = list(_exercises(lines, faults))
    if faults or not exercises:
        listed = "\n  ".join(faults[:FAULTS_SHOWN] or ["it has no lines"])
        raise InvalidSpec(
            f"{path} is not a file of exercises, {len(faults)} fault(s):\n  {listed}",
            hint='A line is {"skill": "sort", "messages": [{"role": "user", "content": "…"}], "expected": "…"}.',
            where=str(path),
        )
    return exercises


def _exercises(lines: list[str], faults: list[str]) -> Iterator[Exercise]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            faults.append(f"line {number}: not JSON ({error})")
            continue
        fault = _fault(data)
        if fault:
            faults.append(f"line {number}: {fault}")
            continue
        prompt = tuple(message_from_dict(message) for message in data["messages"])
        yield Exercise(
            prompt=prompt, expected=data["expected"], group=str(data.get("group") or number), skill=data["skill"]
        )


def _fault(data: Any) -> str | None:
    """What is wrong with one line, or None."""
    if not isinstance(data, dict):
        return f"expected an object, got {type(data).__name__}"
    for key in ("skill", "expected"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            return f"{key}: expected text, got {data.get(key)!r}"
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        return f"messages: expected a list of turns, got {messages!r}"
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"messages: expected turns with a role of {', '.join(ROLES)}, got {message!r}"
        if not isinstance(message.get("content"), str):
            return f"messages: expected turns with text as content, got {message.get('content')!r}"
    return "messages: the last turn must not be the assistant's" if messages[-1]["role"] == "assistant" else None
