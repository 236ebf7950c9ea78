"""What was made, how to use it, and what it would take to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from appliance.text import bytes_text, duration_text

from .document import Block, Cell, Code, Pairs, Paragraph, Section, Table, Tone
from .facts import Facts
from .question import api_root

EXAMPLE_QUESTION = "Hello!"


def files(facts: Facts) -> Section | None:
    """The exports with their sizes, and whether each answers like the trained model."""
    rows = [_file_row(artifact) for artifact in facts.artifacts]
    if facts.merged:
        rows.append((Cell(text="merged"), Cell(text=facts.merged, code=True), "–", "Hugging Face folder"))
    if facts.model.get("path"):
        kind = "adapter weights" if facts.model.get("kind") == "adapter" else "tuned model"
        rows.append((Cell(text=kind), Cell(text=str(facts.model["path"]), code=True), "–", "as trained"))
    if not rows:
        return None
    blocks: list[Block] = [
        Table(("What", "Where", "Size", "Answers like the trained model?"), tuple(rows), frozenset({2}))
    ]
    for artifact in facts.artifacts:
        lines = (artifact.get("parity") or {}).get("lines") or []
        if lines:
            listed = tuple((str(line),) for line in lines)
            blocks.append(Table((f"Parity of {artifact.get('format')}",), listed))
    return Section("files", "What was made", tuple(blocks))


def endpoint(facts: Facts) -> Section | None:
    """The question that was asked, and the same from a shell and from Python."""
    if facts.endpoint is None and not facts.unanswered:
        return None
    blocks: list[Block] = []
    if facts.answer is not None:
        blocks.append(Pairs((("Asked over the endpoint", facts.question or ""), ("Answer", facts.answer))))
    elif facts.unanswered:
        blocks.append(Paragraph(f"The question was asked and not answered. {facts.unanswered}", "warn"))
    if facts.endpoint:
        root, model = api_root(str(facts.endpoint.get("base_url"))), str(facts.endpoint.get("model"))
        blocks += _recipes(root, model, facts.question or EXAMPLE_QUESTION)
    return Section("use", "How to use it", tuple(blocks))


def again(facts: Facts) -> Section:
    """What decides the result, so that it can be made again and compared."""
    source, job = facts.dataset.get("source") or {}, facts.job
    data_spec: Mapping[str, Any] = (job.spec.get("data") or {}) if job else {}
    pairs: list[tuple[str, str | Cell]] = []

    def add(name: str, value: Any, *, code: bool = False) -> None:
        if value is not None and value != "":
            pairs.append((name, Cell(text=str(value), code=code)))

    add("Pipeline", facts.pipeline, code=True)
    add("Train job", f"{job.id}, given {job.created_at}" if job else None)
    add("Fingerprint of the job", job.as_dict()["sha256"] if job else None, code=True)
    add("Fingerprint of the data", source.get("sha256"), code=True)
    add("Fingerprint of the weights", facts.weights_sha256, code=True)
    add("Seed of the training", facts.plan.get("seed"))
    add("Seed of the split", data_spec.get("seed"))
    add("Seed of the tests", facts.evaluation.get("seed"))
    add("Time of the training", duration_text(facts.training["seconds"]) if facts.training.get("seconds") else None)
    add("From its start to its end", duration_text(facts.curve.seconds) if facts.curve.seconds else None)
    add("Device", ", ".join(facts.plan.get("devices") or ()) or None)
    add("Machine", facts.machine)
    add("Versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items()))
    return Section("again", "To make it again", (Pairs(tuple(pairs)),))


def _file_row(artifact: Mapping[str, Any]) -> tuple[str | Cell, ...]:
    parity = artifact.get("parity") or {}
    tone: Tone = "plain"
    word = "not compared"
    if parity:
        word, tone = ("yes", "good") if parity.get("passed") else ("no", "bad")
    details = []
    if parity.get("compared"):
        details.append(f"{parity.get('equal', 0)} of {parity['compared']} tokens equal")
    if parity.get("kl") is not None:
        details.append(f"KL {parity['kl']:.2g}")
    digest = f"sha256 {str(artifact['sha256'])[:16]}…" if artifact.get("sha256") else ""
    return (
        str(artifact.get("format") or ""),
        Cell(text=str(artifact.get("path") or ""), note=digest, code=True),
        bytes_text(artifact.get("bytes")),
        Cell(text=word, note=", ".join(details), tone=tone),
    )


def _recipes(root: str, model: str, question: str) -> list[Block]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": question}]}, ensure_ascii=False)
    curl = (
        f"curl {shlex.quote(f'{root}/chat/completions')} \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    )
    # JSON writes strings that Python reads as well.
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in (("r", root), ("m", model), ("q", question))}
    python = (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url={quoted["r"]}, api_key="unused")\n'
        "reply = client.chat.completions.create(\n"
        f"    model={quoted['m']},\n"
        f'    messages=[{{"role": "user", "content": {quoted["q"]}}}],\n'
        ")\nprint(reply.choices[0].message.content)"
    )
    return [
        Code(f"luthier run {shlex.quote(model)} {shlex.quote(question)}", "sh", "From here"),
        Code(curl, "sh", "From a shell"),
        Code(python, "python", "From Python"),
    ]
