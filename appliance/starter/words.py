"""The words the starter is made of: every list here is fixed, ordered and free of duplicates.

The model has a vocabulary of 1,024 tokens, so the world is kept small enough that each of these words is one token.
"""

from __future__ import annotations

WOODS = ("oak", "ash", "elm", "pine", "cedar", "maple", "birch", "willow")
METALS = ("silver", "copper", "iron", "gold", "silk", "brass", "bronze", "tin")
WEATHERS = ("rain", "snow", "wind", "fog", "frost", "storm", "hail", "sun")
TRADES = ("sailor", "miller", "baker", "hunter", "weaver", "farmer", "singer", "painter")
HALLS = ("north", "south", "east", "west", "upper", "lower", "inner", "outer")
COLOURS = ("amber", "ruby", "jade", "pearl", "coral", "honey", "ivory", "violet")
MANNERS = ("slow", "quick", "low", "high", "soft", "loud", "deep", "clear")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")

ANIMALS = ("fox", "bear", "owl", "cat", "dog", "hen", "goat", "frog", "mouse", "crow", "duck", "wolf", "bee", "horse")
THINGS = (
    "lamp", "boat", "key", "drum", "bell", "cup", "book", "coin", "hat", "rope", "stone", "kite", "box", "map",
    "ladder", "basket", "mirror", "candle", "harp", "flute", "chair", "table", "window", "door", "wheel", "needle",
)  # fmt: skip
PLACES = (
    "river",
    "forest",
    "garden",
    "hill",
    "bridge",
    "market",
    "harbour",
    "valley",
    "island",
    "tower",
    "mill",
    "cave",
)
PLAIN = (
    "apple", "bread", "cloud", "dust", "earth", "flame", "grass", "ice", "jam", "leaf", "moon", "night", "onion",
    "paper", "queen", "road", "salt", "tree", "uncle", "voice", "water", "yarn", "zebra", "milk", "nest", "plum",
    "rice", "sand", "thorn", "wool",
)  # fmt: skip

POOL: tuple[str, ...] = (
    *WOODS, *METALS, *WEATHERS, *TRADES, *HALLS, *COLOURS, *MANNERS, *NUMBERS, *ANIMALS, *THINGS, *PLACES, *PLAIN,
)  # fmt: skip
"""Every word a list to reverse, sort, repeat or count may hold."""

NAMES = (
    "Ada", "Ben", "Cora", "Dan", "Eva", "Finn", "Greta", "Hugo", "Ida", "Jon", "Kira", "Leo", "Mira", "Nils", "Olga",
    "Paul", "Rosa", "Sam", "Tara", "Udo", "Vera", "Wim", "Yara", "Zoe", "Anton", "Berta", "Carl", "Dora", "Emil",
    "Frida", "Gus", "Hanna", "Ivan", "Jana", "Karl", "Lena",
)  # fmt: skip
TOWNS = ("Amberford", "Brackwater", "Coldwell", "Dunmoor", "Elmstead", "Farhaven", "Greywick", "Highmere")

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("day", "night"), ("wet", "dry"), ("young", "old"),
    ("full", "empty"), ("open", "closed"), ("high", "low"), ("loud", "soft"), ("quick", "slow"), ("happy", "sad"),
    ("early", "late"), ("hard", "easy"), ("long", "short"), ("north", "south"), ("east", "west"), ("light", "dark"),
    ("left", "right"), ("rich", "poor"),
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
HUES = (
    ("snow", "white"), ("grass", "green"), ("coal", "black"), ("blood", "red"), ("the sky", "blue"),
    ("a lemon", "yellow"),
    ("a carrot", "orange"), ("milk", "white"), ("a crow", "black"), ("a plum", "violet"), ("the sun", "yellow"),
    ("a leaf", "green"), ("the sea", "blue"), ("a mouse", "grey"), ("wood", "brown"), ("a brick", "red"),
)  # fmt: skip
YOUNG = (
    ("cat", "kitten"), ("dog", "puppy"), ("cow", "calf"), ("horse", "foal"), ("sheep", "lamb"), ("goat", "kid"),
    ("hen", "chick"), ("duck", "duckling"), ("bear", "cub"), ("frog", "tadpole"), ("pig", "piglet"), ("owl", "owlet"),
)  # fmt: skip
HOMES = (
    ("bee", "hive"), ("bird", "nest"), ("dog", "kennel"), ("horse", "stable"), ("fox", "den"), ("bear", "cave"),
    ("spider", "web"), ("fish", "water"), ("king", "castle"), ("hen", "coop"),
)  # fmt: skip
