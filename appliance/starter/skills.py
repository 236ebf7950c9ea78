"""The skills with one right answer: each is a function from a random generator to a question and its answer.

Answers open with a fixed word, because a byte-level vocabulary has two tokens for a word (with and without the space
before it) and a list that begins a reply would need the rarer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import words


@dataclass(frozen=True)
class Exchange:
    """One question with its answer; ``skill`` names the function that wrote it."""

    skill: str
    question: str
    answer: str


Writer = Callable[[Random], tuple[str, str]]


def _list(rng: Random, low: int, high: int) -> list[str]:
    return rng.sample(words.POOL, rng.randint(low, high))


def reverse(rng: Random) -> tuple[str, str]:
    """Three to five words, back to front."""
    items = _list(rng, 3, 5)
    ask = rng.choice(("Reverse the words:", "Write these words backwards:", "Turn this list around:", "Reverse this:"))
    return f"{ask} {' '.join(items)}", f"Reversed: {' '.join(reversed(items))}"


def sort(rng: Random) -> tuple[str, str]:
    """Three or four words in alphabetical order."""
    items = _list(rng, 3, 4)
    ask = rng.choice(("Sort the words:", "Put these words in order:", "Sort from a to z:", "Sort this list:"))
    return f"{ask} {' '.join(items)}", f"Sorted: {' '.join(sorted(items))}"


def copy(rng: Random) -> tuple[str, str]:
    """Three to six words, repeated."""
    items = _list(rng, 3, 6)
    ask = rng.choice(("Repeat the words:", "Copy this list:", "Say these words again:", "Repeat:"))
    return f"{ask} {' '.join(items)}", f"Words: {' '.join(items)}"


def count(rng: Random) -> tuple[str, str]:
    """How many words a list has, from two to seven."""
    items = _list(rng, 2, 7)
    ask = rng.choice(("How many words are here:", "Count the words:", "How many words:", "Count this list:"))
    return f"{ask} {' '.join(items)}", f"There are {words.NUMBERS[len(items) - 1]} words."


def lookup(rng: Random) -> tuple[str, str]:
    """One pair found again among three to five pairs given in the question."""
    size = rng.randint(3, 5)
    items = rng.sample(words.POOL, 2 * size)
    keys, values = items[:size], items[size:]
    pairs = ", ".join(f"{key} is {value}" for key, value in zip(keys, values, strict=True))
    chosen = rng.randrange(size)
    ask = rng.choice(("What is", "Now what is", "So what is"))
    return f"If {pairs}. {ask} {keys[chosen]}?", f"It is {values[chosen]}."


def _digits(number: int) -> str:
    return " ".join(str(number))


def add(rng: Random) -> tuple[str, str]:
    """A sum laid out column by column from the right, with the carry said aloud, then read off."""
    size = rng.randint(1, 3)
    low, high = (0 if size == 1 else 10 ** (size - 1)), 10**size - 1
    left, right = rng.randint(low, high), rng.randint(low, high)
    ask = rng.choice(("Add {} and {}", "What is {} plus {} ?", "Sum of {} and {}", "How much is {} plus {} ?"))
    return ask.format(_digits(left), _digits(right)), worked_sum(left, right)


def worked_sum(left: int, right: int) -> str:
    """The answer to an addition of two numbers of equal length of at most three digits."""
    columns, carry = [], 0
    pairs = zip(reversed(str(left)), reversed(str(right)), strict=True)
    for name, (upper, lower) in zip(("Ones", "Tens", "Hundreds"), pairs, strict=False):
        total = int(upper) + int(lower) + carry
        columns.append(f"{name}: {upper} + {lower} + {carry} = {total // 10} {total % 10}.")
        carry = total // 10
    return f"{' '.join(columns)} Sum: {_digits(left + right)}"


_FACT_ASKS = {
    "opposite": ("What is the opposite of {}?", "Name the opposite of {}.", "Tell me the opposite of {}.",
                 "Opposite of {}?",
                 "Which word is the opposite of {}?", "Do you know the opposite of {}?"),
    "after": ("What comes after {}?", "What is next after {}?", "Name the one after {}.",
              "Tell me what comes after {}.",
              "What follows {}?", "Do you know what comes after {}?"),
    "before": ("What comes before {}?", "Name the one before {}.", "Tell me what comes before {}.",
               "Do you know what comes before {}?"),
    "colour": ("What colour is {}?", "Which colour has {}?", "Tell me the colour of {}.", "Name the colour of {}.",
               "Do you know the colour of {}?"),
    "young": ("What is a young {} called?", "What do we call a young {}?", "Name the young of a {}.",
              "How do you call a baby {}?", "Tell me the name of a young {}."),
    "home": ("Where does a {} live?", "What is the home of a {}?", "Name the home of a {}.",
             "Tell me where a {} lives.",
             "In what does a {} live?"),
}  # fmt: skip


def _fact_table() -> tuple[tuple[str, str, str], ...]:
    rows: list[tuple[str, str, str]] = []
    for left, right in words.OPPOSITES:
        rows.append(("opposite", left, f"The opposite of {left} is {right}."))
        rows.append(("opposite", right, f"The opposite of {right} is {left}."))
    for ring in (words.DAYS, words.MONTHS):
        for here, following in zip(ring, (*ring[1:], ring[0]), strict=True):
            rows.append(("after", here, f"After {here} comes {following}."))
            rows.append(("before", following, f"Before {following} comes {here}."))
    rows += [("colour", thing, f"The colour of {thing} is {hue}.") for thing, hue in words.HUES]
    rows += [("young", animal, f"A young {animal} is a {child}.") for animal, child in words.YOUNG]
    rows += [("home", animal, f"The home of a {animal} is a {home}.") for animal, home in words.HOMES]
    return tuple(rows)


FACTS = _fact_table()
"""(kind, subject, answer) of every short fact."""


def fact(rng: Random) -> tuple[str, str]:
    """A short fact, asked in one of several ways."""
    kind, subject, answer = rng.choice(FACTS)
    return rng.choice(_FACT_ASKS[kind]).format(subject), answer


_TALK = (
    (("Hello, my name is {}.", "Hi, I am {}.", "Good morning, I am {}.", "Hello! They call me {}.", "My name is {}.",
      "Good day, {} here.", "Hey, this is {}.", "Please call me {}."), "Hello {}, nice to meet you."),
    (("Thank you, says {}.", "{} says thank you.", "{} wants to thank you.", "Many thanks from {}."),
     "You are welcome, {}."),
    (("Goodbye from {}.", "{} has to go now.", "{} says goodbye.", "This is {}, good night.", "See you soon, says {}."),
     "Goodbye {}, see you soon."),
    (("How are you? asks {}.", "{} asks how you are.", "This is {}, how are you?", "{} here, are you well?"),
     "I am well, {}, thank you."),
)  # fmt: skip


def talk(rng: Random) -> tuple[str, str]:
    """Small talk: a greeting, thanks, a farewell or a question after one's health, answered by name."""
    asks, answer = rng.choice(_TALK)
    name = rng.choice(words.NAMES)
    return rng.choice(asks).format(name), answer.format(name)


