"""The endpoint as the official client and others see it: a real server process, real models."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from serving_world import Server, make_serve_job, running

from appliance.export.engine.gguf_file import convert

REVERSE = [{"role": "user", "content": "Reverse this: pine plum night cedar"}]


@pytest.fixture(scope="module")
def server(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("serving")
    convert(starter, root / "starter.gguf", "q8_0")
    entry: dict[str, Any] = {
        "id": "starter-q8",
        "aliases": ["starter"],
        "path": str(root / "starter.gguf"),
        "tokenizer": str(starter),
    }
    with running(
        make_serve_job(root / "job", entry | {"engine": "llama_cpp", "created": 1700000000}, slots=3)
    ) as server:
        assert server.wait_for("loaded")["ok"]
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def ask(client: openai.OpenAI, content: str, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="starter", messages=messages, **({"temperature": 0} | options))


def raw(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any], Any]:
    """A request without a client library: status, body, headers."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, data, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if text[:1] == b"{" else {"text": text.decode()}, response.headers


def test_the_models_are_listed_under_ids_and_aliases(client: openai.OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["starter-q8", "starter"]
    assert client.models.retrieve("starter").created == 1700000000


def test_a_question_is_answered_and_streamed_alike(client: openai.OpenAI) -> None:
    whole = ask(client, "Reverse this: pine plum night cedar")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    chunks = list(
        ask(client, "Reverse this: pine plum night cedar", stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert sum(bool(c.choices and c.choices[0].finish_reason) for c in chunks) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("content", ["=", "+", "ü", "🙂", "👩‍👩‍👧 日本語 \u202e", "\x00\x1b[31m", " " * 50])
def test_any_text_is_answered(client: openai.OpenAI, content: str) -> None:
    assert ask(client, content, max_tokens=8).choices[0].finish_reason in ("stop", "length")
    assert list(ask(client, content, max_tokens=8, stream=True))


def test_a_vocabulary_without_bytes_survives_any_text(test_data: Path, tmp_path: Path) -> None:
    """llama.cpp's own tokenizer aborts the process on such characters with this model."""
    folder = test_data / "tinystories656k"
    convert(folder, tmp_path / "tiny.gguf", "f16")
    entry = {"id": "tiny", "path": str(tmp_path / "tiny.gguf"), "tokenizer": str(folder)}
    with running(make_serve_job(tmp_path / "job", entry)) as server:
        assert server.wait_for("loaded")["ok"]
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
        for content in ("=", "+", "ü", "🙂", "1 + 1 = 2 🙂"):
            messages: Any = [{"role": "user", "content": content}]
            assert client.chat.completions.create(model="tiny", messages=messages, max_tokens=6).choices
            assert client.completions.create(model="tiny", prompt=content, max_tokens=6).choices
        headers = raw(server, "/v1/completions", {"model": "tiny", "prompt": "a = ü 🙂", "max_tokens": 1})[2]
        assert headers["x-luthier-lost-characters"] == "3"
        told = client.completions.create(
            model="tiny", prompt="Once upon a time, there was", max_tokens=12, temperature=0
        )
        assert told.choices[0].text.startswith(" a")


def test_simultaneous_requests_do_not_mix(client: openai.OpenAI) -> None:
    """More than there are slots, each answered as when it is alone."""
    words = ["pine plum", "coral milk", "table earth", "coin night", "horse box", "deep hail", "road bell", "cave one"]
    alone = {word: ask(client, f"Reverse this: {word}").choices[0].message.content for word in words}
    together: dict[str, str] = {}

    def one(word: str) -> None:
        together[word] = ask(client, f"Reverse this: {word}").choices[0].message.content

    threads = [threading.Thread(target=one, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Rounding depends on what else is in a batch; a near-tie may turn once, a mix-up would turn them all.
    assert sum(alone[word] == together[word] for word in words) >= len(words) - 1
    assert len(set(alone.values())) == len(words)


def test_sampling_follows_its_seed(client: openai.OpenAI) -> None:
    def sampled(seed: int) -> list[str]:
        answer = ask(client, "Tell me a story.", temperature=1.5, seed=seed, n=3, max_tokens=20)
        return [choice.message.content for choice in answer.choices]

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)
    assert len(set(sampled(3))) > 1


def test_top_k_of_one_is_greedy_and_a_bias_forbids(client: openai.OpenAI, starter: Path) -> None:
    from appliance.data.chat import load_tokenizer

    greedy = ask(client, "Tell me a story.", max_tokens=10).choices[0].message.content
    options: dict[str, Any] = {"max_tokens": 10, "temperature": 2, "extra_body": {"top_k": 1}}
    assert ask(client, "Tell me a story.", **options).choices[0].message.content == greedy
    first = load_tokenizer(starter).encode(greedy)[0]
    biased = ask(client, "Tell me a story.", max_tokens=10, logit_bias={str(first): -100})
    assert load_tokenizer(starter).encode(biased.choices[0].message.content)[0] != first


def test_a_stop_string_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    whole = ask(client, "Tell me a story.", max_tokens=60).choices[0].message.content
    stop = whole[9:13]
    cut = ask(client, "Tell me a story.", max_tokens=60, stop=[stop, "never said"])
    assert cut.choices[0].message.content == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    streamed = ask(client, "Tell me a story.", max_tokens=60, stop=stop, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == whole[: whole.index(stop)]


def test_logprobs_are_those_of_the_tokens_said(client: openai.OpenAI) -> None:
    answer = ask(client, "Reverse this: pine plum night cedar", logprobs=True, top_logprobs=3).choices[0]
    content = answer.logprobs.content
    assert "".join(token.token for token in content) == answer.message.content
    for token in content:
        assert token.top_logprobs[0].token == token.token
        assert token.logprob == pytest.approx(max(t.logprob for t in token.top_logprobs))
        assert bytes(token.bytes).decode() == token.token


def test_given_ids_are_scored_and_continued(client: openai.OpenAI, starter: Path) -> None:
    from appliance.data.chat import load_tokenizer

    ids = load_tokenizer(starter).encode("The cat sat on the mat.")
    scored = client.completions.create(model="starter", prompt=ids, max_tokens=0, echo=True, logprobs=2).choices[0]
    assert scored.text == "The cat sat on the mat."
    assert len(scored.logprobs.token_logprobs) == len(ids)
    assert scored.logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in scored.logprobs.token_logprobs[1:])
    more = client.completions.create(model="starter", prompt=[ids, ids[:3]], max_tokens=3, temperature=0)
    assert [choice.index for choice in more.choices] == [0, 1]


SURROGATE = [{"role": "user", "content": "\ud800"}]
BAD: list[tuple[str, Any, int, str]] = [
    ("/v1/chat/completions", b"", 400, "invalid_json"),
    ("/v1/chat/completions", b"{", 400, "invalid_json"),
    ("/v1/chat/completions", b"[]", 400, "invalid_json"),
    ("/v1/chat/completions", b'{"model": NaN}', 400, "invalid_json"),
    ("/v1/chat/completions", b"[" * 100_000, 400, "invalid_json"),
    ("/v1/chat/completions", b'"' + b'\\"' * 100_000, 400, "invalid_json"),
    ("/v1/chat/completions", b"\xff\xfe", 400, "invalid_json"),
    ("/v1/chat/completions", b"1" * 5000, 400, "invalid_json"),
    ("/v1/chat/completions", {"messages": REVERSE}, 400, "missing_required_parameter"),
    ("/v1/chat/completions", {"model": "startr", "messages": REVERSE}, 404, "model_not_found"),
    ("/v1/chat/completions", {"model": "starter"}, 400, "invalid_value"),
    ("/v1/chat/completions", {"model": "starter", "messages": []}, 400, "invalid_value"),
    ("/v1/chat/completions", {"model": "starter", "messages": [{"role": "god"}]}, 400, "invalid_value"),
    (
        "/v1/chat/completions",
        {"model": "starter", "messages": [{"role": "user", "content": "\ud800"}]},
        400,
        "invalid_value",
    ),
    (
        "/v1/chat/completions",
        {"model": "starter", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        400,
        "invalid_value",
    ),
    (
        "/v1/chat/completions",
        {"model": "starter", "messages": REVERSE, "max_tokens": 100_000},
        400,
        "context_length_exceeded",
    ),
    (
        "/v1/chat/completions",
        {"model": "starter", "messages": [{"role": "user", "content": "word " * 3000}]},
        400,
        "context_length_exceeded",
    ),
    ("/v1/completions", {"model": "starter", "prompt": [999_999]}, 400, "invalid_value"),
    ("/v1/completions", {"model": "starter", "prompt": []}, 400, "invalid_value"),
    ("/v1/completions", {"model": "starter", "prompt": [-1]}, 400, "invalid_value"),
    ("/v1/completions", {"model": "starter", "prompt": "a", "max_tokens": 0}, 400, "invalid_value"),
    ("/v1/nothing", {"a": 1}, 404, "not_found"),
    ("/v1/models/none", None, 404, "model_not_found"),
    ("/v1/chat/completions", None, 405, "method_not_allowed"),
]
WRONG = {
    "temperature": [-1, 3, "hot", True],
    "top_p": [-0.1, 1.1],
    "top_k": [-1, 1.5],
    "n": [0, 5, "2"],
    "seed": ["x", 1e300],
    "stop": [5, [""], ["a"] * 17],
    "max_tokens": [0, -1, 2.5],
    "logit_bias": [[], {"a": 1}, {"5": 101}, {"99999": 1}],
    "stream": ["yes"],
    "top_logprobs": [21, 1],
    "presence_penalty": [2.1],
    "stream_options": [1],
}
BAD += [
    ("/v1/chat/completions", {"model": "starter", "messages": REVERSE, key: value}, 400, "invalid_value")
    for key, values in WRONG.items()
    for value in values
]


@pytest.mark.parametrize(("path", "body", "status", "code"), BAD)
def test_bad_requests_are_refused_in_the_envelope(server: Server, path: str, body: Any, status: int, code: str) -> None:
    found, answer, headers = raw(server, path, body)
    assert (found, answer["error"]["code"]) == (status, code), answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert headers["x-request-id"]


def test_a_wrong_model_is_answered_with_the_nearest(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'starter'"):
        client.chat.completions.create(model="startr", messages=[{"role": "user", "content": "x"}])


def test_parameters_that_change_nothing_are_named_and_let_through(server: Server) -> None:
    body = {"model": "starter", "messages": REVERSE, "max_tokens": 1, "store": False, "tools": [], "user": "me"}
    status, _, headers = raw(server, "/v1/chat/completions", body)
    assert status == 200
    assert headers["x-luthier-ignored"] == "store,tools"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("max_token", 3, "unknown_parameter"),
        ("num_ctx", 9, "unknown_parameter"),
        ("tools", [{"type": "function"}], "unsupported_parameter"),
        ("response_format", {"type": "json_object"}, "unsupported_parameter"),
        ("tool_choice", "required", "unsupported_parameter"),
    ],
)
def test_a_parameter_that_would_be_silently_lost_is_a_400(server: Server, key: str, value: Any, code: str) -> None:
    body = {"model": "starter", "messages": REVERSE, "max_tokens": 1, key: value}
    status, answer, _ = raw(server, "/v1/chat/completions", body)
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, key)


def test_only_known_hosts_and_origins_are_answered(server: Server) -> None:
    port = urlsplit(server.url).port
    for host, status in [(f"localhost:{port}", 200), ("[::1]", 200), ("evil.example", 403), ("a@127.0.0.1", 403)]:
        assert raw(server, "/health", Host=host)[0] == status, host
    assert raw(server, "/health", Origin="http://localhost:3000")[0] == 200
    assert raw(server, "/health", Origin="https://evil.example")[0] == 403


def test_a_large_body_is_refused_without_being_read(server: Server) -> None:
    assert raw(server, "/v1/chat/completions", b" " * (4 * 1024**2 + 1))[1]["error"]["code"] == "body_too_large"
    with socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), timeout=10) as stream:
        stream.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert b" 413 " in stream.recv(1000)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_leaves_frees_its_slot(server: Server, client: openai.OpenAI, streaming: bool) -> None:
    body = {"model": "starter", "prompt": [300], "max_tokens": 400, "stream": streaming, "temperature": 2.0, "seed": 5}
    body |= {"logit_bias": {str(end): -100 for end in range(6)}, "n": 3}
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("POST", "/v1/completions", json.dumps(body))
    until(lambda: active(server) > 0)
    connection.close()
    until(lambda: active(server) == 0)
    assert ask(client, "Reverse this: pine plum night cedar", max_tokens=2).choices


def test_health_and_metrics_tell_what_is_there(server: Server) -> None:
    assert raw(server, "/health")[1] == {"status": "ok", "models": ["starter-q8", "starter"]}
    text = raw(server, "/metrics")[1]["text"]
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["luthier_models"] == "1"
    assert int(values["luthier_completion_tokens_total"]) > 0


def active(server: Server) -> int:
    lines = raw(server, "/metrics")[1]["text"].splitlines()
    return int(next(line for line in lines if line.startswith("luthier_requests_active")).split()[1])


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
