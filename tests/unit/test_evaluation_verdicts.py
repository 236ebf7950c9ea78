"""Comparison, retention and gate: what follows from the scores of both models."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.data.example import Example, Message
from appliance.errors import FileNotFound, InvalidSpec
from appliance.evaluation.compare import Outcome, Row, compare, judge
from appliance.evaluation.exercise import Exercise, Passage, Sources, read_exercises, taken
from appliance.evaluation.gate import gate
from appliance.evaluation.metrics import METRICS, Metric
from appliance.evaluation.retention import by_replay, by_skill, unmeasured
from appliance.evaluation.scores import Answered, Measured, evaluation, samples
from appliance.evaluation.tasks import TASKS, Role


def outcomes(base: list[float], tuned: list[float], groups: list[str] | None = None) -> list[Outcome]:
    names = groups or [str(index) for index in range(len(base))]
    return [Outcome(base=b, tuned=t, group=g) for b, t, g in zip(base, tuned, names, strict=True)]


def verdict(metric: str, base: list[float], tuned: list[float], groups: list[str] | None = None) -> Row:
    chosen: Metric = METRICS.load(metric)
    return judge([(compare("task", "a task", chosen, outcomes(base, tuned, groups)), chosen)])[0]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_stands_in_its_table_under_its_own_name_and_knows_itself(name: str) -> None:
    metric: Metric = METRICS.load(name)
    assert metric.name == name
    assert METRICS[name].summary
    if metric.score is not None:
        assert metric.score("The answer.", "The answer.") == 1.0
        assert metric.score("", "The answer.") == 0.0
        assert metric.score("", "") == 1.0
        assert metric.score("kind words", "the kind") == metric.score("the kind", "kind words")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_stands_in_its_table_and_reads_nothing_from_nothing(name: str) -> None:
    task = TASKS.load(name)
    assert task.name == name
    assert all(metric in METRICS for metric in task.metrics)
    assert (task.exercises is None) != (task.passages is None)
    assert (task.exercises or task.passages)(Sources(dataset=None)) == []


def test_exact_match_ignores_case_form_and_spaces_only() -> None:
    score = METRICS.load("exact_match").score
    assert score(" The  Answer\n", "the answer") == 1.0
    assert score("ﬁne", "fine") == 1.0
    assert score("the answer.", "the answer") == 0.0


def test_token_f1_counts_shared_words_and_characters_of_unspaced_scripts() -> None:
    score = METRICS.load("token_f1").score
    assert score("a b c", "b c d") == pytest.approx(2 / 3)
    assert score("a a a", "a") == pytest.approx(0.5)
    assert score("東京都", "東京") == pytest.approx(4 / 5)


def test_a_clear_gain_is_better_a_clear_loss_worse_and_chance_neither() -> None:
    zeros, ones = [0.0] * 30, [1.0] * 30
    assert verdict("exact_match", zeros, ones).verdict == "better"
    assert verdict("exact_match", ones, zeros).verdict == "worse"
    assert verdict("exact_match", zeros, zeros).verdict == "no difference shown"
    mixed = [1.0, 0.0] * 15
    assert verdict("exact_match", mixed, mixed[::-1]).verdict == "no difference shown"


def test_a_lower_loss_is_better() -> None:
    base = [3.0 + index / 50 for index in range(40)]
    row = verdict("nll", base, [value - 1.0 for value in base])
    assert row.verdict == "better"
    assert row.difference == pytest.approx(-1.0)
    assert row.test == "paired permutation"
    assert row.difference_ci == pytest.approx((-1.0, -1.0))


def test_a_family_of_rows_is_corrected_together() -> None:
    metric: Metric = METRICS.load("exact_match")
    rows = [compare(f"t{i}", "t", metric, outcomes([0.0] * 6, [1.0] * 6)) for i in range(3)]
    alone = judge([(rows[0], metric)])[0]
    together = judge([(row, metric) for row in rows])
    assert alone.p_value == alone.p_adjusted == pytest.approx(0.03125)
    assert alone.verdict == "better"
    assert {row.verdict for row in together} == {"no difference shown"}
    assert together[0].p_adjusted == pytest.approx(3 * 0.03125)


def test_too_few_examples_are_said_to_be_too_few() -> None:
    row = verdict("exact_match", [0.0] * 4, [1.0] * 4)
    assert row.verdict == "no difference shown"
    assert row.note is not None
    assert "at least 6" in row.note


def test_repeats_of_one_group_are_not_evidence() -> None:
    groups = ["a"] * 20 + ["b"] * 20
    row = verdict("exact_match", [0.0] * 40, [1.0] * 40, groups)
    assert row.verdict == "no difference shown"
    assert (row.n, row.groups, row.test) == (40, 2, "paired permutation")


def test_without_a_base_there_is_a_score_and_no_verdict() -> None:
    metric: Metric = METRICS.load("exact_match")
    row = compare("t", "t", metric, [Outcome(base=None, tuned=1.0, group=str(i)) for i in range(9)])
    judged = judge([(row, metric)])[0]
    assert (judged.value, judged.baseline, judged.p_value, judged.verdict) == (1.0, None, None, None)
    assert gate([judged], unmeasured("no base"))["passed"] is False


def skill(right_before: int, right_after: int, n: int = 40) -> list[Outcome]:
    before = [1.0] * right_before + [0.0] * (n - right_before)
    return outcomes(before, [1.0] * right_after + [0.0] * (n - right_after))


def test_retention_passes_when_every_skill_is_kept() -> None:
    found = by_skill({"sort": skill(38, 37), "count": skill(40, 40), "never": skill(2, 0)})
    assert found["passed"] is True
    assert found["skills"]["sort"] == {"base": 0.95, "tuned": 0.925, "kept": 37 / 38, "n": 40, "passed": True}
    assert found["skills"]["never"]["passed"] is None
    assert found["overall"]["n"] == 80
    assert found["overall"]["kept_low"] >= 0.9


def test_one_forgotten_skill_fails_retention_and_is_named() -> None:
    found = by_skill({"sort": skill(38, 20), **{f"other{i}": skill(40, 40) for i in range(9)}})
    assert found["overall"]["kept"] > 0.9
    assert found["passed"] is False
    assert "sort" in found["reason"]


def test_a_loss_spread_thin_over_all_skills_fails_retention_too() -> None:
    found = by_skill({f"s{i}": skill(20, 18, n=20) for i in range(4)})
    assert all(one["passed"] for one in found["skills"].values())
    assert found["passed"] is False


def test_retention_of_skills_the_base_never_had_is_not_judged() -> None:
    found = by_skill({"sort": skill(2, 30)})
    assert found["passed"] is None
    assert "on none of the skills (sort)" in found["reason"]


def test_replayed_examples_may_become_a_little_less_likely_but_no_more() -> None:
    losses = [2.0 + index / 40 for index in range(60)]
    assert by_replay(outcomes(losses, [value + 0.05 for value in losses]))["passed"] is True
    worse = by_replay(outcomes(losses, [value + 0.5 for value in losses]))
    assert worse["passed"] is False
    assert worse["overall"]["kept"] == pytest.approx(2.718281828**-0.5)


def row(kind: str | None) -> Row:
    return Row(
        task="held_out", metric="nll", label="held-out loss", value=0.41, ci=None, n=90, groups=90,
        baseline=3.9, p_value=0.00001, p_adjusted=0.00001, verdict=kind,  # type: ignore[arg-type]
    )  # fmt: skip


KEPT: dict[str, Any] = by_skill({"sort": skill(40, 40)})
LOST: dict[str, Any] = by_skill({"sort": skill(40, 4)})
UNKNOWN: dict[str, Any] = unmeasured("nobody asked.")


@pytest.mark.parametrize(
    ("verdicts", "retention", "passed"),
    [
        (["better"], KEPT, True),
        (["better", "no difference shown"], KEPT, True),
        (["better"], UNKNOWN, True),
        (["better"], LOST, False),
        (["better", "worse"], KEPT, False),
        (["no difference shown"], KEPT, False),
        (["worse"], KEPT, False),
        ([], KEPT, False),
        ([None], UNKNOWN, False),
    ],
)
def test_the_gates_truth_table(verdicts: list[str | None], retention: dict[str, Any], passed: bool) -> None:
    found = gate([row(verdict) for verdict in verdicts], retention)
    assert found["passed"] is passed
    assert found["lines"][-1].startswith("The gate is passed" if passed else "The gate is not passed")


def test_a_line_of_the_gate_says_the_numbers() -> None:
    line = gate([row("better")], KEPT)["lines"][0]
    assert line == "Held-out loss 0.41 against 3.9 of the base on 90 examples, p < 0.0001: better."


def exercise(number: int, skill: str | None = None) -> Exercise:
    prompt = (Message(role="user", content=f"Question {number}?"),)
    return Exercise(prompt=prompt, expected=f"Answer {number}", group=str(number), skill=skill)


def answered(number: int, *, base: bool, tuned: bool, skill: str | None = None) -> Answered:
    item = exercise(number, skill)
    return Answered(exercise=item, base=item.expected if base else "no", tuned=item.expected if tuned else "no")


def measured(number: int, base: float, tuned: float) -> Measured:
    passage = Passage(example=Example(row=number, text="a"), group=str(number))
    return Measured(passage=passage, tokens=2, base=base, tuned=tuned)


def test_an_evaluation_has_the_names_that_scripts_rely_on() -> None:
    found = evaluation(
        "tuned",
        "base",
        {
            "held_out": [answered(i, base=False, tuned=True) for i in range(40)],
            "held_out_loss": [measured(i, 6.0 + i / 10, 1.0) for i in range(40)],
            "retention": [answered(i, base=True, tuned=True, skill="sort") for i in range(40)],
        },
    )
    assert json.loads(json.dumps(found)) == found
    assert {"model", "against", "tasks", "retention", "gate"} <= set(found)
    for line in found["tasks"]:
        wanted = {"task", "metric", "value", "ci", "n", "baseline", "difference", "p_value", "verdict"}
        assert wanted <= set(line)
        assert line["verdict"] == "better"
    assert [line["task"] for line in found["tasks"]] == ["held_out", "held_out", "held_out_loss"]
    assert found["tasks"][2]["perplexity"] == pytest.approx(2.718281828**0.5)
    assert found["retention"]["passed"] is True
    assert found["gate"]["passed"] is True


def test_a_base_without_any_right_answer_leaves_the_decision_to_the_loss() -> None:
    found = evaluation(
        "tuned",
        "base",
        {
            "held_out": [answered(i, base=False, tuned=False) for i in range(40)],
            "held_out_loss": [measured(i, 6.0 + i / 10, 1.0) for i in range(40)],
        },
    )
    assert [line["verdict"] for line in found["tasks"]] == ["no difference shown", "no difference shown", "better"]
    assert found["retention"]["passed"] is None
    assert found["gate"]["passed"] is True


def test_samples_are_few_and_come_from_every_task() -> None:
    results = {
        "held_out": [answered(i, base=False, tuned=True) for i in range(100)],
        "retention": [answered(i, base=True, tuned=True, skill="sort") for i in range(100)],
    }
    found = samples(results)
    assert len(found) == 20
    assert [one["task"] for one in found].count("held_out") == 15
    assert found[0] == {
        "task": "held_out", "skill": None, "prompt": "Question 0?", "expected": "Answer 0",
        "base": "no", "tuned": "Answer 0", "base_correct": False, "tuned_correct": True,
    }  # fmt: skip


def test_the_same_exercises_are_taken_whatever_their_order() -> None:
    items = [exercise(number) for number in range(50)]
    chosen = taken(items, 10)
    assert len(chosen) == 10
    assert {item.group for item in taken(items[::-1], 10)} == {item.group for item in chosen}
    assert [item for item in items if item in chosen] == chosen


def test_held_out_exercises_are_the_last_learnt_answers_of_the_test_split(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"row": 1, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"row": 2, "text": "plain"},
        {"row": 3, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "no", "weight": 0}]},
        {
            "row": 4,
            "group": "g",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "1"},
                {"role": "assistant", "content": "one"},
                {"role": "user", "content": "2"},
                {"role": "assistant", "content": "two"},
            ],
        },
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sources = Sources(dataset=tmp_path)
    found = TASKS.load("held_out").exercises(sources)
    assert [(item.expected, item.group, len(item.prompt)) for item in found] == [("b", "row 1", 1), ("two", "g", 4)]
    assert found[1].prompt_text() == "system: s\nuser: 1\nassistant: one\nuser: 2"
    assert len(TASKS.load("held_out_loss").passages(sources)) == 4


def test_a_faulty_file_of_exercises_names_every_faulty_line(tmp_path: Path) -> None:
    good = '{"skill": "s", "messages": [{"role": "user", "content": "q"}], "expected": "a"}'
    file = tmp_path / "skills.jsonl"
    file.write_text(f'{good}\nnot json\n{{"skill": 3}}\n{good.replace("user", "assistant")}\n')
    with pytest.raises(InvalidSpec) as caught:
        read_exercises(file)
    assert "line 2: not JSON" in caught.value.message
    assert "line 3: skill: expected text, got 3" in caught.value.message
    assert "line 4: messages: the last turn" in caught.value.message
    file.write_text("\n")
    with pytest.raises(InvalidSpec, match="no lines"):
        read_exercises(file)
    with pytest.raises(FileNotFound):
        read_exercises(tmp_path / "absent.jsonl")


def test_tasks_are_either_proof_or_retention() -> None:
    roles = {name: TASKS.load(name).role for name in TASKS}
    assert roles["held_out"] == roles["held_out_loss"] == Role.PROOF
    assert roles["retention"] == roles["replay_loss"] == Role.RETENTION


def test_the_light_part_of_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, appliance.evaluation.report, appliance.evaluation.scores\n"
        "from appliance.evaluation.tasks import TASKS\n"
        "from appliance.evaluation.metrics import METRICS\n"
        "[table.load(name) for table in (TASKS, METRICS) for name in table]\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"torch", "transformers", "peft", "numpy", "scipy", "tokenizers", "jinja2", "fastapi", "httpx2"}
    assert heavy.isdisjoint(ast.literal_eval(done.stdout))
