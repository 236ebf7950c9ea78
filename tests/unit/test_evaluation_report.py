"""The report: complete, self-contained, and safe whatever the strings in it say."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from appliance.data.example import Example, Message
from appliance.errors import NetworkNotAllowed
from appliance.evaluation.exercise import Exercise, Passage
from appliance.evaluation.report import run
from appliance.evaluation.report.charts import Scale, decimated, loss_chart, smoothed, sparkline, stacked
from appliance.evaluation.report.facts import read_curve
from appliance.evaluation.report.markdown import code_span, fenced, plain
from appliance.evaluation.report.question import Unanswered, ask, is_loopback
from appliance.evaluation.scores import Answered, Measured, evaluation, samples
from appliance.events import EventType, EventWriter
from appliance.jobdir import Job, JobDir
from appliance.work import Work

EVIL = '<script src="http://evil.example/x.js">alert(1)</script>"><img src=x onerror=alert(2)>\u202e|`*_[a](http://b)'

LOADING = {"script", "img", "link", "iframe", "object", "embed", "base", "form", "foreignobject", "use"}
CREATED = "2026-11-23T20:00:00.000Z"


class Endpoint(BaseHTTPRequestHandler):
    """A stand-in for an inference server: it says what it was asked."""

    status = 200
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append({"path": self.path, **body})
        reply = {"choices": [{"message": {"role": "assistant", "content": f" It is {EVIL} "}}]}
        data = json.dumps(reply if self.status == 200 else {"error": {"message": "no"}}).encode()
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[type[Endpoint], str]]:
    kind = type("OneEndpoint", (Endpoint,), {"asked": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def evaluated() -> dict[str, Any]:
    """What an evaluate job hands on, from made-up answers of which some are hostile."""
    results: dict[str, Any] = {"held_out": [], "held_out_loss": [], "retention": []}
    for number in range(60):
        prompt = (Message(role="user", content=f"{EVIL} How is harp {number} made?"),)
        exercise = Exercise(prompt=prompt, expected="Use the west hall and three bells.", group=str(number))
        right, wrong = exercise.expected, f"Reversed: {EVIL}" if number % 2 else ""
        results["held_out"].append(Answered(exercise=exercise, base=wrong, tuned=right if number % 10 else wrong))
        passage = Passage(example=Example(row=number, text="t"), group=str(number))
        loss = 8.0 + math.sin(number)
        results["held_out_loss"].append(Measured(passage=passage, tokens=10, base=4 * loss, tuned=loss / 3))
    for number in range(80):
        skill = ("reverse words", EVIL, "sort", "lookup")[number % 4]
        prompt = (Message(role="user", content="Sort: b a"),)
        exercise = Exercise(prompt=prompt, expected="Sorted: a b", group=str(number), skill=skill)
        can = "Sorted: a b" if skill != "lookup" else "no"
        results["retention"].append(Answered(exercise=exercise, base=can, tuned=can if number % 40 else "lost"))
    return {"evaluation": evaluation("harps", "starter", results), "samples": samples(results), "answers": "/a.jsonl"}


def trained(folder: Path) -> JobDir:
    """A train job's folder with a curve, an interruption and a hostile warning."""
    jobdir = JobDir(folder)
    spec = {
        "training": {"method": "lora", "goal": "balanced", "rank": 16, "seed": 0},
        "data": {"replay_share": 0.5, "seed": 3},
    }
    jobdir.create(Job(id="j-train1", kind="train", name="harps", spec=spec, plan={"seed": 0}))
    for attempt, (first, last) in enumerate(((1, 90), (81, 161)), 1):
        writer = EventWriter(jobdir.events, attempt=attempt)
        writer.emit(EventType.STARTED, kind="train", pid=1)
        for step in range(first, last):
            loss = 0.25 + 3.6 * math.exp(-step / 25) * (1 + 0.25 * math.sin(7 * step))
            writer.emit(EventType.STEP, step=step, loss=loss, learning_rate=4e-3 * math.sin(math.pi * step / 165))
            if step % 20 == 0:
                writer.emit(EventType.EVALUATED, step=step, loss=loss * 1.1)
        writer.emit(EventType.WARNED, code="odd", message=f"Something odd: {EVIL}")
        writer.close()
    return jobdir


