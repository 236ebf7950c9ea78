"""The job kind ``report``: gathers, asks the one question, and writes the report folder in one piece."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import CorruptFolder, LuthierError
from appliance.events import EventType
from appliance.text import now_iso
from appliance.work import Work

from . import proof, story, use
from .document import Document, Section
from .facts import Facts, gather
from .markdown import render_markdown
from .page import render_page
from .question import ask


def run(work: Work) -> dict[str, Any]:
    """Write ``artifacts/report/``; a folder an earlier attempt committed is kept as it is."""
    target = work.folder.artifacts / "report"
    durable.sweep(work.folder.artifacts)
    committed = _committed(target)
    if committed is not None:
        return committed
    work.phase("gathering")
    facts = _asked(work, gather(work.job, now_iso()))
    work.phase("writing the report")
    document = compose(facts)
    said = {"question": facts.question, "answer": facts.answer, "unanswered": facts.unanswered}
    with durable.folder(target) as staged:
        durable.write_text(staged / "report.html", render_page(document))
        durable.write_text(staged / "report.md", render_markdown(document))
        durable.write_json(staged / "report.json", said)
    return _result(target, said)


def compose(facts: Facts) -> Document:
    """The document of these facts; parts nothing is known of are left out."""
    sections: tuple[Section | None, ...] = (
        story.asked(facts),
        proof.results(facts),
        proof.kept(facts),
        proof.answers(facts),
        story.data(facts),
        story.plan(facts),
        story.training(facts),
        use.files(facts),
        use.endpoint(facts),
        use.again(facts),
    )
    base = facts.evaluation.get("against")
    source = (facts.dataset.get("source") or {}).get("name")
    parts = [f"tuned from {base}" if base else "", f"on {source}" if source else "", f"· {facts.written_at[:10]}"]
    return Document(
        title=facts.name,
        subtitle=" ".join(part for part in parts if part),
        opening=proof.verdict(facts),
        sections=tuple(section for section in sections if section is not None),
        closing=f"Written by Luthier {facts.versions.get('luthier', '')} at {facts.written_at}, on this machine only.",
    )


def _asked(work: Work, facts: Facts) -> Facts:
    """The facts with the answer of the endpoint; an endpoint that does not answer is told, not raised."""
    if facts.endpoint is None or not facts.question:
        return facts
    work.phase("asking the endpoint")
    try:
        answer = ask(str(facts.endpoint.get("base_url")), str(facts.endpoint.get("model")), facts.question)
    except LuthierError as error:
        work.emit(EventType.WARNED, code=error.code, message=error.message)
        return replace(facts, unanswered=error.message)
    return replace(facts, answer=answer)


def _committed(target: Path) -> dict[str, Any] | None:
    """What an earlier attempt wrote, if it is whole; what is not whole is removed."""
    if not target.exists():
        return None
    try:
        durable.verify_folder(target)
        return _result(target, json.loads((target / "report.json").read_bytes()))
    except (CorruptFolder, OSError, ValueError):
        durable.remove(target)
        return None


def _result(target: Path, said: dict[str, Any]) -> dict[str, Any]:
    return {"html": str(target / "report.html"), "markdown": str(target / "report.md"), **said}
