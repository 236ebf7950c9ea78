"""A model of what a disk may hold after the power fails, run over the real order of operations of ``durable``.

A data write survives for certain once its file was synced, a name once its folder was; of everything later any
part may survive, torn or whole. Every such state is laid out on disk and read by the real loader.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance import durable
from appliance.errors import CorruptFolder

Operation = tuple[str, str, Any]
_recording: list[Operation] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "luthier.durable" or _recording is None:
        return
    kind, path, extra = arguments
    if kind == "write" and extra is None:
        extra = Path(path).read_bytes()
    _recording.append((kind, path, extra))


sys.addaudithook(_hook)


def record(action: Callable[[], object]) -> list[Operation]:
    global _recording
    _recording = []
    try:
        action()
        return _recording
    finally:
        _recording = None


@dataclass
class Node:
    data: bytes = b""
    entries: dict[str, Node] | None = None


@dataclass
class Effect:
    """One change that the disk may or may not have kept."""

    apply: Callable[[bytes | None], None]
    node: int
    durable: bool = False
    data: bytes | None = None


@dataclass
class Disk:
    """The persisted tree, built again for every choice of surviving effects."""

    root: Path
    top: Node = field(default_factory=lambda: Node(entries={}))

    def replay(self, operations: list[Operation], choose: Callable[[int, bool], str]) -> None:
        """``choose(index of effect, is durable)`` → ``keep``, ``drop``, ``half`` or ``zero``."""
        effects = list(self._effects(operations))
        for index, effect in enumerate(effects):
            fate = "keep" if effect.durable else choose(index, effect.durable)
            if fate == "drop":
                continue
            data = effect.data
            if data is not None and fate == "half":
                data = data[: len(data) // 2]
            elif data is not None and fate == "zero":
                data = bytes(len(data))
            effect.apply(data)

    def _effects(self, operations: list[Operation]) -> Iterator[Effect]:
        live: dict[str, Node] = {str(self.root): self.top}
        effects: list[Effect] = []

        def add(folder: Node, name: str, node: Node) -> Effect:
            assert folder.entries is not None
            return Effect(partial(_set_entry, folder.entries, name, node), id(folder))

        for kind, text, extra in operations:
            path = Path(text)
            if kind in ("fsync", "fsyncdir"):
                for effect in effects:
                    effect.durable |= effect.node == id(live.get(text))
            elif kind in ("mkdir", "write"):
                if text not in live:
                    live[text] = Node(entries={} if kind == "mkdir" else None)
                    effects.append(add(live[str(path.parent)], path.name, live[text]))
                if kind == "write":
                    node = live[text]
                    effects.append(
                        Effect(lambda data, node=node: setattr(node, "data", data), id(node), data=extra)  # type: ignore[misc]
                    )
            elif kind == "rename":
                target = Path(extra)
                folder, node = live[str(target.parent)], live[text]

                def move(
                    _: object, folder: Node = folder, old: str = path.name, new: str = target.name, node: Node = node
                ) -> None:
                    assert folder.entries is not None
                    folder.entries.pop(old, None)
                    folder.entries[new] = node

                effects.append(Effect(move, id(folder)))
                live = {extra + key.removeprefix(text) if key.startswith(text) else key: n for key, n in live.items()}
        return iter(effects)

    def lay_out(self, where: Path) -> None:
        def write(node: Node, path: Path) -> None:
            if node.entries is None:
                path.write_bytes(node.data)
                return
            path.mkdir(exist_ok=True)
            for name, child in node.entries.items():
                write(child, path / name)

        write(self.top, where)


def crash_states(root: Path, operations: list[Operation], old: Callable[[Disk], None]) -> Iterator[tuple[int, Disk]]:
    """Every prefix of the operations × what may have survived of the part that was not synced."""
    for length in range(len(operations) + 1):
        prefix = operations[:length]
        count = sum(kind not in ("fsync", "fsyncdir") for kind, *_ in prefix) * 2
        choices: list[Callable[[int, bool], str]] = [
            lambda *_: "keep",
            lambda *_: "drop",
            lambda *_: "half",
            lambda *_: "zero",
        ]
        choices += [lambda index, _, n=n: "drop" if index == n else "keep" for n in range(count)]  # type: ignore[misc]
        choices += [lambda index, _, n=n: "keep" if index == n else "drop" for n in range(count)]  # type: ignore[misc]
        for choose in choices:
            disk = Disk(root)
            old(disk)
            disk.replay(prefix, choose)
            yield length, disk


def test_a_file_is_the_old_or_the_new_one_after_any_power_loss(tmp_path: Path) -> None:
    root = tmp_path / "live"
    root.mkdir()
    target = root / "state.json"
    durable.write_json(target, {"value": "old"})
    before = target.read_bytes()
    operations = record(lambda: durable.write_json(target, {"value": "new"}))
    states = 0
    for number, (length, disk) in enumerate(
        crash_states(root, operations, lambda disk: _put(disk, "state.json", before))
    ):
        where = tmp_path / f"crash-{number}"
        disk.lay_out(where)
        value = json.loads((where / "state.json").read_bytes())["value"]
        assert value in ("old", "new")
        assert length < len(operations) or value == "new", "an acknowledged write was lost"
        states += 1
    assert states > 20


def test_a_committed_folder_is_whole_or_absent_after_any_power_loss(tmp_path: Path) -> None:
    root = tmp_path / "live"
    root.mkdir()

    def commit() -> None:
        with durable.folder(root / "step-000010") as staged:
            (staged / "weights.safetensors").write_bytes(b"w" * 1000)
            (staged / "state.json").write_bytes(b'{"step": 10}')

    operations = record(commit)
    states = 0
    for number, (length, disk) in enumerate(crash_states(root, operations, lambda disk: None)):
        where = tmp_path / f"crash-{number}"
        disk.lay_out(where)
        committed = where / "step-000010"
        if committed.exists():
            durable.verify_folder(committed)
            assert (committed / "weights.safetensors").read_bytes() == b"w" * 1000
        else:
            assert length < len(operations), "an acknowledged folder was lost"
        durable.sweep(where)
        assert not list(where.glob(f"{durable.PARTIAL}*"))
        states += 1
    assert states > 100


def test_the_model_finds_the_fault_of_a_writer_that_does_not_sync(tmp_path: Path) -> None:
    """The oracle itself is checked: without the syncs it must report lost or torn files."""
    root = tmp_path / "live"
    root.mkdir()
    target = root / "state.json"
    operations = [
        step for step in record(lambda: durable.write_json(target, {"a": 1})) if not step[0].startswith("fsync")
    ]
    bad = 0
    for number, (length, disk) in enumerate(crash_states(root, operations, lambda disk: None)):
        where = tmp_path / f"crash-{number}"
        disk.lay_out(where)
        try:
            json.loads((where / "state.json").read_bytes())
        except FileNotFoundError:
            bad += length == len(operations)
        except ValueError:
            bad += 1
    assert bad > 0


@pytest.mark.parametrize("mutation", ["flip", "truncate", "delete", "extra", "empty-manifest"])
def test_verification_finds_every_mutation_of_every_file(tmp_path: Path, mutation: str) -> None:
    for name in ("a.bin", "inner/b.bin", durable.MANIFEST):
        folder = tmp_path / f"{mutation}-{name.replace('/', '-')}"
        with durable.folder(folder) as staged:
            (staged / "inner").mkdir()
            (staged / "a.bin").write_bytes(bytes(range(200)))
            (staged / "inner" / "b.bin").write_bytes(bytes(range(100)))
        durable.verify_folder(folder)
        _mutate(folder, folder / name, mutation)
        with pytest.raises(CorruptFolder):
            durable.verify_folder(folder)


def _mutate(folder: Path, file: Path, mutation: str) -> None:
    data = file.read_bytes()
    if mutation == "flip":
        middle = data.find(b'"sha256": "') + 12 if file.name == durable.MANIFEST else len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif mutation == "truncate":
        file.write_bytes(data[:-1] if file.name != durable.MANIFEST else data[:-3])
    elif mutation == "delete":
        file.unlink()
    elif mutation == "extra":
        file.with_name("stranger").write_bytes(b"")
    else:
        (folder / durable.MANIFEST).write_bytes(b"")


def _set_entry(entries: dict[str, Node], name: str, node: Node, _: object) -> None:
    entries[name] = node


def _put(disk: Disk, name: str, data: bytes) -> None:
    assert disk.top.entries is not None
    disk.top.entries[name] = Node(data=data)