def inputs(tmp_path: Path, base_url: str | None) -> dict[str, Any]:
    artifact = {
        "format": "gguf:q8_0",
        "path": "/home/jobs/j-1/artifacts/gguf/harps-q8_0.gguf",
        "bytes": 4_600_000,
        "sha256": "ab" * 32,
        "parity": {"passed": True, "lines": [f"KL is small {EVIL}."], "kl": 0.0004, "equal": 310, "compared": 312},
    }
    reasons = {"micro_batch": "8, because it needs 310 MB", "rank": f"16, because {EVIL}"}
    plan = {"method": "lora", "seed": 0, "devices": ["cpu"], "reasons": reasons, "memory": {"disk_bytes": 9e7}}
    dataset = {
        "path": "/data",
        "name": EVIL,
        "format": "messages",
        "source": {"name": f"harps{EVIL}.jsonl", "bytes": 312_000, "sha256": "cd" * 32},
        "rows": {"total": 1200, "kept": 980, "held_out": 170, "duplicate": 30, "over_length": 20, "fixed": 4},
        "splits": {"train": 980, "validation": 60, "test": 110},
        "findings": [{"code": "odd", "severity": "warning", "message": EVIL, "where": "line 3", "fix": EVIL}],
    }
    return {
        "ingest": {"dataset": dataset},
        "plan": {"plan": plan},
        "train": {
            "model": {"path": "/jobs/t/artifacts/model", "kind": "adapter", "base": f"/models/{EVIL}"},
            "training": {"steps": 160, "first_loss": 3.9, "final_loss": 0.26, "tokens": 812345, "seconds": 61.2},
        },
        "evaluate": evaluated(),
        "export": {"merged": "/jobs/e/artifacts/merged", "artifacts": [artifact]},
        "parity": {"artifacts": [artifact]},
        "train_folder": str(trained(tmp_path / "train").path),
        "endpoint": {"base_url": base_url, "model": "harps"} if base_url else None,
    }


