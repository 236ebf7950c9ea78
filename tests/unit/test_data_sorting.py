"""What is the same, what is held out, and that every row ends in exactly one state."""

from __future__ import annotations

import csv
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.data import likeness
from appliance.data.dedup import ExactDuplicates, NearDuplicates, Rarity
from appliance.data.example import Example, Message, example_from_dict, example_line, message_from_dict
from appliance.data.ledger import Ledger, State
from appliance.data.likeness import plain_words, prompt_key
from appliance.data.rows import Fault
from appliance.data.split import assign

DATA = os.environ.get("LUTHIER_TEST_DATA")


def asked(row: int, question: str, answer: str) -> Example:
    example = Example(
        row=row, messages=(Message(role="user", content=question), Message(role="assistant", content=answer))
    )
    return Example(row=row, messages=example.messages, group=prompt_key(example))


def near(examples: list[Example]) -> dict[int, int]:
    rarity = Rarity()
    for example in examples:
        rarity.add(example)
    finder = NearDuplicates(rarity, {example.row: example for example in examples}.__getitem__)
    found = {example.row: finder.first(example, example.row) for example in examples}
    return {row: earlier for row, earlier in found.items() if earlier is not None}


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(likeness).failed == 0


def test_only_what_is_identical_is_a_duplicate() -> None:
    seen = ExactDuplicates()
    assert seen.first(asked(1, "What is it?", "A house.")) is None
    assert seen.first(asked(2, "what is it?", "A house.")) is None
    assert seen.first(asked(3, "What is it?", "A house.")) == 1
    assert seen.first(asked(4, "What is it?", "A house. ")) is None
    weighted = Message(role="assistant", content="A house.", weight=0)
    assert seen.first(Example(row=5, messages=(Message(role="user", content="What is it?"), weighted))) is None


def test_case_punctuation_and_spacing_make_no_other_example() -> None:
    found = near([asked(1, "How do I locate my card?", "Look."), asked(2, "how do I  locate my_card", "look!")])
    assert found == {2: 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("What is 5 - 3?", "2"), ("What is 5 + 3?", "2")),
        (("What is 5 - 3?", "2"), ("What is -5 + 3?", "-2")),
        (("Is it 3.5?", "yes"), ("Is it 35?", "yes")),
        (("Reverse: cat", "tac"), ("Reverse: car", "rac")),
        (("What does a[0] print?", "x = 1"), ("What does a[0] print?", "x == 1")),
        (("सच कि", "क"), ("सच की", "क")),
        (("Which?", "left"), ("Which?", "right")),
        (("+", "plus"), ("-", "plus")),
    ],
)
def test_a_small_difference_that_means_something_makes_another_example(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert near([asked(1, *first), asked(2, *second)]) == {}


LONG = (
    "The guild of the northern harbour keeps a book of every vessel that enters between the first bell and the last, "
    "and in it the keeper writes the colour of the sails, the number of hands aboard, the weight of the cargo and the "
    "name of the master, so that the council may know in winter who brought salt, who brought timber and who brought "
    "nothing but news; and whoever asks to read it pays with a story that the keeper has not heard before, told slowly "
    "enough for the apprentice to write it down in the second book, which nobody but the oldest may ever read."
)


def test_long_examples_that_differ_in_a_word_or_two_by_accident_are_near_duplicates() -> None:
    answer = "In winter the council reads it, and everyone who brought salt is thanked in front of the others."
    found = near([asked(1, LONG, answer), asked(2, LONG.replace("slowly", "very slowly"), answer)])
    assert found == {2: 1}


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("northern", "southern", "The southern one."),
        (
            "of the northern harbour",
            "of the 3 northern harbours",
            "In winter the council reads it and thanks them all.",
        ),
        (
            "the keeper writes",
            "Odo the keeper writes",
            "In winter the council reads it and thanks them all, one by one.",
        ),
        ("nothing but news;", "nothing but news? Who?", "In winter the council reads it and thanks them all, at once."),
    ],
)
def test_long_examples_from_one_template_are_not_near_duplicates(old: str, new: str, answer: str) -> None:
    assert (
        near(
            [
                asked(1, LONG, "In winter the council reads it and thanks them."),
                asked(2, LONG.replace(old, new), answer),
            ]
        )
        == {}
    )


def test_a_thousand_short_rows_from_one_template_are_a_thousand_examples() -> None:
    colours = ["red", "blue", "green", "amber", "violet", "grey", "white", "black", "ochre", "teal"]
    rows = [
        asked(
            n,
            f"A {colours[n % 10]} sail with {n // 10} knots enters the harbour at dusk. What does the keeper do?",
            "ring",
        )
        for n in range(1, 1001)
    ]
    assert near(rows) == {}


