"""``luthier config``: the settings and where each came from. Asks no daemon."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from appliance.cli.arguments import existing_file
from appliance.cli.command import Call, Command
from appliance.errors import unknown_name
from appliance.settings import Settings, load_settings


def _configure_show(parser: ArgumentParser) -> None:
    parser.add_argument("--origin", action="store_true", help="say where each value came from")


def _show(call: Call) -> int:
    settings = call.settings
    if call.screen.as_json:
        body = {"schema": "luthier.config/1", "settings": settings.as_dict(), "origins": dict(settings.origins)}
        call.screen.value(body)
        return 0
    flat = _flat(settings)
    width = max(len(f"{key} = {_toml(value)}") for key, value in flat.items()) + 2
    for key, value in flat.items():
        line = f"{key} = {_toml(value)}"
        origin = settings.origins.get(key, "default")
        call.screen.show(f"{line:{width}}# {origin}" if call.options.origin else line)
    return 0


def _flat(settings: Settings) -> dict[str, object]:
    return {f"{section}.{key}": value for section, keys in settings.as_dict().items() for key, value in keys.items()}


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _configure_get(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="a dotted key, such as serve.port")


def _get(call: Call) -> int:
    flat = _flat(call.settings)
    key = call.options.key
    if key not in flat:
        raise unknown_name("setting", key, flat)
    value = flat[key]
    if call.screen.as_json:
        origin = call.settings.origins.get(key, "default")
        call.screen.value({"schema": "luthier.setting/1", "key": key, "value": value, "origin": origin})
    else:
        call.screen.show(",".join(value) if isinstance(value, tuple) else _toml(value).strip('"'))
    return 0


def _path(call: Call) -> int:
    places = call.paths.as_dict()
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.paths/1", **places})
    else:
        call.screen.pairs(places.items())
    return 0


def _configure_validate(parser: ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="another settings file than this installation's")


def _validate(call: Call) -> int:
    file = Path(existing_file(call.options.file)) if call.options.file else call.paths.config_file
    settings = load_settings(file, flags=call.flags)
    count = len(settings.origins)
    if call.screen.as_json:
        call.screen.value({"schema": "luthier.validated/1", "file": str(file), "ok": True, "set": count})
    elif file.exists():
        call.screen.show(f"{file} is well: {count} value{'' if count == 1 else 's'} set.")
    else:
        call.screen.show(f"{file} does not exist, so the defaults hold.")
    return 0


COMMAND = Command(
    about="Settings: flag > environment (LUTHIER_SERVE__PORT) > config.toml > default. Asks no daemon.",
    usage="VERB [options]",
    verbs={
        "show": Command(
            about="Every setting with its value.",
            usage="[--origin]",
            configure=_configure_show,
            run=_show,
            examples=("luthier config show --origin",),
            exits=(0, 2),
        ),
        "get": Command(
            about="One value.",
            usage="KEY",
            configure=_configure_get,
            run=_get,
            examples=("luthier config get serve.port",),
            exits=(0, 2),
        ),
        "path": Command(about="Where things are.", run=_path, exits=(0,)),
        "validate": Command(
            about="Check a settings file and name every fault.",
            usage="[FILE]",
            configure=_configure_validate,
            run=_validate,
            examples=("luthier config validate", "luthier config validate new.toml"),
            exits=(0, 2, 4),
        ),
    },
)
