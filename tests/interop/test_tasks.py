"""tools/tasks: parts that do not leak, the same bytes from the same sources, and what is refused.

The sources are made here: a few hundred senses, packages and rated sentences."""

import collections
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from real_tasks import folders, kinds, sources, texts  # noqa: E402

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo")
WORDS = ["".join(each) for each in itertools.product(SYLLABLES, repeat=3)]


def word(*key):
    return WORDS[texts.draw("word", *map(str, key)) % len(WORDS)]


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


def write_sources(data):
    """Senses in four topics, two of each word, with two definitions and examples; every tenth
    definition differs from the one before it in its last word alone."""
    rows, before = [], ""
    for at in range(1200):
        first = " ".join(word("first", at, each) for each in range(6))
        if at % 10 == 9:
            first = before + " " + word("changed", at)
        before = first
        second = " ".join(word("second", at, each) for each in range(5))
        name = WORDS[at // 2]
        examples = "; ".join(f'"{name} {word(at, n, 1)} {word(at, n, 2)} {word(at, n, 3)}"'
                             for n in range(3))
        rows.append((f"n{at:08}", f"noun.{'abcd'[at % 4]}", f"{name}|{name} {word('two', at)}",
                     f"{1 + at % 2}|1", f"n{at // 8:08}", f"{first}; {second}; {examples}"))
    write(data / "wordnet/senses.tsv", ("id", "topic", "words", "senses", "kinds", "gloss"), rows)
    (data / "wordnet/LICENSE.txt").write_text("free\n")
    for part, at in (("train", 0), ("dev", 1), ("test", 2)):
        write(data / f"descriptions/{part}.tsv", ("id", "section", "description"),
              [(f"lib{word('name', n)}{n}", ("libs", "net")[n % 2],
                " ".join(word("text", n, each) for each in range(7)))
               for n in range(at, 600, 3)])
        for domain in sources.DOMAINS:
            write(data / f"{domain}/ratings_{part}.tsv", ("id", "rating", "sentence"),
                  [(f"{n // 2}_{n}", ("1.5", "-2", "0.2", "-0.7")[n % 4],
                    " ".join(word(domain, n, each) for each in range(8)))
                   for n in range(at, 300, 3)])


class Made(unittest.TestCase):
    """All tasks, made once."""

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.data = pathlib.Path(temporary.name) / "data"
        write_sources(cls.data)
        cls.made = cls.run_tasks("--all")

    @classmethod
    def run_tasks(cls, *options):
        return subprocess.run([sys.executable, str(ROOT / "tools/tasks"), "--data", str(cls.data),
                               *options], capture_output=True, text=True)

    def rows(self, task, file):
        suffix = "tsv" if kinds.TASKS[task].columns else "json"
        return folders.read_file(self.data / f"tasks/{task}/{file}.{suffix}", kinds.TASKS[task])

    def test_every_task_is_made_with_its_three_parts(self):
        self.assertEqual(self.made.returncode, 0, self.made.stderr)
        for name in kinds.TASKS:
            for part in texts.PARTS:
                rows = self.rows(name, part)
                self.assertGreater(len(rows), 4, f"{name} {part}")
                self.assertEqual(len({row["id"] for row in rows}), len(rows))
            self.assertEqual(self.run_tasks("--check", name).returncode, 0, name)

    def test_no_text_of_a_part_is_in_another_nor_nearly(self):
        # Every pair of texts is compared, without the index that the tool looks in.
        for name in ("topic", "wic", "section", "answers", "polarity", "similar", "text"):
            sets = {part: {texts.shingles(text) for row in self.rows(name, part)
                           for text in folders.texts_of(kinds.TASKS[name], row)}
                     for part in texts.PARTS}
            for one, other in itertools.combinations(texts.PARTS, 2):
                largest = max(texts.overlap(a, b) for a in sets[one] for b in sets[other])
                self.assertLess(largest, texts.NEAR, f"{name}: {one}, {other}")

    def test_a_sense_word_package_or_document_is_in_one_part(self):
        keys = {"topic": lambda row: row["id"], "wic": lambda row: row["word"],
                "section": lambda row: sources.family(row["id"]),
                "answers": lambda row: row["group"], "similar": lambda row: row["id"][:9],
                "rating": lambda row: row["id"].split("_")[0], "text": lambda row: row["id"][:-2],
                "polarity": lambda row: row["id"].split("_")[0]}
        for name, key in keys.items():
            parts = [{key(row) for row in self.rows(name, part)} for part in texts.PARTS]
            self.assertEqual(sum(map(len, parts)), len(set.union(*parts)), name)

    def test_the_near_equal_definitions_of_the_source_did_cross_parts(self):
        # Otherwise the tests above would say nothing of leaving them out.
        rows = sources.table(self.data / "wordnet/senses.tsv",
                           ("id", "topic", "words", "senses", "kinds", "gloss"))
        crossed = [at for at in range(9, 1200, 10) if texts.part_of("wordnet", rows[at][0])
                   != texts.part_of("wordnet", rows[at - 1][0])]
        self.assertGreater(len(crossed), 20)
        kept = {row["id"] for part in texts.PARTS for row in self.rows("topic", part)}
        self.assertFalse([at for at in crossed if {rows[at][0], rows[at - 1][0]} <= kept])

    def test_the_same_sources_give_the_same_bytes_in_whatever_order(self):
        path = self.data / "wordnet/senses.tsv"
        before = path.read_text()
        self.addCleanup(path.write_text, before)
        header, *lines = before.splitlines(keepends=True)
        path.write_text(header + "".join(reversed(lines)))
        other = self.data.parent / "again"
        result = self.run_tasks("--into", str(other), "topic", "similar", "wic", "answers", "spans")
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in ("topic", "similar", "wic", "answers", "spans"):
            for written in sorted((self.data / "tasks" / name).iterdir()):
                self.assertEqual((other / name / written.name).read_bytes(), written.read_bytes(),
                                 f"{name} {written.name}")

    def test_rows_are_not_sorted_by_class(self):
        for name in ("topic", "wic", "similar", "section"):
            labels = [row["label"] for row in self.rows(name, "train")][:60]
            self.assertEqual(set(labels), {row["label"] for row in self.rows(name, "train")}, name)
            runs = [len(list(group)) for _, group in itertools.groupby(labels)]
            self.assertLess(max(runs), 14, name)

    def test_labels_of_pairs_are_balanced_and_single_texts_say_nothing(self):
        for part in texts.PARTS:
            for row in ("sentence1", "sentence2"):
                by_label = {label: sorted(each[row] for each in self.rows("similar", part)
                                          if each["label"] == label)
                            for label in ("same", "different")}
                self.assertEqual(by_label["same"], by_label["different"])
            counts = collections.Counter((each["word"], each["label"])
                                         for each in self.rows("wic", part))
            self.assertLess(abs(sum(n if label == "same" else -n
                                    for (_, label), n in counts.items())), 5)

    def test_an_answer_is_one_of_six_and_wrong_five_times(self):
        for part in texts.PARTS:
            rows = self.rows("answers", part)
            groups = {key: list(group) for key, group in
                      itertools.groupby(rows, key=lambda row: row["group"])}
            self.assertEqual(sum(map(len, groups.values())), len(rows))  # none is torn apart
            places = collections.Counter()
            for group in groups.values():
                self.assertEqual(sorted(row["label"] for row in group), list("000001"))
                self.assertEqual(len({row["question"] for row in group}), 1)
                places[[row["label"] for row in group].index("1")] += 1
            if part == "train":
                self.assertGreater(len(places), 4)

    def test_a_domain_is_left_out(self):
        for task in ("polarity", "rating"):
            left = {row["id"] for part in ("train", "dev")
                    for row in self.rows(task, f"without_tweets_{part}")}
            alone = self.rows(task, "only_tweets")
            self.assertEqual({row["domain"] for row in alone}, {"tweets"})
            self.assertTrue(left.isdisjoint(row["id"] for row in alone))
            for part in ("train", "dev"):
                rows = self.rows(task, f"without_tweets_{part}")
                self.assertEqual({row["domain"] for row in rows},
                                 {"movies", "products", "editorials"})

    def test_polarity_is_the_sign_of_ratings_that_are_not_near_zero(self):
        ratings = {row["id"]: float(row["rating"]) for row in self.rows("rating", "train")}
        rows = self.rows("polarity", "train")
        for row in rows:
            self.assertGreaterEqual(abs(ratings[row["id"]]), 0.5)
            self.assertEqual(row["label"], "positive" if ratings[row["id"]] > 0 else "negative")
        self.assertEqual(len(rows), sum(abs(each) >= 0.5 for each in ratings.values()))

    def test_answers_stand_where_the_file_says(self):
        answered = 0
        for row in self.rows("spans", "train"):
            for answer in row["answers"]:
                start = answer["answer_start"]
                self.assertEqual(row["context"][start:start + len(answer["text"])], answer["text"])
                answered += 1
        self.assertGreater(answered, 10)
        self.assertLess(answered, len(self.rows("spans", "train")))

    def test_what_was_written_is_told(self):
        told = json.loads((self.data / "tasks/topic/about.json").read_text())
        rows = self.rows("topic", "train")
        self.assertEqual(told["files"]["train.tsv"]["rows"], len(rows))
        self.assertEqual(told["files"]["train.tsv"]["labels"],
                         dict(collections.Counter(row["label"] for row in rows)))
        self.assertEqual((self.data / "tasks/topic/LICENSE-wordnet.txt").read_text(), "free\n")

    def test_a_leak_that_somebody_made_is_found(self):
        path = self.data / "tasks/section/train.tsv"
        before = path.read_text()
        self.addCleanup(path.write_text, before)
        stolen = self.rows("section", "test")[0]["sentence"]
        path.write_text(before + f"new\tlibs\t{stolen.upper()}, {word('more')}!\n")
        result = self.run_tasks("--check", "section")
        self.assertEqual(result.returncode, 1)
        self.assertIn("'train': {'equal': 0, 'near': 1}", result.stdout)


class Hostile(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = pathlib.Path(temporary.name) / "senses.tsv"

    def refused(self, data, message):
        self.path.write_bytes(data)
        with self.assertRaisesRegex(texts.TaskError, message):
            sources.table(self.path, ("id", "text"))

    def test_lines_that_do_not_fit_are_refused_with_their_number(self):
        self.refused(b"id\ttext\na\tone\nb\n", "line 3: 1 columns where 2 are due")
        self.refused(b"id\ttext\na\tone\ntwo\t\xff\n", "line 3: not UTF-8")
        self.refused(b"id\ttext\na\tone\nb\ttw", "line 3: the end is missing")
        self.refused(b"id\ttext\na\tone\r\n", "line 2: a control character")
        self.refused("id\ttext\na\tone\u2028two\n".encode(), "line 2: a control character")
        self.refused(b"id\ttext\na\tone\na\ttwo\n", "line 3: the id 'a' is empty or was there")
        self.refused(b"\xef\xbb\xbfid\ttext\na\tone\n", "line 1: the columns are not id, text")
        self.refused(b"", "line 1: the columns are not")

    def test_a_source_that_is_missing_is_named_with_its_command(self):
        with self.assertRaisesRegex(texts.TaskError, "run: tools/fetch wordnet"):
            sources.Sources(self.path.parent).senses()

    def test_words_without_numbers_are_refused(self):
        with self.assertRaisesRegex(texts.TaskError, "n1: words and numbers do not fit"):
            sources.read_sense(("n1", "noun.act", "a|b", "1", "", "gloss"), "here")


class Reading(unittest.TestCase):
    def test_glosses_are_definitions_and_examples(self):
        row = ("n1", "noun.act", "dog|domestic dog", "1|2", "n2|n3",
               'a beast (tame; loud); man\'s friend; "the dog barked"; "dogs; cats"')
        sense = sources.read_sense(row, "here")
        self.assertEqual(sense.definitions, ("a beast (tame; loud)", "man's friend"))
        self.assertEqual(sense.examples, ("the dog barked", "dogs; cats"))
        self.assertEqual((sense.words, sense.numbers, sense.kinds),
                         (("dog", "domestic dog"), (1, 2), ("n2", "n3")))

    def test_a_gloss_that_is_an_example_alone_gives_nothing(self):
        row = ("n1", "noun.act", "a", "1", "", '"an example"')
        self.assertIsNone(sources.read_sense(row, "here"))

    def test_plain_texts(self):
        self.assertEqual(texts.plain(" A \u201cdog\u201d, (tame)--2nd_one! "), "a dog tame 2nd one")
        self.assertEqual(texts.plain("na\u00efve \ufb01sh"), "na\u00efve fish")

    def test_overlap_is_of_words_and_neighbours(self):
        # {a, b, c, ab, bc} and {a, b, d, ab, bd} share a, b and ab of seven.
        one, other = texts.shingles("a b c"), texts.shingles("a b d")
        self.assertAlmostEqual(texts.overlap(one, other), 3 / 7)

    def test_packages_of_one_source_are_a_family(self):
        for name in ("libzip4", "libzip-dev", "python3-zip", "zip"):
            self.assertEqual(sources.family(name), "zip")
        for name in ("0ad", "0ad-data"):
            self.assertEqual(sources.family(name), "0ad")

    def test_parts_follow_the_id_alone(self):
        counts = collections.Counter(texts.part_of("wordnet", str(n)) for n in range(20_000))
        self.assertAlmostEqual(counts["test"] / 20_000, 0.2, delta=0.01)
        self.assertAlmostEqual(counts["dev"] / 20_000, 0.05, delta=0.01)
        # BLAKE2b of "part", "wordnet" and the id with NUL between, on any machine.
        self.assertEqual(texts.draw("part", "wordnet", "n00001740"), 12236984925484459577)


if __name__ == "__main__":
    unittest.main()
