"""A dataset and its rows, as a person reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.cli.command import Call
from appliance.cli.render import styled
from appliance.cli.summary import rows_line
from appliance.errors import FileNotFound
from appliance.text import safe_text

if TYPE_CHECKING:
    from rich.text import Text

_MARKS = {"error": ("✖ ", "bold red"), "warning": ("▲ ", "yellow")}
_SHOWN_CHARACTERS = 400


def show_card(call: Call, dataset: dict[str, Any]) -> None:
    columns = (dataset.get("mapping") or {}).items()
    mapping = ", ".join(field if field == column else f"{field} ← {column}" for field, column in columns)
    tokens = dataset.get("tokens") or {}
    length = f"{tokens['mean']:.0f} on average, {tokens['longest']:,} at most" if tokens.get("longest") else None
    call.screen.pairs(
        (
            ("dataset", f"{dataset['id']}  {dataset.get('name')}" if dataset.get("id") else dataset.get("name")),
            ("format", f"{dataset.get('format')}" + (f" ({mapping})" if mapping else "")),
            ("rows", rows_line(dataset)),
            ("tokens", length),
            ("path", dataset.get("path")),
        )
    )
    for finding in dataset.get("findings") or ():
        place = f"{finding['where']}: " if finding.get("where") else ""
        call.screen.show(
            styled(_MARKS.get(str(finding.get("severity")), ("· ", "dim")), f"{place}{finding['message']}")
        )
        if finding.get("fix"):
            call.screen.show(styled(("  → ", "cyan"), str(finding["fix"])))


def read_examples(folder: Path, split: str, limit: int) -> list[dict[str, Any]]:
    """The first examples of a split. Raises ``FileNotFound``."""
    path = folder / f"{split}.jsonl"
    try:
        with path.open(encoding="utf-8") as stream:
            return [json.loads(line) for line in islice(stream, limit)]
    except OSError as error:
        raise FileNotFound(f"{path} cannot be read: {error.strerror}.", where=str(path)) from error


def example_lines(example: dict[str, Any]) -> Iterator[Text]:
    """One example: who says what, and what of it is learnt."""
    yield styled((f"row {example.get('row')}", "dim"))
    if "text" in example:
        yield styled("  " + safe_text(example["text"], limit=_SHOWN_CHARACTERS))
    for message in example.get("messages") or ():
        learnt = message.get("weight", 1 if message.get("role") == "assistant" else 0)
        content = safe_text(message.get("content") or message.get("tool_calls") or "", limit=_SHOWN_CHARACTERS)
        yield styled("  ", (f"{message.get('role'):10}", "green" if learnt else "dim"), content)
