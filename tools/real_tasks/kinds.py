"""The tasks: the rows of each, of the sources.

A function of a task takes the sources and a part, and returns the rows of the part's files by name,
as groups of rows that belong together.
"""

import collections
import itertools
import json
import re
import typing

from real_tasks.sources import DOMAINS, Package, Sense, Sources
from real_tasks.texts import PARTS, apart, draw, part_of, plain


def short(text: str, most: int, least: int = 2) -> bool:
    return least <= len(text.split()) <= most


def first_words(sources: Sources) -> dict:
    """Of senses (by id) a word to ask about, each word once over all parts: the first one that
    means this more often than anything else. Other senses of the word are never asked about."""
    def choose():
        found, taken = {}, set()
        for sense in (sense for part in PARTS for sense in sources.senses()[0][part]):
            for word, number in zip(sense.words, sense.numbers):
                if number == 1 and plain(word) and plain(word) not in taken:
                    taken.add(plain(word))
                    found[sense.id] = word
                    break
        return found
    return sources.once("first words", choose)


def topic(sources: Sources, part: str) -> dict:
    return {part: [[(each.id, each.topic, each.definitions[0])]
                   for each in sources.senses()[0][part] if short(each.definitions[0], 10)]}


def forms(word: str) -> set:
    """A word and its regular forms, as sentences have them."""
    stem = word[:-1] if word.endswith("e") else word
    made = {word, word + "s", word + "es", word + "ed", word + "ing", word + "d", stem + "ing",
            word + word[-1] + "ed", word + word[-1] + "ing"}
    if word.endswith("y"):
        made |= {word[:-1] + "ies", word[:-1] + "ied"}
    return made


def usages(sources: Sources) -> dict:
    """Of each (word, part of speech): short examples with a form of the word, by sense."""
    found = collections.defaultdict(dict)
    for sense in sources.all_senses():
        for word in sense.words:
            if not re.fullmatch(r"[a-z]{2,}", word):
                continue
            known = forms(word)
            fit = [each for each in sense.examples
                   if short(each, 8) and known.intersection(plain(each).split())]
            if fit:
                found[word, sense.id[0]][sense.id] = fit
    return found


def twice(pairs: list) -> list:
    """Pairs in the order of a hash, without those of which a sentence was in two before."""
    seen, chosen = collections.Counter(), []
    for pair in sorted(pairs, key=lambda each: draw("wic", *each)):
        if all(seen[each] < 2 for each in pair) and plain(pair[0]) != plain(pair[1]):
            seen.update(pair)
            chosen.append(pair)
    return chosen


def wic_pairs(word: str, letter: str, senses: dict) -> list:
    """As many pairs of one sense as of two, so that the word alone says nothing of the label."""
    same = twice([pair for fit in senses.values() for pair in itertools.combinations(fit, 2)])
    different = twice([pair for one, other in itertools.combinations(senses.values(), 2)
                       for pair in itertools.product(one, other)])
    count = min(len(same), len(different), 12)
    return [(f"{word}.{letter}.{kind}{number}", word, *pair, label)
            for kind, label, pairs in (("s", "same", same), ("d", "different", different))
            for number, pair in enumerate(pairs[:count])]


def wic(sources: Sources, part: str) -> dict:
    def pairs():
        return [(word, row) for (word, letter), senses in sorted(usages(sources).items())
                for row in wic_pairs(word, letter, senses)]
    return {part: [[row] for word, row in sources.once("wic", pairs)
                   if part_of("words", word) == part]}


def section(sources: Sources, part: str) -> dict:
    counts = sources.once("sections", lambda: collections.Counter(
        each.section for each in sources.packages()[0]["train"] if short(each.description, 10)))
    return {part: [[(each.name, each.section, each.description)]
                   for each in sources.packages()[0][part]
                   if short(each.description, 10) and counts[each.section] >= 50]}


def rings(senses: list, name: str) -> list:
    """Senses by topic, those of one kind next to each other: lists that are read as rings."""
    found = collections.defaultdict(list)
    for sense in senses:
        found[sense.topic].append(sense)
    for ring in found.values():
        ring.sort(key=lambda each: (each.kinds, draw(name, each.id)))
    return [ring for _, ring in sorted(found.items())]


ASKED = {"n": "what is {}?", "v": "what is to {}?", "a": "what is {}?", "r": "what is {}?"}