_PASSAGES = (
    ("{name} the {trade} came from the {place}.", "name trade place"),
    ("{name}, a {trade}, has one {colour} {thing}.", "name trade colour thing"),
    ("A {trade} called {name} looked for {wood} and {metal}.", "trade name wood metal"),
    ("The {thing} was made of {wood} and {metal}.", "thing wood metal"),
    ("There was {weather} over the {place}.", "weather place"),
    ("In {weather} the {animal} ran to the {place}.", "weather animal place"),
    ("With {metal} and one {colour} {thing} of {wood} came the {trade}.", "metal colour thing wood trade"),
    ("The {animal} of the {trade} was under the {wood}.", "animal trade wood"),
    ("For {weather} one has to have {metal}.", "weather metal"),
)
_KINDS = {
    "name": words.NAMES, "trade": words.TRADES, "place": words.PLACES, "colour": words.COLOURS, "thing": words.THINGS,
    "wood": words.WOODS, "metal": words.METALS, "weather": words.WEATHERS, "animal": words.ANIMALS,
}  # fmt: skip


def read(rng: Random) -> tuple[str, str]:
    """Two or three sentences, then one to four things said in them are asked for by kind."""
    values = {kind: rng.choice(choices) for kind, choices in _KINDS.items()}
    passages = rng.sample(_PASSAGES, rng.randint(2, 3))
    said = sorted({kind for _, kinds in passages for kind in kinds.split()})
    kinds = rng.sample(said, min(len(said), rng.randint(1, 4)))
    ask = rng.choice(("What is", "Name", "Tell me")) + " " + " and ".join(f"the {kind}" for kind in kinds)
    text = " ".join(passage for passage, _ in passages).format(**values)
    return f"{text} {ask}.", f"It is {' and '.join(values[kind] for kind in kinds)}."


EXACT: dict[str, Writer] = {
    "reverse": reverse,
    "sort": sort,
    "copy": copy,
    "count": count,
    "add": add,
    "read": read,
    "fact": fact,
    "talk": talk,
}
"""The skills scored by exact match, in the order reports show them. ``lookup`` is written too, but was not learnt."""
