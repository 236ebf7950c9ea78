"""Specs and recipes: every fault at once, with its place and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import FileNotFound, InvalidSpec
from appliance.spec import BOUNDS, TuneSpec, known_keys, load_recipe, parse, with_values


def test_an_empty_spec_is_all_defaults() -> None:
    assert parse({}) == TuneSpec()


def test_a_spec_survives_being_written_and_read() -> None:
    asked = {
        "name": "faq",
        "data": {"path": "/a.jsonl", "mapping": {"prompt": "q"}},
        "export": {"formats": ["gguf:f16"]},
    }
    spec = parse(asked)
    assert parse(spec.as_dict()) == spec
    assert spec.export.formats == ("gguf:f16",)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse(
            {"training": {"rnak": 8, "learning_rate": 7, "epochs": "two"}, "data": {"over_length": "cut"}, "bsae": {}}
        )
    text = caught.value.message
    for part in (
        "rnak",
        "training.rank",
        "learning_rate",
        "epochs",
        "'two'",
        "over_length",
        "truncate",
        "bsae",
        "5 fault",
    ):
        assert part in text


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "8", [], -1, 0, 10**9])
def test_a_rank_that_is_no_rank_is_refused(value: object) -> None:
    with pytest.raises(InvalidSpec, match="rank"):
        parse({"training": {"rank": value}})


@given(
    st.dictionaries(
        st.sampled_from([*known_keys(), "nonsense"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        max_size=6,
    )
)
def test_any_mixture_of_values_parses_or_is_refused_by_name(values: dict[str, object]) -> None:
    try:
        spec = parse(with_values({}, values))
    except InvalidSpec:
        return
    for key, (low, high) in BOUNDS.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(spec, section), name)
        assert value is None or low <= value <= high


def test_paths_of_a_recipe_are_relative_to_it(tmp_path: Path) -> None:
    recipe = tmp_path / "inner" / "recipe.toml"
    recipe.parent.mkdir()
    recipe.write_text('[data]\npath = "rows.jsonl"\nreplay = "../replay.jsonl"\n[base]\nmodel = "starter"\n')
    data = load_recipe(recipe)
    assert data["data"] == {"path": str(tmp_path / "inner/rows.jsonl"), "replay": str(tmp_path / "replay.jsonl")}
    assert data["base"]["model"] == "starter"


def test_a_missing_or_broken_recipe_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFound):
        load_recipe(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[data\n")
    with pytest.raises(InvalidSpec, match="line 1"):
        load_recipe(broken)
