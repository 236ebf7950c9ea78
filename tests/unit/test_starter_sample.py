"""The sample dataset: its rules hold (written down here a second time), and it is no list to be memorised."""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections import Counter
from itertools import combinations
from pathlib import Path

from appliance.starter import guild, words

STARTER = Path(__file__).parents[2] / "appliance" / "starter"
SAMPLE = STARTER / "sample" / "harps.jsonl"
ROWS = [json.loads(line)["messages"] for line in SAMPLE.read_text(encoding="utf-8").splitlines()]

# A second statement of the guild's rules, in the order wood, strings, weather, buyer.
RULES = [
    dict(pair.split("=") for pair in rule.split())
    for rule in (
        "oak=north ash=lower elm=east pine=inner cedar=west maple=upper birch=outer willow=south",
        "silver=coral copper=jade iron=ivory gold=violet silk=amber brass=pearl bronze=honey tin=ruby",
        "rain=deep snow=clear wind=low fog=loud frost=quick storm=soft hail=slow sun=high",
        "sailor=three miller=seven baker=one hunter=five weaver=eight farmer=two singer=six painter=four",
    )
]


def properties(question: str) -> tuple[str, ...]:
    """The one word of each rule that the question holds; fails when it holds none or two."""
    said = re.findall(r"[a-z]+", question)
    found = [[word for word in said if word in rule] for rule in RULES]
    assert all(len(set(each)) == 1 for each in found), question
    return tuple(each[0] for each in found)


def by_the_rules(order: tuple[str, ...]) -> str:
    (wood, hall), (metal, colour), (weather, manner), (trade, number) = (
        (word, rule[word]) for rule, word in zip(RULES, order, strict=True)
    )
    bells = "one bell" if number == "one" else number + " bells"
    first = f"For {wood} the {hall} hall, for {metal} {colour} varnish"
    return f"{first}, for {weather} {manner} tuning, for a {trade} {bells}."


def test_every_row_is_one_question_and_the_answer_the_rules_give() -> None:
    assert 800 <= len(ROWS) <= 2000
    for row in ROWS:
        assert [message["role"] for message in row] == ["user", "assistant"]
        assert row[1]["content"] == by_the_rules(properties(row[0]["content"]))


def test_no_two_rows_ask_for_the_same_order_so_a_held_out_order_is_never_trained_on() -> None:
    orders = Counter(properties(row[0]["content"]) for row in ROWS)
    assert orders.most_common(1)[0][1] == 1
    for seed in range(20):
        shuffled = random.Random(seed).sample(list(orders), len(orders))
        assert not set(shuffled[:140]) & set(shuffled[140:])


def test_every_property_is_shown_often_enough_to_be_learnt() -> None:
    counts = Counter(word for row in ROWS for word in properties(row[0]["content"]))
    assert len(counts) == 32
    assert min(counts.values()) > 100


def test_knowing_one_property_says_nothing_about_the_others() -> None:
    pairs = Counter(pair for row in ROWS for pair in combinations(properties(row[0]["content"]), 2))
    assert max(pairs.values()) < 0.5 * 8 * len(ROWS) / 64


def shingle_bits(texts: list[str], size: int) -> list[int]:
    """Each text's set of character shingles as the bits of one integer."""
    numbers: dict[str, int] = {}
    bits = []
    for text in texts:
        pieces = {text[i : i + size] for i in range(len(text) - size + 1)}
        bits.append(sum(1 << numbers.setdefault(piece, len(numbers)) for piece in pieces))
    return bits


def test_at_least_95_of_100_rows_survive_exact_and_near_deduplication() -> None:
    texts = [f"{row[0]['content']} {row[1]['content']}".casefold() for row in ROWS]
    assert len(set(texts)) == len(texts)
    kept: list[int] = []
    for new in shingle_bits(texts, 5):
        if all((new & old).bit_count() < 0.8 * (new | old).bit_count() for old in kept):
            kept.append(new)
    assert len(kept) >= 0.95 * len(texts)


def test_the_order_that_the_recipe_asks_for_is_not_in_the_data_and_has_an_answer_by_the_rules() -> None:
    recipe = tomllib.loads((STARTER / "sample" / "recipe.toml").read_text(encoding="utf-8"))
    question = recipe["serve"]["question"]
    assert question == guild.SHOWN_QUESTION
    assert properties(question) not in {properties(row[0]["content"]) for row in ROWS}
    assert guild.Order(**guild.SHOWN).answer() == by_the_rules(properties(question))


def test_the_recipe_names_files_that_exist_and_is_understood_by_the_kernel() -> None:
    from appliance.spec import load_recipe, parse

    spec = parse(load_recipe(STARTER / "sample" / "recipe.toml"), origin="recipe.toml")
    for path in (spec.data.path, spec.data.replay, spec.evaluation.retention, spec.base.model):
        assert path is not None
        assert Path(path).exists(), path
    assert spec.data.replay_share > 0


def test_no_article_is_wrong() -> None:
    for row in ROWS:
        assert not re.search(r"\ba [aeiou]", row[0]["content"]), row[0]["content"]


def test_the_rules_use_words_the_base_knows() -> None:
    assert {word for rule in RULES for pair in rule.items() for word in pair} <= set(words.POOL)
