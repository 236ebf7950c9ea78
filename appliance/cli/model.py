"""``luthier model``: what was tuned or added here."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from appliance.cli.arguments import seconds
from appliance.cli.command import Call, Command
from appliance.cli.follow import follow_job, outcome
from appliance.cli.request import base_model
from appliance.cli.summary import artifact_line
from appliance.cli.words import age_text, listed, state_text
from appliance.errors import FileNotFound
from appliance.text import bytes_text


def _ls(call: Call) -> int:
    with call.client() as client:
        models = client.models()
    if call.screen.as_json:
        call.screen.value(listed("models", models))
        return 0
    if not models:
        call.screen.say("No models yet; `luthier quickstart` makes one.")
        return 0
    columns = ("ID", "NAME", "STAGE", "KIND", "ARTIFACTS", "SERVED", "MADE")
    call.screen.table(columns, [_row(model) for model in models])
    return 0


def _row(model: dict[str, Any]) -> tuple[object, ...]:
    formats = ", ".join(str(artifact.get("format")) for artifact in model.get("artifacts") or ())
    served, made = "yes" if model.get("deployment") else None, age_text(model.get("created_at"))
    return model["id"], model.get("name"), state_text(model.get("stage")), model.get("kind"), formats, served, made


def _configure_name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL", help="an id, the beginning of one, or a name")


def _show(call: Call) -> int:
    with call.client() as client:
        model = client.model(call.options.name)
    if call.screen.as_json:
        call.screen.value(model)
        return 0
    gate = (model.get("evaluation") or {}).get("gate") or {}
    artifacts = model.get("artifacts") or ()
    call.screen.pairs(
        (
            ("model", f"{model['id']}  {model.get('name')}"),
            ("stage", state_text(model.get("stage"))),
            ("kind", model.get("kind")),
            ("path", model.get("path")),
            ("base", model.get("base")),
            ("dataset", model.get("dataset")),
            ("job", model.get("job")),
            ("served", model.get("deployment")),
            *(("gate" if not index else "", f"· {line}") for index, line in enumerate(gate.get("lines") or ())),
            *(("artifact", f"{artifact_line(artifact)}  {artifact.get('path')}") for artifact in artifacts),
            ("made", model.get("created_at")),
        )
    )
    return 0


def _configure_add(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a folder in the Hugging Face layout")
    parser.add_argument("--name", help="what to call it; the folder's name by default")


def _add(call: Call) -> int:
    folder = Path(base_model(call.options.folder)).absolute()
    if not folder.is_dir():
        raise FileNotFound(f"There is no folder {folder}.", where=str(folder))
    with call.client() as client:
        model = client.add_model(str(folder), call.options.name or folder.name)
    if call.screen.as_json:
        call.screen.value(model)
    else:
        call.screen.show(str(model["id"]))
        call.screen.say(f"Added as {model['name']}; nothing was copied. `luthier tune FILE --base {model['name']}`")
    return 0


def _configure_export(parser: ArgumentParser) -> None:
    _configure_name(parser)
    parser.add_argument("--to", metavar="FORMAT,…", help="gguf:q8_0,gguf:q4_k_m,safetensors; the setting by default")
    _configure_wait(parser)


def _configure_verify(parser: ArgumentParser) -> None:
    _configure_name(parser)
    _configure_wait(parser)


def _configure_wait(parser: ArgumentParser) -> None:
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this: 90, 5m, 2h")


def _export(call: Call) -> int:
    """Merge and write the formats, then compare their answers with the trained model's."""
    formats = [name.strip() for name in (call.options.to or "").split(",") if name.strip()]
    with call.client() as client:
        model = client.model(call.options.name)
        spec = {"name": model["name"]} | ({"formats": formats} if formats else {})
        job = client.submit("export", spec, name=model["name"], inputs={"model": model["id"]})
    exported = _wait(call, job)
    return _compare(
        call, model, [str(item["format"]) for item in (exported.get("result") or {}).get("artifacts") or ()]
    )


def _verify(call: Call) -> int:
    with call.client() as client:
        model = client.model(call.options.name)
    return _compare(call, model, [str(artifact["format"]) for artifact in model.get("artifacts") or ()])


def _compare(call: Call, model: dict[str, Any], formats: list[str]) -> int:
    with call.client() as client:
        spec = {"name": model["name"]} | ({"formats": formats} if formats else {})
        job = client.submit("parity", spec, name=model["name"], inputs={"model": model["id"]})
    job = _wait(call, job)
    artifacts = (job.get("result") or {}).get("artifacts") or []
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.artifacts/1", "model": model["name"], "artifacts": artifacts})
        return 0
    for artifact in artifacts:
        call.screen.show(f"{artifact_line(artifact)}  {artifact.get('path')}")
        for line in (artifact.get("parity") or {}).get("lines") or ():
            call.screen.say(f"  {line}")
    return 0


def _wait(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    """Follow a job to its end. Raises the error it ended with."""
    ended = follow_job(call, job["id"], timeout=call.options.timeout)
    if failure := outcome(ended):
        raise failure
    return ended


def _rm(call: Call) -> int:
    with call.client() as client:
        model = client.model(call.options.name)
        client.remove_model(model["id"])
    size = sum(int(artifact.get("bytes") or 0) for artifact in model.get("artifacts") or ())
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.removed/1", "id": model["id"], "name": model.get("name")})
    else:
        call.screen.say(
            f"{model.get('name')} is removed" + (f"; its artifacts were {bytes_text(size)}." if size else ".")
        )
    return 0


COMMAND = Command(
    about="What was tuned or added here.",
    usage="VERB [options]",
    verbs={
        "ls": Command(about="List the models.", run=_ls, examples=("luthier model ls",), exits=(0, 3)),
        "show": Command(
            about="Everything about one model.",
            usage="MODEL",
            configure=_configure_name,
            run=_show,
            examples=("luthier model show support-faq",),
            exits=(0, 3, 4),
        ),
        "add": Command(
            about="Register a local folder as a model to start from; nothing is copied.",
            usage="DIR [--name NAME]",
            configure=_configure_add,
            run=_add,
            examples=("luthier model add ~/models/llama-1b",),
            exits=(0, 2, 3, 4, 5),
        ),
        "export": Command(
            about="Make files for use, and prove that they answer like the trained model.",
            usage="MODEL [--to FORMAT,…]",
            configure=_configure_export,
            run=_export,
            examples=("luthier model export support-faq --to gguf:q4_k_m",),
            exits=(0, 1, 2, 3, 4, 9, 124),
        ),
        "verify": Command(
            about="Compare every artifact's answers with the trained model's again.",
            usage="MODEL",
            configure=_configure_verify,
            run=_verify,
            examples=("luthier model verify support-faq",),
            exits=(0, 3, 4, 9, 124),
        ),
        "rm": Command(
            about="Remove a model that is not served.",
            usage="MODEL",
            configure=_configure_name,
            run=_rm,
            examples=("luthier model rm support-faq",),
            exits=(0, 3, 4, 5),
        ),
    },
)
