"""The bar of where the memory goes: every part once, in proportion, nothing that is empty."""

from __future__ import annotations

from appliance.cli.plan import memory_rows, plan_rows
from appliance.spec import parse
from appliance.text import bytes_text
from profiles.devices.described import describe_machine
from profiles.fitting import Question
from profiles.model import catalogue_model
from profiles.planner import make_plan

DATASET = {"rows": {"kept": 900}, "tokens": {"longest": 600, "mean": 200}}


def test_every_part_has_a_bar_of_its_share() -> None:
    question = Question(
        spec=parse({}),
        dataset=DATASET,
        model=catalogue_model("llama-3.1-8b"),
        machine=describe_machine("RTX4090"),
    )
    plan = make_plan(question)
    rows = list(memory_rows(plan))
    parts = plan["memory"]["parts"]
    assert [size for _, size, _ in rows] == [bytes_text(size) for size in parts.values()]
    widths = [len(bar) for _, _, bar in rows]
    order = sorted(range(len(rows)), key=lambda place: list(parts.values())[place])
    assert [widths[place] for place in order] == sorted(widths)
    assert min(widths) >= 1
    assert rows[0][0] == "base weights"
    shown = {name: because for name, _, because in plan_rows(plan)}
    assert all(shown.values()), [name for name, because in shown.items() if not because]


def test_a_plan_without_parts_has_no_bar() -> None:
    assert list(memory_rows({})) == []
    assert list(memory_rows({"memory": {"parts": {"casts": 0}}})) == []
