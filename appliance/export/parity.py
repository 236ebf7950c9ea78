"""The job kind ``parity``: does each artifact, asked over HTTP, still answer like the trained model?

No torch here: the truth was written down by the export, and the artifact is asked through a server of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import ParityFailed
from appliance.export.compare import TIE, Tally, verdict
from appliance.export.formats import Format, parse_format, parse_formats
from appliance.export.private_server import PrivateServer
from appliance.export.reference import Probe, Reference, read_reference
from appliance.work import Work

_ENDED_SHARE = 0.5
_FAULTS_TOLD = 3


def run(work: Work) -> dict[str, Any]:
    """Check every artifact that was asked for. Raises ``ParityFailed`` when one of them fails."""
    inputs = work.job.inputs
    wanted = {format_.name for format_ in parse_formats(work.job.spec.get("formats") or ())}
    reference = read_reference(Path(inputs["reference"]))
    tokenizer = Path(inputs.get("tokenizer") or inputs["merged"])
    results = []
    for artifact in inputs["artifacts"]:
        work.phase(f"comparing {artifact['format']}")
        result = check_artifact(parse_format(artifact["format"]), Path(artifact["path"]), tokenizer, reference)
        results.append({**{key: artifact[key] for key in ("format", "path", "bytes")}, "parity": result})
    failed = [r for r in results if not r["parity"]["passed"] and (not wanted or r["format"] in wanted)]
    if failed:
        first = failed[0]
        raise ParityFailed(
            f"{len(failed)} of {len(results)} exports do not answer like the trained model. "
            f"{first['format']}: {' '.join(first['parity']['lines'])}",
            hint="The trained model itself is intact. Export again; if it fails again, choose a wider format.",
            where=first["path"],
            fixes=results,
        )
    return {"artifacts": results}


def check_artifact(format_: Format, path: Path, tokenizer: Path, reference: Reference) -> dict[str, Any]:
    """Compare one artifact with the reference; a fault is a result, not an exception."""
    tally = Tally()
    try:
        with servable(format_, path) as file, PrivateServer(file, tokenizer) as server:
            _compare_facts(server, reference, tally)
            _compare_tokens(server, reference, tally)
            served = {probe.name: server.score(probe.passage.ids) for probe in reference.probes}
            for probe in reference.probes:
                tally.add_passage(probe.passage, served[probe.name])
                tally.add_greedy(probe, served[probe.name])
            for passage in reference.texts:
                tally.add_passage(passage, server.score(passage.ids))
            _compare_answers(server, reference, format_, tally)
    except ParityFailed as error:
        tally.faults.append(error.message)
    passed, lines = verdict(format_, tally)
    return {
        "passed": passed,
        "lines": lines,
        "kl": tally.kl,
        "perplexity_ratio": tally.perplexity_ratio,
        "equal": tally.equal,
        "compared": tally.compared,
        "excused": tally.excused,
    }


@contextmanager
def servable(format_: Format, path: Path) -> Iterator[Path]:
    """The file to serve for an artifact: itself, or for a folder a 32-bit GGUF of what the folder holds now."""
    if format_.exporter == "gguf":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="luthier-parity-", dir=path.parent) as folder:
        out = Path(folder) / "whole.gguf"
        command = [sys.executable, "-m", "appliance.export.engine.gguf_file", str(path), str(out), "--precision", "f32"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            told = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
            raise ParityFailed(f"The folder cannot be read as a model: {told}")
        yield out


def _compare_facts(server: PrivateServer, reference: Reference, tally: Tally) -> None:
    """What the artifact says of itself: where answers end, how they begin, the template, the tokens."""
    facts = server.facts(reference.token_count)
    for what, found, expected in (
        ("Its end tokens", facts["ends"], sorted(reference.ends)),
        ("Its begin token", facts["begin"], reference.begin),
        ("Its tokens", facts["tokens"], reference.tokens),
    ):
        if found != expected:
            tally.faults.append(f"{what} are not the trained model's: {found} instead of {expected}.")
    if facts["template"] != reference.template:
        tally.faults.append("The chat template in the file is not the one the model was trained with.")


def _compare_tokens(server: PrivateServer, reference: Reference, tally: Tally) -> None:
    """The server must turn the same text into the same ids."""
    wrong = []
    for probe in reference.probes:
        asked: Mapping[str, Any] = {"messages": list(probe.messages)} if probe.messages else {"text": probe.text}
        if server.tokenize(asked) != probe.prompt:
            wrong.append(probe.name)
    if wrong:
        named = ", ".join(wrong[:_FAULTS_TOLD])
        tally.faults.append(f"{len(wrong)} of {len(reference.probes)} prompts become other tokens ({named}).")


def _compare_answers(server: PrivateServer, reference: Reference, format_: Format, tally: Tally) -> None:
    """Have the conversations answered through the public route, to their own end."""
    ended = expected = 0
    for probe in reference.probes:
        if not probe.messages:
            continue
        most = len(probe.answer) + 8 if probe.ended else max(1, len(probe.answer))
        text, reason = server.chat(probe.messages, most)
        if probe.ended:
            expected += 1
            ended += reason == "stop"
        if format_.exact and not _same_answer(probe, text, reason):
            tally.faults.append(f"Asked {probe.name}, it answers {text[:80]!r} instead of {probe.answer_text[:80]!r}.")
    if expected and ended < expected * _ENDED_SHARE:
        tally.faults.append(f"It ends {ended} of the {expected} answers that the trained model ends.")


def _same_answer(probe: Probe, text: str, reason: str) -> bool:
    """Whether an answer is the reference's, or strayed from it where the reference was undecided."""
    if min(probe.margins, default=1.0) < TIE or "\ufffd" in probe.answer_text:
        return True
    return text == probe.answer_text and reason == ("stop" if probe.ended else "length")
