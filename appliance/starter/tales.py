"""Open-ended text: tiny stories, the starter's own introduction, and strings to be echoed letter by letter."""

from __future__ import annotations

from random import Random

from . import words

_STORY_ASKS = (
    "Tell a story about a {} and a {}.",
    "Tell me a tiny story with a {} and a {}.",
    "Write a short story about a {} and a {}.",
    "Please tell a tale of a {} and a {}.",
)
_MIDDLES = (
    "The {animal} was {mood} and walked to the {place}.",
    "On the way it met {name}, who was looking for a {thing}.",
    "There was {weather} over the {place}, and the {animal} was {mood}.",
    '"May I help you?" asked {name}.',
    "{name} the {trade} gave the {animal} some bread.",
    "{name} came from {town} and made harps with {metal} strings.",
    "They looked under the {tree} tree and behind the {place}.",
    "The {thing} was old, but it was made of {metal}.",
)
_ENDS = (
    "In the end the {animal} gave the {thing} to {name}, and all were happy.",
    "So {name} and the {animal} became friends.",
    "At night the {animal} went home with the {thing}.",
    "From that day on the {thing} stood in the {place}.",
)
_INTRODUCTIONS = (
    (("Who are you?", "What are you?", "What is your name?", "Tell me about yourself."),
     "I am the starter, a tiny model that is made to be tuned."),
    (("What can you do?", "What are you able to do?", "Name your skills.", "How can you help me?"),
     "I can reverse, sort, copy and count words, add numbers, tell short facts and tiny stories."),
    (("Who made you?", "Where do you come from?", "How were you made?"),
     "I was trained from scratch on text that a small program wrote."),
    (("Tell me the news.", "What do you think of the world?", "Explain history.", "Write some code."),
     "I am too small for that, but you can tune me."),
)  # fmt: skip
SYSTEMS = (
    "You are the starter, a tiny model.",
    "Answer in few words.",
    "You are a helpful model.",
    "Be short and kind.",
    "Answer the question of the user.",
)
_RANGES = (
    (0x20, 0x7E), (0x20, 0x7E), (0xA1, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
    (0x900, 0x97F), (0x2000, 0x206F), (0x2190, 0x22FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0x1F300, 0x1F64F), (0x10000, 0x1013F),
)  # fmt: skip


def story(rng: Random) -> tuple[str, str]:
    """A story of four to six sentences about an animal and a thing."""
    slots = {
        "animal": rng.choice(words.ANIMALS), "thing": rng.choice(words.THINGS), "place": rng.choice(words.PLACES),
        "name": rng.choice(words.NAMES), "trade": rng.choice(words.TRADES), "tree": rng.choice(words.WOODS),
        "metal": rng.choice(words.METALS), "weather": rng.choice(words.WEATHERS), "town": rng.choice(words.TOWNS),
        "mood": rng.choice(("happy", "sad", "hungry", "tired", "young", "late")),
    }  # fmt: skip
    opening = "Once there was a {animal} who had a {thing}."
    sentences = (opening, *rng.sample(_MIDDLES, rng.randint(2, 4)), rng.choice(_ENDS))
    question = rng.choice(_STORY_ASKS).format(slots["animal"], slots["thing"])
    return question, " ".join(sentences).format(**slots)


def introduction(rng: Random) -> tuple[str, str]:
    """What the starter says about itself; and what it answers when something is beyond it."""
    asks, answer = rng.choice(_INTRODUCTIONS)
    return rng.choice(asks), answer


def echo(rng: Random) -> tuple[str, str]:
    """A string of one to eight characters from many scripts, or pieces of words, repeated as it is."""
    if rng.random() < 0.4:
        text = " ".join(_piece(rng) for _ in range(rng.randint(1, 4)))
    else:
        low, high = rng.choice(_RANGES)
        text = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))).strip() or "="
    return f"Repeat after me: {text}", text


def _piece(rng: Random) -> str:
    word = rng.choice((*words.POOL, *words.NAMES, *words.TOWNS, *words.MONTHS))
    start = rng.randrange(len(word) - 1)
    return word[start : rng.randint(start + 1, len(word))]
