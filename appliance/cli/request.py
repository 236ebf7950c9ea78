"""From what a person typed to a spec: recipe < options < ``--set``, with files made absolute."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from appliance import spec as specs
from appliance.cli.arguments import assignments, existing_file, toml_value
from appliance.errors import FileNotFound, UsageError
from appliance.launch import ROOT

STARTER = ROOT / "appliance" / "starter" / "model"
RECIPE = ROOT / "appliance" / "starter" / "sample" / "recipe.toml"


def add_spec_options(parser: ArgumentParser) -> None:
    """The options by which tune and plan say what is wanted."""
    group = parser.add_argument_group("What to make")
    group.add_argument(
        "--base", metavar="DIR|HUB_ID|NAME", help="base model: a folder, a hub id, a model here; starter"
    )
    group.add_argument("--method", metavar="NAME", help="lora, full, …; auto chooses")
    group.add_argument("--goal", choices=("fast", "balanced", "best"), metavar="GOAL", help="fast, balanced or best")
    group.add_argument("--name", help="what to call the result")
    group.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is which field")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key of a recipe, such as training.rank=8"
    )


def spec_from(options: Namespace) -> dict[str, Any]:
    """The request as nested tables. Raises ``FileNotFound``, ``UsageError`` and ``InvalidSpec`` with every fault."""
    body, wanted = _from_target(options.target)
    if options.base:
        wanted["base.model"] = base_model(options.base)
    for option, key in (("method", "training.method"), ("goal", "training.goal"), ("name", "name")):
        if getattr(options, option, None):
            wanted[key] = getattr(options, option)
    if options.map:
        wanted["data.mapping"] = assignments(options.map, "--map")
    wanted |= {key: toml_value(text) for key, text in assignments(options.set, "--set").items()}
    body = specs.with_values(body, {key: _absolute(key, value) for key, value in wanted.items()})
    specs.parse(body, origin="The request")
    return body


def _from_target(target: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a FILE, a RECIPE.toml or the name of a dataset stands for."""
    if target.endswith(".toml"):
        return specs.load_recipe(Path(existing_file(target))), {}
    if _looks_like_a_path(target):
        return {}, {"data.path": existing_file(target)}
    return {}, {"data.dataset": target}


def _looks_like_a_path(target: str) -> bool:
    """A name of a dataset has no slash and no suffix of a data file."""
    suffixes = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet", ".arrow", ".xlsx", ".gz", ".zst", ".zip")
    return (
        os.sep in target or target.startswith(("~", ".")) or target.lower().endswith(suffixes) or Path(target).exists()
    )


def base_model(text: str) -> str:
    """A folder as an absolute path; any other name as it is. Raises ``FileNotFound`` for a path that is not there."""
    path = Path(text).expanduser()
    if text != "starter" and path.is_dir():
        return os.path.normpath(path.absolute())
    if path.is_file():
        raise FileNotFound(f"{path.absolute()} is a file, expected the folder of a model.", where=str(path))
    if text.startswith(("/", "~", ".")):
        hint = "A base model is a folder with config.json, a tokenizer and safetensors weights."
        raise FileNotFound(f"There is no folder {path.absolute()}.", hint=hint, where=str(path))
    return text


def base_folder(name: str | None) -> str:
    """The folder of a base model where no daemon is asked. Raises ``UsageError`` for names only the daemon knows."""
    found = base_model(name or "starter")
    if found == "starter":
        return str(STARTER)
    if not os.path.isabs(found):
        raise UsageError(f"'{found}' is not a folder, and planning asks no daemon.", hint="Use --base DIR or starter.")
    return found


def _absolute(key: str, value: Any) -> Any:
    if key in specs.PATH_KEYS and key != "base.model" and isinstance(value, str):
        return str(Path(value).expanduser().absolute())
    return value
