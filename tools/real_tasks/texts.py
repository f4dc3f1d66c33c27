"""Hashes that are the same everywhere, the parts that follow from them, and near-equal texts."""

import collections
import hashlib
import re
import typing
import unicodedata

PARTS = ("train", "dev", "test")
SHARES = {"test": 200, "dev": 50}  # of a thousand; the rest is train
SHARES_OF_WORDS = {"test": 400, "dev": 50}  # there are few that can be asked about
DOWNWARDS = ("test", "dev", "train")  # of two parts that share a text the first keeps it
NEAR = 0.7  # texts whose words and pairs of neighbours have this Jaccard overlap are near-equal


class TaskError(Exception):
    """Something that the user can act on; printed without a traceback."""


def draw(*words: str) -> int:
    """A number from 0 to 2^64 - 1 that is the same on every machine."""
    text = "\0".join(words).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def part_of(source: str, key: str) -> str:
    place = draw("part", source, key) % 1000
    shares = SHARES_OF_WORDS if source == "words" else SHARES
    if place < shares["test"]:
        return "test"
    return "dev" if place < shares["test"] + shares["dev"] else "train"


def plain(text: str) -> str:
    """Small letters and digits of any script; everything else is one space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"[^\W_]+", folded))


def shingles(text: str) -> frozenset:
    """The words of plain(text) and the pairs of neighbours."""
    words = plain(text).split()
    return frozenset(words).union(zip(words, words[1:]))


def overlap(one: frozenset, other: frozenset) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


class Near:
    """Texts, and whether one that is nearly equal to a given text is among them.

    Sets whose Jaccard overlap is at least t share one of the first n - ceil(t n) + 1 elements in
    any fixed order (Chaudhuri, Ganti and Kaushik 2006, prefix filtering); rare elements come first,
    so few sets are compared. `counts` says how rare an element is and must not change.
    """

    def __init__(self, counts: collections.Counter):
        self.counts = counts
        self.found = collections.defaultdict(list)

    def prefix(self, one: frozenset) -> list:
        ordered = sorted(one, key=lambda each: (self.counts[each], str(each)))
        return ordered[:len(one) - -(-len(one) * int(NEAR * 100) // 100) + 1]

    def add(self, text: str) -> None:
        one = shingles(text)
        for each in self.prefix(one):
            self.found[each].append(one)

    def has(self, text: str) -> bool:
        one = shingles(text)
        return any(overlap(one, other) >= NEAR
                   for each in self.prefix(one) for other in self.found.get(each, ()))


def apart(parts: dict, texts: typing.Callable, order: tuple = DOWNWARDS) -> dict:
    """`parts` (lists by part) without items one of whose texts is empty, equal to one in a part
    before (in `order`) or nearly so."""
    counts = collections.Counter(each for items in parts.values() for item in items
                                 for text in texts(item) for each in shingles(text))
    near, kept = Near(counts), {}
    for part in order:
        kept[part] = [item for item in parts[part] if all(plain(text) for text in texts(item))
                      and not any(near.has(text) for text in texts(item))]
        for text in {text for item in kept[part] for text in texts(item)}:
            near.add(text)
    return kept


def split(source: str, items: list, key: typing.Callable, text: typing.Callable) -> tuple:
    """Items in parts, by the hash of their key, in the order of another hash; of items with equal
    texts one stays (that of the part above). Returns the parts and how many were left out."""
    parts = {part: [] for part in PARTS}
    for item in sorted(items, key=lambda each: draw("order", source, text(each), key(each))):
        parts[part_of(source, key(item))].append(item)
    seen = set()
    for part in DOWNWARDS:
        fresh = []
        for item in parts[part]:
            if plain(text(item)) not in seen:
                seen.add(plain(text(item)))
                fresh.append(item)
        parts[part] = fresh
    kept = apart(parts, lambda item: [text(item)])
    return kept, len(items) - sum(map(len, kept.values()))