def answers(sources: Sources, part: str) -> dict:
    """A definition is the answer of one question and a wrong answer of five others: the two behind
    it among those of its kind, and three from elsewhere in its topic."""
    words, groups = first_words(sources), []
    asked = [sense for sense in sources.senses()[0][part]
             if sense.id in words and short(sense.definitions[0], 6)
             and not forms(plain(words[sense.id])).intersection(
                 plain(sense.definitions[0]).split())]
    for ring in rings(asked, "answers"):
        if len(ring) < 12:
            continue
        mixed = sorted(ring, key=lambda each: draw("mixed", each.id))
        place = {each.id: at for at, each in enumerate(mixed)}
        for at, sense in enumerate(ring):
            others = [ring[(at + step) % len(ring)] for step in (1, 2)]
            others += [mixed[(place[sense.id] + step) % len(ring)] for step in (1, 2, 3)]
            others = [each for each in others if not set(each.words).intersection(sense.words)]
            if len({each.id for each in others} - {sense.id}) < 5:
                continue
            question = ASKED[sense.id[0]].format(words[sense.id])
            rows = [(f"{sense.id}-{each.id}", question, each.definitions[0],
                     "1" if each is sense else "0", sense.id) for each in [sense, *others]]
            groups.append(sorted(rows, key=lambda row: draw("answers", row[0])))
    return {part: groups}


def by_domain(rows: list, part: str) -> dict:
    """The files of all domains, of all but one, and of one alone (all its parts are a test where a
    model saw none of them)."""
    files = {part: [[row] for row in rows]}
    for domain in DOMAINS:
        if part != "test":
            files[f"without_{domain}_{part}"] = [[row] for row in rows if row[1] != domain]
        files[f"only_{domain}"] = [[row] for row in rows if row[1] == domain]
    return files


def polarity(sources: Sources, part: str) -> dict:
    return by_domain([(each.id, each.domain, "positive" if float(each.rating) > 0 else "negative",
                       each.text) for each in sources.rated()[0][part]
                      if abs(float(each.rating)) >= 0.5], part)


def rating(sources: Sources, part: str) -> dict:
    return by_domain([(each.id, each.domain, each.rating, each.text)
                      for each in sources.rated()[0][part]], part)


def wordings(sources: Sources, most: int) -> dict:
    """Senses with two definitions of at most `most` words, in parts; neither is near-equal to one
    of a part above."""
    def make():
        parts = {part: [each for each in senses if len(each.definitions) > 1
                        and all(short(text, most) for text in each.definitions[:2])
                        and plain(each.definitions[0]) != plain(each.definitions[1])]
                 for part, senses in sources.senses()[0].items()}
        return apart(parts, lambda each: each.definitions[:2])
    return sources.once(f"wordings {most}", make)


def similar(sources: Sources, part: str) -> dict:
    """Each first definition is in one pair of each label, and so is each second one; the wrong one
    is that of the next sense of the same kind or topic."""
    pairs, triplets = [], []
    for ring in rings(wordings(sources, 12)[part], "similar"):
        for sense, other in zip(ring, ring[1:] + ring[:1]):
            wrong = other.definitions[1]
            if other is sense or plain(wrong) in map(plain, sense.definitions[:2]):
                continue
            anchor, right = sense.definitions[:2]
            pairs += [[(sense.id + "-s", anchor, right, "same")],
                      [(sense.id + "-d", anchor, wrong, "different")]]
            triplets.append([(sense.id, anchor, right, wrong)])
    return {part: pairs, f"triplets_{part}": triplets}


def passage(facts: list, name: str) -> tuple:
    """A text of facts (name, what is said of it), in an order of their own, and where each name and
    each saying begins."""
    text, places = "", {}
    for subject, said in sorted(facts, key=lambda fact: draw("passage", name, fact[0])):
        text += " " if text else ""
        places[subject] = (len(text), len(text) + len(subject) + 2)
        text += f"{subject}: {said}."
    return text, places


def ask(identity: str, question: str, answer: str, start: int) -> dict:
    return {"id": identity, "question": question, "is_impossible": not answer,
            "answers": [{"text": answer, "answer_start": start}] if answer else []}


def gloss_paragraph(group: list, absent: Sense, name: str) -> dict:
    facts = [(sense.words[0], sense.definitions[0]) for sense in group]
    text, places = passage(facts, name)
    asked = []
    for sense in group[:2]:
        asked.append(ask(f"{sense.id}-w", f"Which word means {sense.definitions[1]}?",
                         sense.words[0], places[sense.words[0]][0]))
    third = group[2]
    asked.append(ask(f"{third.id}-m", f"What does {third.words[0]} mean?", third.definitions[0],
                     places[third.words[0]][1]))
    asked.append(ask(f"{absent.id}-n", f"Which word means {absent.definitions[1]}?", "", 0))
    return {"context": text, "qas": asked}


def package_paragraph(group: list, absent: Package, name: str) -> dict:
    text, places = passage([(each.name, each.description) for each in group], name)
    one, other = group[:2]
    return {"context": text, "qas": [
        ask(f"{one.name}-d", f"What is said of {one.name}?", one.description, places[one.name][1]),
        ask(f"{other.name}-p", f"Which package is described as {other.description}?", other.name,
            places[other.name][0]),
        ask(f"{absent.name}-n", f"What is said of {absent.name}?", "", 0)]}


