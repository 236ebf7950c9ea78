"""``luthier run``: ask a model one thing, or chat with it."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from appliance.cli.arguments import at_least_one
from appliance.cli.chat import Chat, Message
from appliance.cli.command import Call, Command
from appliance.cli.endpoint import model_names
from appliance.cli.render import styled
from appliance.cli.serve import served_name, wait_until_served
from appliance.client import Client
from appliance.errors import Conflict, JobFailed, LuthierError, NotFound, UsageError

_LOAD_SECONDS = 120.0
_HELP = "/clear starts over · /system TEXT · Ctrl-C stops an answer · Ctrl-D leaves"


def configure(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's id, name or alias")
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask; - stands for what comes on stdin")
    parser.add_argument("--system", metavar="TEXT", help="rules given before the prompt")
    parser.add_argument("--max-tokens", type=at_least_one, metavar="N", help="longest answer")
    parser.add_argument("--temperature", type=_temperature, metavar="T", help="0 always takes the likeliest word")


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise ArgumentTypeError(f"got '{text}', expected 0 to 2")
    return value


def run(call: Call) -> int:
    prompt = _prompt(call)
    chat = _open(call)
    begin = [{"role": "system", "content": call.options.system}] if call.options.system else []
    if prompt is None:
        return _converse(call, chat, begin)
    messages = [*begin, {"role": "user", "content": prompt}]
    if call.screen.as_json:
        call.screen.value(_answer(chat, messages, prompt))
        return 0
    for piece in chat.pieces(messages):
        call.screen.piece(piece)
    call.screen.piece("\n")
    return 0


def _prompt(call: Call) -> str | None:
    """What is asked; None when a person will type it. Raises ``UsageError`` when there is nothing."""
    words = list(call.options.prompt)
    if not words and sys.stdin.isatty() and not call.screen.as_json:
        return None
    if not words or "-" in words:
        piped = sys.stdin.read().strip()
        words = [piped if word == "-" else word for word in words] or [piped]
    text = "\n\n".join(words) if "-" in call.options.prompt else " ".join(words)
    if not text.strip():
        raise UsageError("There is nothing to ask.", hint="luthier run MODEL 'a question', or pipe one in.")
    return text


def _open(call: Call) -> Chat:
    """The model at the endpoint; one that is not served yet is loaded first."""
    wanted = call.options.model
    with call.client() as client:
        endpoint = _endpoint(client)
        if endpoint is None or wanted not in model_names(endpoint):
            wanted = _serve(call, client, wanted)
            endpoint = _endpoint(client) or {}
    base_url = endpoint.get("base_url")
    if not base_url:
        raise JobFailed("The endpoint has no address yet.", hint="`luthier ps` shows what it does; try again.")
    parameters: dict[str, Any] = {}
    if call.options.max_tokens:
        parameters["max_tokens"] = call.options.max_tokens
    if call.options.temperature is not None:
        parameters["temperature"] = call.options.temperature
    return Chat(str(base_url), wanted, parameters)


def _endpoint(client: Client) -> dict[str, Any] | None:
    try:
        return client.endpoint()
    except NotFound:
        return None


def _serve(call: Call, client: Client, wanted: str) -> str:
    """Load a model that is not served; returns the name it answers to."""
    try:
        model = client.model(wanted)
    except NotFound as error:
        error.hint = error.hint or "`luthier model ls` lists the models here."
        raise
    served = [one for one in client.deployments() if one.get("model_id") == model["id"]]
    if not served:
        call.screen.say(f"{model['name']} is not served yet; `luthier unserve {model['name']}` ends it again.")
    try:
        deployment = served[0] if served else client.deploy(model["id"])
    except Conflict as error:
        error.hint = error.hint or f"`luthier model export {model['name']}` makes something that can be served."
        raise
    return served_name(wait_until_served(call, deployment, timeout=_LOAD_SECONDS))


def _answer(chat: Chat, messages: list[Message], prompt: str) -> dict[str, Any]:
    """``luthier.answer/1``."""
    began = time.monotonic()
    body = chat.answer(messages)
    choice = (body.get("choices") or [{}])[0]
    return {
        "schema": "luthier.answer/1",
        "model": chat.model,
        "question": prompt,
        "answer": (choice.get("message") or {}).get("content"),
        "finish_reason": choice.get("finish_reason"),
        "usage": body.get("usage"),
        "seconds": round(time.monotonic() - began, 3),
    }


def _converse(call: Call, chat: Chat, begin: list[Message]) -> int:
    """Ask and answer until the person leaves."""
    import readline  # noqa: F401  gives input() its history and editing

    call.screen.say(styled((f"{chat.model} at {chat.base_url}", "bold")))
    call.screen.say(styled((_HELP, "dim")))
    messages = list(begin)
    while True:
        try:
            line = input("› ").strip()
        except EOFError:
            call.screen.piece("\n")
            return 0
        except KeyboardInterrupt:
            call.screen.piece("\n")
            continue
        if line in ("/exit", "/quit", "/bye"):
            return 0
        messages = _turn(call, chat, begin, messages, line)


def _turn(call: Call, chat: Chat, begin: list[Message], messages: list[Message], line: str) -> list[Message]:
    """One line of a conversation; returns the messages there are afterwards."""
    word, _, rest = line.partition(" ")
    if not line:
        return messages
    if word == "/clear":
        return list(begin)
    if word == "/system":
        return [{"role": "system", "content": rest}] if rest else []
    if word.startswith("/"):
        call.screen.say(_HELP)
        return messages
    asked = [*messages, {"role": "user", "content": line}]
    answer = ""
    try:
        for piece in chat.pieces(asked):
            answer += piece
            call.screen.piece(piece)
    except KeyboardInterrupt:
        call.screen.piece(" …")
    except LuthierError as error:
        call.screen.error(error)
        return messages
    call.screen.piece("\n")
    return [*asked, {"role": "assistant", "content": answer}]


COMMAND = Command(
    about="Ask a model one thing, or chat with it on a terminal. A model that is not served is loaded first.",
    usage="MODEL [PROMPT] [options]",
    configure=configure,
    run=run,
    examples=(
        "luthier run support-faq",
        "luthier run support-faq 'How do I reset my password?'",
        "cat letter.txt | luthier run support-faq 'Answer this letter:' -",
        "luthier run support-faq 'Hello' --json",
    ),
    exits=(0, 1, 2, 3, 4, 5, 124),
)
