"""The models being served: loaded when ``models.json`` names them, unloaded when it does not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.data.chat import ChatTemplate, Tokenizer, load_template, load_tokenizer
from appliance.errors import CorruptFolder, LuthierError
from serving.engine import ENGINES, Engine, LoadOptions, ModelRefused

_FINISH_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of ``models.json``: what to serve, and under which names."""

    id: str
    path: str
    tokenizer: str
    engine: str = "llama_cpp"
    aliases: tuple[str, ...] = ()
    created: int = 0

    @property
    def artifact(self) -> tuple[str, str, str]:
        """What has to be loaded for it; entries may share it."""
        return (self.engine, self.path, self.tokenizer)


@dataclass(frozen=True)
class Loaded:
    """An artifact in memory."""

    engine: Engine
    tokenizer: Tokenizer
    template: ChatTemplate


@dataclass(frozen=True)
class ServedModel:
    """A model that answers."""

    entry: Entry
    loaded: Loaded


Report = Callable[[str, bool, str], None]
"""``report(model, ok, message)``: a model was loaded, or could not be."""
Announce = Callable[["Entry"], None]
"""Told before an artifact is loaded: whoever reads it later knows what killed a process."""


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The models a job folder asks for; none when the file is not there yet. Raises ``CorruptFolder``."""
    try:
        body = json.loads(path.read_bytes())
        return tuple(_entry(item) for item in body["models"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFolder(f"{path} does not list models: {error!r}.", where=str(path)) from error


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(
        id=str(item["id"]),
        path=str(item["path"]),
        tokenizer=str(item["tokenizer"]),
        engine=str(item.get("engine", "llama_cpp")),
        aliases=tuple(str(alias) for alias in item.get("aliases") or ()),
        created=int(item.get("created") or 0),
    )


class Shelf:
    """Models by name. ``apply`` is called from one thread; looking up is safe from any."""

    def __init__(self, *, context: int = 0, slots: int = 4) -> None:
        self._context = context
        self._slots = slots
        self._models: dict[str, ServedModel] = {}
        self._failed: dict[str, str] = {}
        self._coming: frozenset[str] = frozenset()
        self._begun = False

    @property
    def models(self) -> tuple[ServedModel, ...]:
        return tuple(self._models.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Every id and alias that answers."""
        return tuple(dict.fromkeys(name for m in self.models for name in (m.entry.id, *m.entry.aliases)))

    @property
    def loading(self) -> bool:
        """Whether something is still to come, or nothing was asked for yet."""
        return bool(self._coming) or not self._begun

    def find(self, name: str) -> ServedModel | None:
        """The model of an id, else of an alias."""
        exact = self._models.get(name)
        return exact or next((model for model in self.models if name in model.entry.aliases), None)

    def is_coming(self, name: str) -> bool:
        return name in self._coming

    def failure(self, name: str) -> str | None:
        """Why a model that should be served is not."""
        return self._failed.get(name)

    def apply(self, entries: Sequence[Entry], report: Report, announce: Announce | None = None) -> tuple[str, ...]:
        """Load what is new, rename what is renamed, unload the rest; returns the ids that are gone.

        The new is loaded before the old is dropped, so that a replaced model never stops answering.
        """
        before = self._models
        ready = {model.entry.artifact: model.loaded for model in before.values()}
        self._coming = frozenset(
            name for entry in entries if entry.artifact not in ready for name in (entry.id, *entry.aliases)
        )
        self._failed = {}
        after: dict[str, ServedModel] = {}
        for entry in entries:
            loaded = ready.get(entry.artifact) or self._load(entry, report, announce)
            if loaded is None:
                continue
            if entry.artifact in ready and (entry.id not in before or before[entry.id].entry != entry):
                report(entry.id, True, "")
            ready[entry.artifact] = loaded
            after[entry.id] = ServedModel(entry, loaded)
            self._models = {**before, **after}
            self._coming -= {entry.id, *entry.aliases}
        self._models = after
        self._coming = frozenset()
        self._begun = True
        used = {model.entry.artifact for model in after.values()}
        for artifact, loaded in ready.items():
            if artifact not in used:
                threading.Thread(target=_retire, args=(loaded.engine,), daemon=True).start()
        return tuple(id_ for id_ in before if id_ not in after)

    def close(self) -> None:
        """Unload everything."""
        models, self._models = self._models, {}
        for engine in {id(m.loaded.engine): m.loaded.engine for m in models.values()}.values():
            engine.close()

    def _load(self, entry: Entry, report: Report, announce: Announce | None) -> Loaded | None:
        if announce:
            announce(entry)
        try:
            loaded = load_artifact(entry, LoadOptions(path=Path(entry.path), context=self._context, slots=self._slots))
        except LuthierError as error:
            for name in (entry.id, *entry.aliases):
                self._failed[name] = error.message
            report(entry.id, False, error.message)
            return None
        report(entry.id, True, loaded.engine.facts.note)
        return loaded


def load_artifact(entry: Entry, options: LoadOptions) -> Loaded:
    """Load an artifact with its tokenizer. Raises ``ModelRefused`` and whatever else is named."""
    folder = Path(entry.tokenizer)
    tokenizer, template = load_tokenizer(folder), load_template(folder)
    engine: Engine = ENGINES.load(entry.engine)(options)
    if tokenizer.vocab_size > engine.facts.vocabulary:
        engine.close()
        raise ModelRefused(
            f"{folder} has {tokenizer.vocab_size} tokens and {entry.path} only {engine.facts.vocabulary}.",
            hint="Serve the file with the tokenizer it was exported with.",
        )
    return Loaded(engine, tokenizer, template)


def _retire(engine: Engine) -> None:
    """Close an engine nobody finds any more, once its last requests are answered."""
    deadline = time.monotonic() + _FINISH_SECONDS
    while sum(engine.load()) and time.monotonic() < deadline:
        time.sleep(0.05)
    engine.close()