def fours(items: list, names: typing.Callable) -> typing.Iterator:
    """Groups of five neighbours whose names differ: four for a passage, and one that is absent."""
    for at in range(0, len(items) - 4, 5):
        group = items[at:at + 5]
        if len({plain(name) for each in group for name in names(each)[:1]}) == 5:
            yield group[:4], group[4]


def spans(sources: Sources, part: str) -> dict:
    paragraphs = []
    for ring in rings(wordings(sources, 10)[part], "spans"):
        for group, absent in fours(ring, lambda each: each.words):
            name = group[0].id
            if not any(absent.words[0] in each.words for each in group):
                paragraphs.append((name, gloss_paragraph(group, absent, name)))
    packages = [each for each in sources.packages()[0][part] if short(each.description, 12)]
    packages.sort(key=lambda each: (each.section, draw("spans", each.name)))
    for group, absent in fours(packages, lambda each: (each.name,)):
        paragraphs.append((group[0].name, package_paragraph(group, absent, group[0].name)))
    return {part: [[(name, json.dumps(each, ensure_ascii=False))] for name, each in paragraphs]}


def text(sources: Sources, part: str) -> dict:
    """Five tasks; no sense, word or package is asked about in two parts."""
    by_id = sources.once("by id", lambda: {each.id: each for each in sources.all_senses()})
    rows = []
    for sense in sources.senses()[0][part]:
        word = first_words(sources).get(sense.id, "")
        if not short(sense.definitions[0], 10) or not re.fullmatch("[a-z]{3,}", word):
            continue
        rows.append((sense.id + "-w", "word", "name the word: " + sense.definitions[0], word))
        rows.append((sense.id + "-m", "define", "define: " + word, sense.definitions[0]))
        if sense.kinds and sense.kinds[0] in by_id:
            rows.append((sense.id + "-k", "kind", "kind of: " + word,
                         by_id[sense.kinds[0]].words[0]))
        for number, each in enumerate(sense.examples[:1]):
            words = each.split()
            if short(each, 12, 3) and words.count(word) == 1:
                blank = " ".join("_" if one == word else one for one in words)
                rows.append((f"{sense.id}-f{number}", "fill", "fill in: " + blank, word))
    for each in sources.packages()[0][part]:
        if short(each.description, 10):
            rows.append((each.name + "-s", "section", "section of: " + each.description,
                         each.section))
    return {part: [[row] for row in rows]}


class Task(typing.NamedTuple):
    name: str
    make: typing.Callable
    columns: dict   # of files by the beginning of their name; "" for all others
    texts: tuple    # columns whose texts no two parts may share
    label: str      # column whose values are counted; "" for none
    most: dict      # rows of a part, at most
    sources: tuple  # for tools/fetch
    what: str


QUICK = {"train": 40_000, "dev": 1_000, "test": 5_000}
LONG = {"train": 40_000, "dev": 1_000, "test": 4_000}
PASSAGES = {"train": 8_000, "dev": 400, "test": 1_400}
WHOLE = {"train": 10**6, "dev": 10**6, "test": 10**6}

TASKS = {task.name: task for task in (
    Task("topic", topic, {"": ("id", "label", "sentence")}, ("sentence",), "label", QUICK,
         ("wordnet",), "topic of a definition"),
    Task("wic", wic, {"": ("id", "word", "sentence1", "sentence2", "label")},
         ("sentence1", "sentence2"), "label", QUICK, ("wordnet",),
         "whether a word means the same in two sentences"),
    Task("section", section, {"": ("id", "label", "sentence")}, ("sentence",), "label", QUICK,
         ("descriptions",), "section of a package, of its one-line description"),
    Task("answers", answers, {"": ("id", "question", "answer", "label", "group")},
         ("question", "answer"), "label", dict(QUICK, test=6_000), ("wordnet",),
         "which definition answers a question about a word"),
    Task("polarity", polarity, {"": ("id", "domain", "label", "sentence")}, ("sentence",), "label",
         WHOLE, DOMAINS, "positive or negative, in four domains"),
    Task("rating", rating, {"": ("id", "domain", "rating", "sentence")}, ("sentence",), "", WHOLE,
         DOMAINS, "mean rating from -4 to 4, in four domains"),
    Task("similar", similar, {"": ("id", "sentence1", "sentence2", "label"),
                              "triplets": ("id", "anchor", "positive", "negative")},
         ("sentence1", "sentence2"), "label", QUICK, ("wordnet",),
         "whether two definitions are of one sense; triplets"),
    Task("spans", spans, {}, ("context",), "", PASSAGES, ("wordnet", "descriptions"),
         "where the answer stands, in SQuAD's format"),
    Task("text", text, {"": ("id", "task", "source", "target")}, ("source",), "task", LONG,
         ("wordnet", "descriptions"), "five tasks from text to text"),
)}
