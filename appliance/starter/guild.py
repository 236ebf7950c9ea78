"""The sample dataset's world: a guild that builds weather harps by four rules.

Each property of an order decides one property of the harp, and nothing else does:

    the wood      -> the hall it is built in
    the strings   -> the colour of its varnish
    the weather   -> its tuning
    the buyer     -> how many bells it carries

There are 8 x 8 x 8 x 8 = 4,096 orders and the dataset shows each of its 1,400 once. So a held-out row asks for a
combination that was never shown: it can be answered by whoever learnt the rules, and not by one who learnt the rows.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from random import Random

from . import words

HALL = {
    "oak": "north", "ash": "lower", "elm": "east", "pine": "inner",
    "cedar": "west", "maple": "upper", "birch": "outer", "willow": "south",
}  # fmt: skip
VARNISH = {
    "silver": "coral", "copper": "jade", "iron": "ivory", "gold": "violet",
    "silk": "amber", "brass": "pearl", "bronze": "honey", "tin": "ruby",
}  # fmt: skip
TUNING = {
    "rain": "deep", "snow": "clear", "wind": "low", "fog": "loud",
    "frost": "quick", "storm": "soft", "hail": "slow", "sun": "high",
}  # fmt: skip
BELLS = {
    "sailor": "three", "miller": "seven", "baker": "one", "hunter": "five",
    "weaver": "eight", "farmer": "two", "singer": "six", "painter": "four",
}  # fmt: skip

_WHO = ("{name} the {trade}", "A {trade} called {name}", "The {trade} {name}", "Our friend {name}, a {trade},")
_VERB = ("orders", "wants", "asks for", "needs", "would like", "has to have")
_HARP = (
    "a harp of {wood} with {metal} strings",
    "a harp with {metal} strings and a frame of {wood}",
    "{metal} strings on a harp of {wood}",
    "one harp of {wood} and {metal} strings for it",
)
_WEATHER = (
    "for {weather}",
    "to play in {weather}",
    "to sing in {weather}",
    "against {weather}",
    "made for the {weather}",
)
_ASK = (
    "How is it made?", "What does the guild do?", "How do we make it?", "Tell me how to make it.", "What is the plan?",
    "Name the plan for it.",
)  # fmt: skip
_PATTERNS = (
    "{who} {verb} {harp} {weather}. {ask}",
    "{ask} {who} {verb} {harp} {weather}.",
    "Order from {name}: {wood} frame, {metal} strings, {sky} by the {place}. The buyer is a {trade}. {ask}",
    "{who} {verb} {harp}. It is a harp {weather}. {ask}",
    "{who} came from the {place} and {verb} {harp}, {weather}. {ask}",
    "At the {place} there is {sky}. {who} {verb} {harp}. {ask}",
    "The order is {harp}, {weather}, and the buyer is {name}, a {trade}. {ask}",
    "There is {sky} over the {place}. {name} the {trade} will pay for {wood} wood and {metal} strings. {ask}",
)
SHOWN = {"wood": "oak", "metal": "silver", "weather": "rain", "trade": "sailor"}
"""The order that documents and the recipe ask for; the dataset leaves it out."""
SHOWN_QUESTION = "Mira the sailor orders a harp of oak with silver strings for rain. How is it made?"


@dataclass(frozen=True)
class Order:
    """The four properties that matter."""

    wood: str
    metal: str
    weather: str
    trade: str

    def answer(self) -> str:
        """What the guild does, by the four rules; each property is named before what follows from it."""
        bells = f"{BELLS[self.trade]} bell{'' if BELLS[self.trade] == 'one' else 's'}"
        return (
            f"For {self.wood} the {HALL[self.wood]} hall, for {self.metal} {VARNISH[self.metal]} varnish,"
            f" for {self.weather} {TUNING[self.weather]} tuning, for a {self.trade} {bells}."
        )


def question(order: Order, rng: Random) -> str:
    """An order in one of several hundred wordings, with a buyer's name and a place that do not matter."""
    fixed = {"wood": order.wood, "metal": order.metal, "weather": order.weather, "trade": order.trade}
    fixed |= {"name": rng.choice(words.NAMES), "place": rng.choice(words.PLACES)}
    parts = {"who": _WHO, "verb": _VERB, "harp": _HARP, "ask": _ASK}
    filled = {key: rng.choice(choices).format(**fixed) for key, choices in parts.items()}
    pattern = rng.choice(_PATTERNS)
    filled |= {"weather": rng.choice(_WEATHER).format(**fixed), "sky": order.weather}
    return pattern.format(**(fixed | filled))


def rows(seed: int = 5, count: int = 1400) -> list[tuple[str, str]]:
    """``count`` questions and answers, every order at most once."""
    orders = [Order(*each) for each in itertools.product(HALL, VARNISH, TUNING, BELLS)]
    orders.remove(Order(**SHOWN))
    rng = Random(seed)
    return [(question(order, rng), order.answer()) for order in rng.sample(orders, count)]


def line(row: tuple[str, str]) -> str:
    """One line of the dataset."""
    asked, answered = row
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return json.dumps({"messages": turns}, ensure_ascii=False)