@pytest.mark.skipif(not DATA, reason="LUTHIER_TEST_DATA is not set")
def test_real_rows_that_differ_only_in_case_and_punctuation_are_found() -> None:
    with (Path(DATA or "") / "banking77" / "train.csv").open(newline="", encoding="utf-8") as stream:
        rows = [asked(n, row["text"], "same") for n, row in enumerate(csv.DictReader(stream), 1)]
    seen: dict[str, int] = {}
    truth = {}
    for example in rows:
        words = re.sub(r"[\W_]+", " ", example.messages[0].content.lower()).strip()
        if seen.setdefault(words, example.row) != example.row:
            truth[example.row] = seen[words]
    assert len(truth) == 31
    assert near(rows) == truth


@given(
    groups=st.dictionaries(st.text(max_size=8), st.integers(1, 9), max_size=60),
    validation=st.sampled_from([0.0, 0.05, 0.3, 0.5]),
    test=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 5),
)
def test_a_split_holds_out_what_was_asked_and_leaves_something_to_learn(
    groups: dict[str, int], validation: float, test: float, seed: int
) -> None:
    held = assign(groups, validation=validation, test=test, seed=seed)
    total = sum(groups.values())
    assert set(held) <= set(groups)
    assert len(held) < len(groups) or not groups
    for name, share in (("test", test), ("validation", validation)):
        count = sum(groups[group] for group, where in held.items() if where == name)
        if share == 0:
            assert count == 0
        if name == "test" and share > 0 and total >= 10 and len(groups) >= 2:
            assert count >= 1
        assert count <= share * total * 1.5 + max(groups.values(), default=0)
    shuffled = dict(sorted(groups.items(), reverse=True))
    assert assign(shuffled, validation=validation, test=test, seed=seed) == held


def test_a_split_changes_with_the_seed_and_with_nothing_else() -> None:
    groups = {f"g{n}": 1 for n in range(200)}
    first = assign(groups, validation=0.05, test=0.1, seed=0)
    assert sorted(first.values()) == ["test"] * 20 + ["validation"] * 10
    assert assign(groups, validation=0.05, test=0.1, seed=1) != first
    script = (
        "from appliance.data.split import assign;"
        "print(sorted(assign({f'g{n}': 1 for n in range(200)}, validation=0.05, test=0.1, seed=0).items()))"
    )
    root = Path(__file__).parents[2]
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        out = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == str(sorted(first.items()))


@given(states=st.lists(st.sampled_from(list(State)), max_size=200))
def test_the_totals_of_a_ledger_reconcile(states: list[State]) -> None:
    ledger = Ledger()
    for line, state in enumerate(states, 1):
        row = ledger.enter(line * 2)
        if state is State.INVALID:
            ledger.refuse(row, state, Fault("bad-json", "is not JSON"))
        else:
            ledger.settle(row, state, fixed=["x"])
    counts = ledger.counts()
    assert counts["total"] == len(states) == sum(counts[state] for state in State)
    assert counts["fixed"] == counts["kept"] + counts["held_out"]
    assert len(list(ledger.entries())) == len(states)


def test_a_row_is_settled_once_and_never_forgotten() -> None:
    ledger = Ledger()
    row = ledger.enter(1)
    with pytest.raises(ValueError, match="no state"):
        ledger.counts()
    ledger.settle(row, State.KEPT)
    with pytest.raises(ValueError, match="already kept"):
        ledger.settle(row, State.HELD_OUT)


@given(
    st.builds(
        Example,
        row=st.integers(1, 9),
        messages=st.lists(
            st.builds(
                Message,
                role=st.sampled_from(["system", "user", "assistant", "tool"]),
                content=st.text(st.characters(codec="utf-8")),
                weight=st.sampled_from([None, 0, 1]),
                name=st.none() | st.text(st.characters(codec="utf-8"), max_size=3),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        group=st.text("ab", max_size=3),
        parent=st.none() | st.integers(1, 9),
    )
)
def test_an_example_survives_its_line(example: Example) -> None:
    import json

    line = example_line(example)
    assert "\n" not in line
    assert example_from_dict(json.loads(line)) == example
    assert all(message_from_dict(message.as_dict()) == message for message in example.messages)


def test_words_without_signs_are_compared_as_words() -> None:
    assert plain_words("It's  a `TEST`_case…") == "it s a test case"
    assert plain_words("Ｆｕｌｌ width") == "full width"
