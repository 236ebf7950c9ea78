"""The job that takes a file in, and the same look at a file without keeping anything."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.data import verdict
from appliance.data.cage import Tell, limits_for, run_caged
from appliance.data.intake import Intake, Tick, describe, look_at, take_in, write_ledger, write_splits
from appliance.data.ledger import State
from appliance.data.lengths import Ruler, read_ruler
from appliance.data.quality_findings import score_of
from appliance.data.source import Source, copy_source, file_size, find_source
from appliance.data.unpack import is_dataset_folder, join_folder, open_up
from appliance.errors import FileNotFound, InvalidBaseModel
from appliance.events import EventType
from appliance.jobdir import Job
from appliance.spec import DataSpec
from appliance.text import now_iso
from appliance.work import Work

SCHEMA = "luthier.dataset/1"
_SOURCE = "source"
_REPLAY_SOURCE = "replay-source"


def run(work: Work) -> dict[str, Any]:
    """Take the file in as ``artifacts/dataset``; a folder that an earlier attempt finished is used as it is."""
    target = work.folder.artifacts / "dataset"
    durable.make_folder(work.folder.artifacts)
    durable.sweep(work.folder.artifacts)
    if not target.exists():
        spec = _spec(work.job.spec["data"])
        limits = limits_for(file_size(spec.path) + file_size(spec.replay))
        name = Path(spec.path or "").name
        with durable.folder(target) as staged:
            described = run_caged(lambda tell: _in_the_child(work.job, staged, tell), limits, _ticking(work), name)
            durable.write_json(staged / "dataset.json", described)
    else:
        durable.verify_folder(target)
    stored: dict[str, Any] = json.loads((target / "dataset.json").read_bytes())
    for finding in stored["findings"]:
        if finding["severity"] == "warning":
            work.emit(EventType.WARNED, code=finding["code"], message=finding["message"])
    return {"dataset": {"path": str(target), **stored}}


def check(
    path: Path | str,
    data_spec: DataSpec,
    base: Path | str | None = None,
    sequence_length: int | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """What taking the file in would find, as ``luthier.dataset/1``; nothing is kept.

    What has to lie on the disk meanwhile lies in a folder of its own in ``scratch``.

    Raises ``FileNotFound``, ``UnreadableData``, ``DataRejected``, ``UsageError`` and ``InvalidBaseModel``.
    """
    with tempfile.TemporaryDirectory(prefix="luthier-check-", dir=scratch) as folder:
        source = _named(path, Path(folder))
        ruler = _ruler(data_spec, base, sequence_length)
        question = _Question(data_spec, ruler, None if base is None else str(base))
        intake, held = _sort(source, question, Path(folder), _quiet)
        replay = _replay(question, held, Path(folder), _quiet) if data_spec.replay else None
    return _describe(intake, question, _stem(source), replay)


@dataclass(frozen=True)
class _Question:
    """What is asked of a file."""

    spec: DataSpec
    ruler: Ruler | None
    base: str | None


def _in_the_child(job: Job, staged: Path, tell: Tell) -> dict[str, Any]:
    """What is done with the file where it can do no harm; everything it needs is loaded here."""
    spec, base = _spec(job.spec["data"]), job.inputs.get("base")
    question = _Question(spec, _ruler(spec, base, job.spec.get("sequence_length")), base)
    return _take_in_copy(question, staged, str(job.spec.get("name") or ""), lambda what, done: tell([what, done]))


def _take_in_copy(question: _Question, staged: Path, name: str, tick: Tick) -> dict[str, Any]:
    """Copy the file first and read the copy, so that the dataset is what its source says."""
    spec = question.spec
    if spec.path is None:
        raise FileNotFound("No dataset file was named.", hint="Give data.path.")
    original = _named(spec.path, staged)
    tick("copying the file", 0)
    digest = _copy(original, staged / _SOURCE)
    if original.path.parent == staged:
        original.path.unlink()
    source = replace(original, path=staged / _SOURCE)
    intake, held = _sort(source, question, staged, tick)
    write_ledger(intake.ledger, staged / "ledger.jsonl")
    replay = _replay(question, held, staged, tick) if spec.replay else None
    described = _describe(intake, question, name or _stem(original), replay)
    return described | {
        "source": {"name": original.name, "bytes": original.size, "sha256": digest},
        "created_at": now_iso(),
    }


def _sort(source: Source, question: _Question, folder: Path, tick: Tick) -> tuple[Intake, dict[str, str]]:
    """Sort the rows of a file into splits in ``folder``. Raises ``DataRejected`` when too little is left."""
    tick("looking at the file", 0)
    plain = open_up(source, folder)
    intake, rows = look_at(plain, question.spec)
    spool = take_in(intake, rows, question.ruler, folder, tick)
    if plain != source:
        plain.path.unlink()
    verdict.stop_when_asked(intake, question.ruler)
    held = write_splits(intake, spool, question.spec, folder, tick)
    verdict.reject_when_useless(intake, question.ruler)
    return intake, held


def _replay(question: _Question, held: Mapping[str, str], folder: Path, tick: Tick) -> dict[str, Any]:
    """Take the replay file in as ``replay.jsonl``, without rows that ask what is held out."""
    path = question.spec.replay
    assert path is not None
    original = find_source(path)
    inner = folder / ".replay"
    inner.mkdir()
    digest = _copy(original, folder / _REPLAY_SOURCE)
    plain = replace(question.spec, format="auto", mapping={}, validation=0.0, test=0.0)
    copy = open_up(replace(original, path=folder / _REPLAY_SOURCE), inner)
    intake, rows = look_at(copy, plain)
    spool = take_in(intake, rows, question.ruler, inner, tick)
    for group in held:
        intake.groups.pop(group, None)
    kept = _without(spool, held, intake, folder / "replay.jsonl")
    shutil.rmtree(inner)
    verdict.reject_when_useless(intake, question.ruler)
    return {
        "examples": kept,
        "rows": intake.ledger.counts(),
        **describe(intake),
        "source": {"name": original.name, "bytes": original.size, "sha256": digest},
        "findings": [finding.as_dict() for finding in verdict.findings(intake, question.ruler)],
    }


def _without(spool: Path, held: Mapping[str, str], intake: Intake, target: Path) -> int:
    """Write what is left of the replay rows; returns how many."""
    kept = 0
    with spool.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as stream:
        for line in lines:
            example = json.loads(line)
            settled = intake.ledger.state(example["row"]) is not None
            if example["group"] in held:
                if not settled:
                    intake.ledger.settle(example["row"], State.DUPLICATE, of=None, message="asks what is held out")
                continue
            kept += 1
            stream.write(line)
            if not settled:
                intake.ledger.settle(example["row"], State.KEPT)
    spool.unlink()
    return kept


def _describe(intake: Intake, question: _Question, name: str, replay: dict[str, Any] | None) -> dict[str, Any]:
    ruler = question.ruler
    score = score_of(intake.quality, intake.ledger)
    return {
        "schema": SCHEMA,
        "name": name,
        **describe(intake),
        "rows": intake.ledger.counts(),
        "splits": dict(intake.splits),
        "findings": [finding.as_dict() for finding in verdict.findings(intake, ruler)],
        "quality": {"score": score.value, **asdict(score)},
        "tokens": intake.tokens.as_dict(),
        "sequence_length": ruler.limit if ruler else None,
        "template": ruler.template.source if ruler else None,
        "base": question.base,
        "spec": asdict(question.spec),
        "replay": replay,
    }


def _named(path: Path | str, folder: Path) -> Source:
    """A file to be taken in; the source kept in a dataset folder has the name it had.

    A folder of Hugging Face's datasets is joined to one file in ``folder`` first.
    """
    if is_dataset_folder(path):
        return join_folder(Path(path).absolute(), folder)
    source = find_source(path)
    described = source.path.parent / "dataset.json"
    if source.name != _SOURCE or not described.is_file():
        return source
    name = json.loads(described.read_bytes())["source"]["name"]
    return replace(source, name=str(name))


def _stem(source: Source) -> str:
    return Path(source.name).stem


def _copy(source: Source, target: Path) -> str:
    with target.open("wb") as stream:
        return copy_source(source, stream)


def _spec(data: Mapping[str, Any]) -> DataSpec:
    return DataSpec(**dict(data))


def _ruler(spec: DataSpec, base: Path | str | None, sequence_length: int | None) -> Ruler | None:
    if base is None:
        return None
    folder = Path(base)
    if not folder.is_dir():
        raise InvalidBaseModel(f"The base model {folder} is not a folder.", where=str(folder))
    return read_ruler(folder, sequence_length, spec.over_length)


def _ticking(work: Work) -> Callable[[list[Any] | None], None]:
    """Hands on what the child tells; raises ``Interrupted`` when the job is to stop."""
    said: list[str] = []

    def heard(told: list[Any] | None) -> None:
        work.stop.check()
        what, done = told or (None, 0)
        if what and said[-1:] != [what]:
            said.append(what)
            work.phase(what)
        elif done:
            work.emit(EventType.PROGRESS, done=done, total=None, unit="rows")

    return heard


def _quiet(_what: str, _done: int) -> None:
    """Nobody watches."""