def report(folder: Path, given: dict[str, Any], question: str | None = None) -> tuple[dict[str, Any], list[Any]]:
    jobdir = JobDir(folder)
    spec = {"name": f"harps {EVIL}", "question": question, "pipeline": "p-abc123"}
    jobdir.create(Job(created_at=CREATED, id="j-rep001", kind="report", name="harps", spec=spec, inputs=given))
    events: list[Any] = []
    work = Work(jobdir.read(), jobdir, 1, lambda type_, **data: events.append((type_, data)))
    return run(work), events


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a page could load or run."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def test_a_page_is_whole_needs_nothing_else_and_runs_nothing(
    tmp_path: Path, endpoint: tuple[type[Endpoint], str]
) -> None:
    url = endpoint[1]
    result, _ = report(tmp_path / "job", inputs(tmp_path, url), "How is it made?")
    html = Path(result["html"]).read_text(encoding="utf-8")
    page = read(html)
    assert not page.tags & LOADING
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "src", "xlink:href"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\((?!#plot\))|@import", html)
    # No address is anywhere but in text, and of those in text only the endpoint's is ours.
    addresses = set(re.findall(r"https?://[\w.:]+", html))
    assert addresses == {url.removesuffix("/v1"), "http://evil.example", "http://b"}
    assert not [value for _, value in page.attributes if "://" in value]
    assert len(page.ids) == len(set(page.ids))
    assert "\u202e" not in html


def test_a_page_tells_the_whole_story(tmp_path: Path, endpoint: tuple[type[Endpoint], str]) -> None:
    kind, url = endpoint
    result, _ = report(tmp_path / "job", inputs(tmp_path, url), "How is it made?")
    page = read(Path(result["html"]).read_text(encoding="utf-8"))
    words = " ".join(page.words)
    assert {"asked", "results", "kept", "answers", "data", "plan", "training", "files", "use", "again"} <= set(page.ids)
    for wanted in (
        "Better, and did not forget",
        "[79.9, 95.3]",
        "p < 0.0001",
        "the base cannot do it",
        "1,200 rows",
        "it needs 310 MB",
        "4.6 MB",
        "310 of 312 tokens equal",
        "curl",
        "from openai import OpenAI",
        "cd" * 32,
        "Attempts",
    ):
        assert wanted in words, wanted
    assert '"How is it made?"' in words
    assert kind.asked == [
        {
            "path": "/v1/chat/completions",
            "model": "harps",
            "messages": [{"role": "user", "content": "How is it made?"}],
            "temperature": 0,
            "max_tokens": 128,
        }
    ]
    assert result["answer"] == f"It is {EVIL}"


def test_the_markdown_tells_the_same_and_cannot_be_broken_out_of(
    tmp_path: Path, endpoint: tuple[type[Endpoint], str]
) -> None:
    markdown = pytest.importorskip("markdown_it")
    result, _ = report(tmp_path / "job", inputs(tmp_path, endpoint[1]), "How is it made?")
    source = Path(result["markdown"]).read_text(encoding="utf-8")
    # As a renderer that lets HTML through would show it.
    page = read(markdown.MarkdownIt("commonmark", {"html": True}).enable("table").render(source))
    assert not page.tags & {"script", "img", "a"}
    words = " ".join(page.words)
    assert "Better, and did not forget" in words
    assert "<script src=" in words
    assert source.count("\n## ") == 10
    rows = [line for line in source.splitlines() if line.startswith("| lookup")]
    assert rows == ["| lookup | 20 | 0.0 % | 0.0 % | – | the base cannot do it |"]


def test_a_second_attempt_keeps_what_the_first_committed_and_mends_what_it_did_not(
    tmp_path: Path, endpoint: tuple[type[Endpoint], str]
) -> None:
    kind, url = endpoint
    given = inputs(tmp_path, url)
    first, _ = report(tmp_path / "job", given, "How?")
    before = Path(first["html"]).read_bytes()
    assert report(tmp_path / "job", given, "How?")[0] == first
    assert len(kind.asked) == 1
    Path(first["html"]).write_bytes(before[:100])
    leftover = tmp_path / "job" / "artifacts" / ".partial-report-1"
    leftover.mkdir()
    assert report(tmp_path / "job", given, "How?")[0] == first
    assert len(Path(first["html"]).read_bytes()) > 1000
    assert not leftover.exists()


def test_the_report_of_an_incomplete_pipeline_is_shorter(tmp_path: Path) -> None:
    result, _ = report(tmp_path / "job", {"ingest": None, "train": {}, "train_folder": None, "endpoint": None}, "Q?")
    page = read(Path(result["html"]).read_text(encoding="utf-8"))
    assert {"asked", "again"} == set(page.ids)
    assert "Not evaluated" in " ".join(page.words)
    assert (result["question"], result["answer"]) == ("Q?", None)


def test_an_endpoint_that_refuses_is_told_in_the_report_and_fails_nothing(
    tmp_path: Path, endpoint: tuple[type[Endpoint], str]
) -> None:
    kind, url = endpoint
    kind.status = 400
    result, events = report(tmp_path / "job", inputs(tmp_path, url), "How?")
    assert result["answer"] is None
    assert "status 400" in Path(result["markdown"]).read_text(encoding="utf-8")
    assert any(data.get("code") == "unanswered" for _, data in events)


def test_nobody_but_this_machine_is_asked(endpoint: tuple[type[Endpoint], str]) -> None:
    for url in (
        "http://10.0.0.1/v1",
        "http://example.org",
        "https://127.0.0.1/v1",
        "file:///etc/passwd",
        "http://0.0.0.0",
    ):
        assert not is_loopback(url)
        with pytest.raises(NetworkNotAllowed):
            ask(url, "m", "q")
    for url in ("http://127.0.0.1:8777/v1", "http://localhost:1", "http://[::1]:8777"):
        assert is_loopback(url)


def test_a_redirect_is_not_followed(endpoint: tuple[type[Endpoint], str]) -> None:
    kind, url = endpoint
    kind.status = 302
    with pytest.raises(Unanswered, match="status 302"):
        ask(url, "m", "q")
    assert len(kind.asked) == 1


def test_a_server_that_is_not_there_is_waited_for_and_then_named() -> None:
    with pytest.raises(Unanswered, match="no answer within 1 s"):
        ask("http://127.0.0.1:9/v1", "m", "q", seconds=1.0)


def test_a_step_done_twice_counts_once(tmp_path: Path) -> None:
    curve = read_curve(trained(tmp_path / "train").events)
    assert [step for step, _ in curve.loss] == list(range(1, 161))
    assert [step for step, _ in curve.validation] == list(range(20, 161, 20))
    assert curve.attempts == 2
    assert len(curve.warnings) == 1


def test_drawings_are_well_formed_and_stay_inside_their_frame() -> None:
    train = [(float(step), 4.0 * math.exp(-step / 40) + 0.1) for step in range(2000)]
    drawing = loss_chart(train, train[::200])
    root = ElementTree.fromstring(drawing)
    assert "logarithmic" in drawing
    for line in root.iter("line"):
        assert 0 <= float(line.attrib["y1"]) <= 300
    numbers = [float(n) for path in root.iter("path") for n in re.findall(r"-?\d+\.\d", path.attrib["d"])]
    assert all(math.isfinite(n) and -1 <= n <= 761 for n in numbers)
    ElementTree.fromstring(stacked([("kept", 3), ("held_out", 1), ("invalid", 0)]))
    assert loss_chart([], []) == stacked([("kept", 0)]) == ""
    assert loss_chart([(1.0, 0.5), (2.0, 0.5)], [])


def test_scales_have_round_ticks_inside_their_range() -> None:
    assert Scale(0.0, 1.04, 0, 100).ticks() == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert Scale(0.2, 4.1, 0, 100, is_log=True).ticks() == pytest.approx([0.2, 0.5, 1.0, 2.0])
    for low, high in ((0.0, 160.0), (1.0, 2.0), (0.0, 0.004), (81.0, 99_000.0)):
        ticks = Scale(low, high, 0, 1).ticks()
        assert 3 <= len(ticks) <= 8
        assert low - 1e-9 <= ticks[0] < ticks[-1] <= high + 1e-9


def test_decimation_keeps_every_spike_and_smoothing_keeps_a_constant() -> None:
    points = [(float(step), 1.0) for step in range(5000)]
    points[3333] = (3333.0, 9.0)
    kept = decimated(points)
    assert len(kept) <= 610
    assert (3333.0, 9.0) in kept
    assert kept == sorted(kept)
    assert all(value == pytest.approx(1.0) for _, value in smoothed(points[:3000]))
    assert sparkline([(0, 0.0), (1, 7.0)]) == "▁█"


@pytest.mark.parametrize(
    "text",
    [
        "# title",
        "- item",
        "1. one",
        "12) two",
        "| a | b |",
        "<b>",
        "*a* _b_ `c`",
        "[x](y)",
        "a\nb",
        "~~~",
        "---",
        "+5.0",
    ],
)
def test_any_text_comes_out_of_markdown_as_it_went_in(text: str) -> None:
    markdown = pytest.importorskip("markdown_it")
    renderer = markdown.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = read(renderer.render(plain(text)))
    assert page.tags == {"p"}
    assert "".join(page.words).strip() == text.replace("\n", " ")
    assert "".join(read(renderer.render(code_span(text))).words).strip() == text.replace("\n", " ")
    assert "".join(read(renderer.render(fenced(text))).words).strip() == text


def test_smoothing_does_not_lag_behind_a_straight_line() -> None:
    line = [(float(step), 2.0 - step / 1000) for step in range(400)]
    assert [value for _, value in smoothed(line)] == pytest.approx([value for _, value in line])
