"""The generator of the starter's text: seeded, truthful, and silent about what is held out."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from appliance.starter import corpus, files, heldout, words
from appliance.starter.skills import EXACT

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "appliance" / "starter"


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (STARTER / name).read_text(encoding="utf-8").splitlines()]


def independent_hash(question: str) -> str:
    folded = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", question).casefold()).strip()
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()


def take(seed: int, count: int) -> list[corpus.Messages]:
    return list(itertools.islice(corpus.stream(seed), count))


def questions(conversations: list[corpus.Messages]) -> list[str]:
    return [m["content"] for messages in conversations for m in messages if m["role"] == "user"]


def test_the_stream_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert take(3, 300) == take(3, 300)
    assert take(3, 300) != take(4, 300)


def test_the_stream_does_not_depend_on_the_hash_seed_or_the_locale() -> None:
    code = (
        "import itertools, hashlib\nfrom appliance.starter import corpus, guild\n"
        "rows = list(itertools.islice(corpus.stream(9), 500))\n"
        "print(hashlib.sha256(repr((rows, guild.rows())).encode()).hexdigest())"
    )
    digests = set()
    for hash_seed, locale in (("0", "C"), ("1", "C.UTF-8"), ("77", "tr_TR.UTF-8")):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": locale}
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1


def test_no_trained_question_is_an_evaluation_item() -> None:
    held_out = {independent_hash(row["messages"][0]["content"]) for row in lines("skills.jsonl")}
    trained = questions(take(20261123, 20_000))
    trained += questions(list(itertools.islice(corpus.stream(20261123, corpus.LATER_WEIGHTS), 20_000)))
    held_out |= {independent_hash(item.question) for item in corpus.evaluation_items((*EXACT, "lookup"))}
    replayed = questions([row["messages"] for row in lines("replay.jsonl")])
    sample = questions([row["messages"] for row in lines("sample/harps.jsonl")])
    for group in (trained, replayed, sample):
        assert not held_out & {independent_hash(each) for each in group}


def test_the_held_out_side_is_about_one_question_in_twelve() -> None:
    share = sum(heldout.is_held_out(f"question {n}") for n in range(12_000)) / 12_000
    assert 0.07 < share < 0.097


@pytest.mark.parametrize("variant", ["REPEAT: a b", "  Repeat:\ta   b ", "Ｒepeat: a b"])
def test_writing_a_question_differently_does_not_move_it_to_the_other_side(variant: str) -> None:
    assert heldout.question_hash(variant) == heldout.question_hash("repeat: a b")


def test_every_skill_has_at_least_thirty_distinct_evaluation_items() -> None:
    rows = lines("skills.jsonl")
    for skill in EXACT:
        asked = [row["messages"][0]["content"] for row in rows if row["skill"] == skill]
        assert len(asked) == len(set(asked)) >= 30
    assert all(heldout.is_held_out(row["messages"][0]["content"]) for row in rows)
    assert all(row["expected"] and row["expected"] == row["expected"].strip() for row in rows)


def listed(question: str) -> list[str]:
    return question.rpartition(":")[2].split() if ":" in question else question.split()


def test_the_expected_answers_are_true() -> None:
    for row in lines("skills.jsonl"):
        question, expected = row["messages"][0]["content"], row["expected"]
        items = listed(question)
        if row["skill"] == "reverse":
            assert expected == "Reversed: " + " ".join(items[::-1])
        elif row["skill"] == "sort":
            assert expected == "Sorted: " + " ".join(sorted(items))
        elif row["skill"] == "copy":
            assert expected == "Words: " + " ".join(items)
        elif row["skill"] == "count":
            spoken = ["one", "two", "three", "four", "five", "six", "seven", "eight"][len(items) - 1]
            assert expected == f"There are {spoken} words."


def test_what_is_read_is_of_the_kind_asked_for_and_stands_in_the_text() -> None:
    kinds = {"wood": words.WOODS, "metal": words.METALS, "weather": words.WEATHERS, "trade": words.TRADES}
    kinds |= {"name": words.NAMES, "place": words.PLACES, "thing": words.THINGS, "animal": words.ANIMALS}
    kinds |= {"colour": words.COLOURS}
    for row in (each for each in lines("skills.jsonl") if each["skill"] == "read"):
        text, _, asked = row["messages"][0]["content"].rstrip(".").rpartition(". ")
        answers = row["expected"].removeprefix("It is ").rstrip(".").split(" and ")
        for kind, answer in zip(re.findall(r"the (\w+)", asked), answers, strict=True):
            assert answer in kinds[kind]
            assert set(re.findall(r"\w+", text)) & set(kinds[kind]) == {answer}


def test_every_line_of_a_worked_sum_is_true() -> None:
    sums = [row for row in lines("skills.jsonl") if row["skill"] == "add"]
    assert len(sums) >= 30
    for row in sums:
        left, right = re.findall(r"\d(?: \d)*", row["messages"][0]["content"])
        total = int(left.replace(" ", "")) + int(right.replace(" ", ""))
        assert int(row["expected"].partition("Sum: ")[2].replace(" ", "")) == total
        for a, b, carry, tens, ones in re.findall(r"(\d) \+ (\d) \+ (\d) = (\d) (\d)", row["expected"]):
            assert int(a) + int(b) + int(carry) == 10 * int(tens) + int(ones)


def test_the_words_are_distinct() -> None:
    assert len(set(words.POOL)) == len(words.POOL)
    assert len(set(words.NAMES)) == len(words.NAMES)


@pytest.mark.parametrize("name", [files.SKILLS, files.REPLAY, files.SAMPLE])
def test_the_committed_data_files_are_what_the_generator_writes(name: str) -> None:
    assert (STARTER / name).read_text(encoding="utf-8") == files.contents()[name]


def test_the_generator_loads_nothing_heavy() -> None:
    code = "import sys, appliance.starter.files, appliance.starter.build\n"
    code += "print(sorted({m.split('.')[0] for m in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "tokenizers", "numpy"} & set(json.loads(ran.stdout.replace("'", '"')))
