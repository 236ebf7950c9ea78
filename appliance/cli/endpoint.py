"""``luthier endpoint``: where the served models are, ready to paste."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from appliance.cli.command import Call, Command
from appliance.errors import NotFound

_KEY = "unused"


def configure(parser: ArgumentParser) -> None:
    choices = tuple(_WRITERS)
    parser.add_argument("--format", choices=choices, default="text", metavar="FORMAT", help=", ".join(choices))
    parser.add_argument("--model", metavar="NAME", help="which model the text asks for; the newest served by default")


def run(call: Call) -> int:
    with call.client() as client:
        try:
            endpoint = client.endpoint()
        except NotFound as error:
            raise NotFound("No model is served.", hint="`luthier serve MODEL` serves one.") from error
    names = model_names(endpoint)
    model = call.options.model or (names[0] if names else "")
    if model not in names:
        known = ", ".join(names) or "none"
        raise NotFound(f"No model called '{model}' is served. Served: {known}.", hint="luthier serve MODEL")
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.endpoint/1", **endpoint})
    else:
        call.screen.show(_WRITERS[call.options.format](str(endpoint.get("base_url")), model, names))
    return 0


def model_names(endpoint: Mapping[str, Any]) -> list[str]:
    """The names the endpoint answers to: aliases before ids, newest first."""
    names = []
    for model in endpoint.get("models") or ():
        found = [*(model.get("aliases") or ()), model.get("id")] if isinstance(model, Mapping) else [model]
        names += [str(name) for name in found if name]
    return list(dict.fromkeys(names))


def _text(base_url: str, model: str, names: list[str]) -> str:
    return "\n".join([base_url, *(f"  {name}" for name in names)])


def _env(base_url: str, model: str, names: list[str]) -> str:
    variables = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": _KEY, "OPENAI_MODEL": model}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _curl(base_url: str, model: str, names: list[str]) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    return f"curl {base_url}/chat/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _python(base_url: str, model: str, names: list[str]) -> str:
    return "\n".join(
        (
            "from openai import OpenAI",
            "",
            f"client = OpenAI(base_url={base_url!r}, api_key={_KEY!r})",
            "answer = client.chat.completions.create(",
            f"    model={model!r}, messages=[{{'role': 'user', 'content': 'Hello'}}]",
            ")",
            "print(answer.choices[0].message.content)",
        )
    )


_WRITERS: dict[str, Callable[[str, str, list[str]], str]] = {
    "text": _text,
    "env": _env,
    "curl": _curl,
    "python": _python,
}

COMMAND = Command(
    about="The endpoint's address and models, ready to paste into a shell or a program.",
    usage="[--format text|env|curl|python] [--model NAME]",
    configure=configure,
    run=run,
    examples=("luthier endpoint", 'eval "$(luthier endpoint --format env)"', "luthier endpoint --format python"),
    exits=(0, 2, 3, 4),
)
