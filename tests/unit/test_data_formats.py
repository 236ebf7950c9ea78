"""Every layout of rows becomes the same turns, and the layout is found, asked for, or named as wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.data.formats import FORMATS
from appliance.data.formats.layout import Format
from appliance.data.infer import infer
from appliance.data.ingest import check
from appliance.data.nested import flat
from appliance.data.normalise import Checked, NothingToLearn, normalise
from appliance.data.rows import Fault, Row, RowFault
from appliance.errors import DataRejected, UnknownName, UsageError
from appliance.spec import DataSpec

DATA = os.environ.get("LUTHIER_TEST_DATA")
Turns = list[tuple[str, str]]
ASKED = [("user", "Q"), ("assistant", "A")]


def checked(value: Any, **asked: Any) -> Checked:
    row = Row(1, 1, value)
    return normalise(1, infer([row], **asked).convert(row))


def turns(value: Any, **asked: Any) -> Turns:
    return [(message.role, message.content) for message in checked(value, **asked).example.messages]


EXAMPLES: dict[str, list[tuple[dict[str, Any], Turns]]] = {
    "messages": [
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, ASKED),
        ({"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, ASKED),
        (
            {
                "messages": [
                    {"role": "developer", "content": "S"},
                    {"role": "user", "content": [{"type": "text", "text": "Q"}]},
                    {"role": "assistant", "content": "A"},
                ]
            },
            [("system", "S"), *ASKED],
        ),
        ({"messages": '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]'}, ASKED),
    ],
    "sharegpt": [
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": ""}, ASKED),
        ({"conversation": [{"human": "Q", "assistant": "A"}]}, ASKED),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
            [("system", "S"), *ASKED],
        ),
    ],
    "alpaca": [
        ({"instruction": "Q", "input": "", "output": "A"}, ASKED),
        ({"instruction": "Q", "input": "about", "output": "A"}, [("user", "Q\nabout"), ("assistant", "A")]),
        (
            {"instruction": "Q", "input": None, "output": "A", "system": "S", "history": [["q", "a"]]},
            [("system", "S"), ("user", "q"), ("assistant", "a"), *ASKED],
        ),
        ({"Instruction": "Q", "response": "A", "category": "open"}, ASKED),
    ],
    "prompt-completion": [
        ({"prompt": "Q", "completion": "A"}, ASKED),
        ({"input": "Q", "output": "A"}, ASKED),
        ({"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]}, ASKED),
        ({"prompt": "Q", "completion": 42}, [("user", "Q"), ("assistant", "42")]),
    ],
    "question-answer": [
        ({"question": "Q", "answer": "A"}, ASKED),
        ({"query": "Q", "response": "A", "system": "S"}, [("system", "S"), *ASKED]),
        ({"context": "C", "question": "Q", "answer": "A"}, [("user", "C\n\nQ"), ("assistant", "A")]),
        ({"system_prompt": "S", "question": "Q", "response": "A"}, [("system", "S"), *ASKED]),
        (
            {"context": "C", "question": "Q", "answers": {"text": ["A", "B"], "answer_start": [3, 4]}},
            [("user", "C\n\nQ"), ("assistant", "A")],
        ),
    ],
    "multiple-choice": [
        ({"query": "Q", "choices": ["B", "A"], "gold": 1}, ASKED),
        ({"question": "Q", "options": ["A", "B"], "answer": "a"}, ASKED),
    ],
    "classification": [({"text": "Q", "category": "A"}, ASKED), ({"sentence": "Q", "label": "A"}, ASKED)],
    "text": [({"text": "Q"}, []), ({"content": "Q", "url": "http://x"}, [])],
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_found_and_converted(name: str) -> None:
    assert EXAMPLES[name]
    for value, expected in EXAMPLES[name]:
        layout = infer([Row(1, 1, value)])
        assert layout.format.name == name
        assert layout.evidence
        assert 0 < layout.confidence <= 1
        assert turns(value) == expected
        if name == "text":
            assert checked(value).example.text == "Q"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_its_fields_and_says_when_they_are_missing(name: str) -> None:
    form: Format = FORMATS.load(name)
    assert form.name == name
    assert any(part.required for part in form.fields)
    assert all(part.names[0] == part.name for part in form.fields)
    with pytest.raises(DataRejected, match="needs"):
        infer([Row(1, 1, {"x": "y"})], asked=name)


def test_columns_can_be_named_by_hand() -> None:
    value = {"frage": "Q", "antwort": "A", "id": 3}
    with pytest.raises(DataRejected, match="'frage'"):
        infer([Row(1, 1, value)])
    assert turns(value, given={"prompt": "frage", "completion": "antwort"}) == ASKED
    assert turns(value, asked="question-answer", given={"question": "frage", "answer": "antwort"}) == ASKED


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    row = Row(1, 1, {"question": "Q", "answer": "A"})
    with pytest.raises(UnknownName) as format_:
        infer([row], asked="alpacca")
    with pytest.raises(UsageError) as column:
        infer([row], given={"prompt": "questoin", "completion": "answer"})
    with pytest.raises(UsageError) as field:
        infer([row], asked="question-answer", given={"questions": "question"})
    assert "alpaca" in str(format_.value.hint)
    assert "question" in str(column.value.hint)
    assert "question" in str(field.value.hint)


def test_two_formats_that_fit_equally_are_asked_about() -> None:
    row = Row(1, 1, {"prompt": "Q", "completion": "A", "question": "R", "answer": "B"})
    with pytest.raises(DataRejected, match="Two formats") as caught:
        infer([row])
    assert len(caught.value.fixes) == 2


def test_preference_pairs_are_named_and_can_be_learnt_from_by_hand() -> None:
    value = {
        "conversations": [{"from": "human", "value": "Q"}],
        "chosen": {"from": "gpt", "value": "A"},
        "rejected": {},
    }
    with pytest.raises(DataRejected, match="preference"):
        infer([Row(1, 1, value)])
    assert turns(value, given={"prompt": "conversations", "completion": "chosen"}) == ASKED


def test_a_mixture_is_judged_by_its_rows_and_the_odd_ones_are_faults() -> None:
    rows = [Row(n, n, {"prompt": "Q", "completion": "A"}) for n in range(1, 10)] + [Row(10, 10, {"other": 1})]
    layout = infer(rows)
    assert layout.format.name == "prompt-completion"
    with pytest.raises(RowFault):
        layout.convert(rows[-1])


def test_tool_calls_of_every_kind_become_calls_with_an_object() -> None:
    openai = {
        "messages": [
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": '{"at": "Bern", "days": 2}'}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            {"role": "assistant", "content": "Rain."},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    }
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "look", "arguments": {"at": "Bern", "days": 2}}'},
            {"from": "observation", "value": "rain"},
            {"from": "gpt", "value": "Rain."},
        ],
        "tools": '[{"name": "look"}]',
    }
    for value in (openai, sharegpt):
        example = checked(value).example
        assert [message.role for message in example.messages] == ["user", "assistant", "tool", "assistant"]
        call = example.messages[1].tool_calls[0]
        assert call["function"] == {"name": "look", "arguments": {"at": "Bern", "days": 2}}
        assert example.tools == ({"type": "function", "function": {"name": "look"}},)


def test_the_weight_of_a_single_answer_is_kept_under_any_name() -> None:
    for key in ("weight", "loss_weight", "loss", "train"):
        value = {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", key: 0},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": "d", key: 1.0},
            ]
        }
        assert [message.learnt for message in checked(value).example.messages] == [False, False, False, True]


def conversation(*said: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content, **more} for role, content in said]}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (conversation(), "no-turns"),
        (conversation(("user", "a"), ("narrator", "b")), "unknown-role"),
        (conversation(("user", " "), ("assistant", "b")), "empty-turn"),
        (conversation(("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")), "empty-turn"),
        (conversation(("assistant", "b")), "missing-prompt"),
        (conversation(("user", {"a": 1}), ("assistant", "b")), "wrong-type"),
        (conversation(("user", [{"type": "image_url", "image_url": "x"}]), ("assistant", "b")), "not-text"),
        (conversation(("user", "a"), ("assistant", "b"), weight=0.5), "bad-weight"),
        ({"messages": "[{"}, "bad-json"),
        ({"messages": {"role": "user"}}, "wrong-type"),
        ({"messages": ["a"]}, "wrong-type"),
        ({"messages": None}, "missing-value"),
        ("text", "not-an-object"),
        (7, "not-an-object"),
    ],
)
def test_a_row_that_is_no_example_says_why(value: Any, code: str) -> None:
    good = Row(1, 1, conversation(("user", "a"), ("assistant", "b")))
    layout = infer([good])
    if isinstance(value, str):
        value = [value]
    with pytest.raises(RowFault) as caught:
        normalise(2, layout.convert(Row(2, 2, value)))
    assert caught.value.fault.code == code
    assert not isinstance(caught.value, NothingToLearn)


@pytest.mark.parametrize(
    "value",
    [
        conversation(("user", "a")),
        conversation(("system", "a"), ("user", "b")),
        conversation(("user", "a"), ("assistant", "")),
        conversation(("user", "a"), ("assistant", None)),
        conversation(("user", "a"), ("assistant", "b"), weight=0),
    ],
)
def test_a_row_without_an_answer_has_nothing_to_learn(value: Any) -> None:
    with pytest.raises(NothingToLearn):
        checked(value)


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (conversation(("system", "a"), ("system", "b"), ("user", "c"), ("assistant", "d")), "doubled-system-turn"),
        (conversation(("user", "c"), ("system", "b"), ("assistant", "d")), "late-system-turn"),
        (conversation(("user", "a"), ("user", "b"), ("assistant", "c")), "roles-not-alternating"),
        (conversation(("assistant", "hello"), ("user", "b"), ("assistant", "c")), "starts-without-user"),
        (conversation(("user", "who?"), ("assistant", "I am {{name}}.")), "placeholder"),
        (conversation(("user", "who?"), ("assistant", "I am {{ author name }}.")), "placeholder"),
    ],
)
def test_what_is_odd_about_a_row_is_named_and_the_row_kept(value: Any, note: str) -> None:
    assert note in checked(value).notes


def test_what_certainly_nobody_wanted_is_mended_and_marked() -> None:
    value = conversation(("system", " "), ("user", "a\ud800"), ("assistant", "b"), ("user", "and then?"))
    result = checked(value)
    assert set(result.fixed) == {"empty-system-turn", "lone-surrogate", "unanswered-end"}
    assert [(message.role, message.content) for message in result.example.messages] == [
        ("user", "a\ufffd"),
        ("assistant", "b"),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference pairs"),
        ({"question": "Q", "response_j": "A", "response_k": "B"}, "preference pairs"),
        ({"messages": [{"role": "user", "content": "Q"}], "rejected_response": "B"}, "preference pairs"),
        ({"prompt": "Q", "completion": "A", "label": True}, "judged good or bad"),
        (
            {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "label": False},
            "judged good or bad",
        ),
        ({"conversations": [{"from": "human", "value": "Q"}], "kto_tag": True}, "judged good or bad"),
        ({"prompt": "Q", "completions": ["a"], "labels": [True]}, "judged steps"),
        ({"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 1]}, "another tokenizer"),
        ({"segments": [{"label": True, "text": "A"}]}, "segments"),
        ({"prompt": "Q"}, "prompts without answers"),
    ],
)
def test_what_cannot_be_trained_on_is_named_and_never_learnt_in_silence(value: dict[str, Any], words: str) -> None:
    with pytest.raises(DataRejected, match=words) as caught:
        infer([Row(1, 1, value)], name="a.jsonl")
    assert "Luthier learns answers" in caught.value.message
    assert caught.value.hint


def test_a_label_that_is_true_or_false_for_a_text_is_still_a_class() -> None:
    assert infer([Row(1, 1, {"text": "Q", "label": "True"})]).format.name == "classification"


def test_a_choice_that_is_not_there_is_one_wrong_row() -> None:
    for gold in (2, -1, "c", "zz", None):
        layout = infer([Row(1, 1, {"query": "Q", "choices": ["A", "B"], "gold": 0})])
        with pytest.raises(RowFault, match="of 2"):
            layout.convert(Row(2, 2, {"query": "Q", "choices": ["A", "B"], "gold": gold}))


def test_rows_inside_rows_are_rows_of_their_own() -> None:
    task = {"instruction": "Q", "instances": [{"input": "", "output": "A"}, {"input": "x", "output": "B"}]}
    article = {
        "title": "T",
        "paragraphs": [
            {"context": "C", "qas": [{"question": "Q", "id": "1", "answers": [{"text": "A", "answer_start": 0}]}]},
            {"context": "D", "qas": [{"question": "R", "id": "2", "answers": []}]},
        ],
    }
    plain = Row(2, 5, {"instruction": "P", "output": "Z"})
    rows = list(flat([Row(1, 1, task), plain, Row(3, 6, article), Row(4, 9, fault=Fault("bad-json", "is not JSON"))]))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.line for row in rows] == [1, 1, 5, 6, 6, 9]
    assert [row.value["output"] for row in rows[:3]] == ["A", "B", "Z"]
    assert [(row.value["context"], row.value["answers"]) for row in rows[3:5]] == [("C", ["A"]), ("D", [])]
    assert rows[5].fault is not None


NESTED = {
    "alpaca_seed/seed_tasks.jsonl": ("alpaca", "instances"),
    "self_instruct/user_oriented_instructions.jsonl": ("alpaca", "instances"),
    "xquad/xquad.en.json": ("question-answer", "qas"),
    "xquad/xquad.hi.json": ("question-answer", "qas"),
    "xquad/xquad.th.json": ("question-answer", "qas"),
}


@pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
@pytest.mark.parametrize("name", NESTED)
def test_real_nested_files_give_every_inner_example(name: str) -> None:
    path = Path(DATA or "") / name
    form, box = NESTED[name]
    text = path.read_text(encoding="utf-8")
    values = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)["data"]
    expected = _count(values, box)
    found = check(path, DataSpec())
    assert found["format"] == form
    assert found["rows"]["total"] == expected
    assert found["rows"]["invalid"] == 0


def _count(value: Any, box: str) -> int:
    if isinstance(value, list):
        return sum(_count(part, box) for part in value)
    if not isinstance(value, dict):
        return 0
    return len(value[box]) if box in value else sum(_count(part, box) for part in value.values())
