"""What a line is, as a user meets it: the same results whatever ends the lines of a file, and
errors that name the line. COMPRESS_BIN names the program.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_lines.py
"""

import bz2
import json
import pathlib
import subprocess
import tempfile
import unittest

import torch
import transformers

from tests.support.program import BINARY

MARK = "\ufeff"
ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] # a good film win one world what is it w0 w1 w2".split()
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 16, "vocab_size": len(WORDS), "max_position_embeddings": 160}


def command(*arguments, data=b""):
    done = subprocess.run([BINARY, "--threads", "1", *map(str, arguments)], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=300)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def bert(folder, kind, **config):
    torch.manual_seed(1)
    model = kind(transformers.BertConfig(**SIZES, **config))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")


class Lines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.gpt2 = cls.folder / "gpt2"
        text = cls.write("corpus.txt", "hello world\nthe film was good\n" * 20)
        code, _, error = command("tokenizer", "train", text, "--model", "bpe", "--vocab-size", 280,
                                 "--out", cls.gpt2)
        assert code == 0, error
        torch.manual_seed(1)
        config = transformers.GPT2Config(vocab_size=280, n_positions=64, n_embd=16, n_layer=1,
                                         n_head=2, bos_token_id=0, eos_token_id=0)
        transformers.GPT2LMHeadModel(config).save_pretrained(cls.gpt2)
        cls.ner, cls.qa = cls.folder / "ner", cls.folder / "qa"
        bert(cls.ner, transformers.BertForTokenClassification,
             id2label=dict(enumerate(["B-ENT", "I-ENT", "O"])))
        bert(cls.qa, transformers.BertForQuestionAnswering)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def write(cls, name, text):
        path = cls.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def succeeds(self, *arguments, data=b""):
        code, out, error = command(*arguments, data=data)
        self.assertEqual(code, 0, error)
        return out

    def fails(self, code, message, *arguments, data=b""):
        found, _, error = command(*arguments, data=data)
        self.assertEqual(found, code, error)
        self.assertIn(message, error)

    def scores(self, *arguments):
        found = json.loads(self.succeeds("evaluate", *arguments, "--json"))
        return found["rows"], [(m["value"], m["n"]) for m in found["metrics"]]

    def test_texts_of_tokenizer_and_generate(self):
        text = "hello world\n\n the film\fwas\u2028good\u0085\n"
        wanted = self.succeeds("tokenizer", "encode", self.gpt2, self.write("t.txt", text))
        self.assertEqual(len(wanted.splitlines()), 3)
        prompts = "hello\nthe film\n"
        generate = ("generate", self.gpt2, "--max-new-tokens", 3, "--quiet")
        written = self.succeeds(*generate, "--file", self.write("p.txt", prompts))
        for name, end in ENDS.items():
            for mark in ("", MARK):
                with self.subTest(name, mark=bool(mark)):
                    file = self.write("t.txt", mark + text.replace("\n", end))
                    self.assertEqual(self.succeeds("tokenizer", "encode", self.gpt2, file), wanted)
                    self.assertEqual(
                        self.succeeds("tokenizer", "encode", self.gpt2, data=file.read_bytes()),
                        wanted)
            file = self.write("t.txt", MARK + text.replace("\n", end))
            self.assertEqual(
                self.succeeds("tokenizer", "encode", self.gpt2, file, file), 2 * wanted)
            file = self.write("p.txt", MARK + prompts.replace("\n", end))
            self.assertEqual(self.succeeds(*generate, "--file", file), written)
        stray = self.succeeds("tokenizer", "encode", self.gpt2, data=b"a\rb\nc\n")
        self.assertEqual(len(stray.splitlines()), 2)
        for empty in (b"", MARK.encode()):
            self.assertEqual(self.succeeds("tokenizer", "encode", self.gpt2, data=empty), "")
            self.fails(3, "there is no prompt\n  at: standard input", *generate, data=empty)

    def test_tokenizers_trained_on_files_with_other_line_ends(self):
        text = (self.folder / "corpus.txt").read_text(encoding="utf-8")
        wanted = (self.gpt2 / "tokenizer.json").read_bytes()
        for end in ENDS.values():
            file = self.write("c.txt", MARK + text.replace("\n", end))
            out = self.folder / "again"
            self.succeeds("tokenizer", "train", file, "--model", "bpe", "--vocab-size", 280,
                          "--out", out)
            self.assertEqual((out / "tokenizer.json").read_bytes(), wanted)

    def test_texts_that_are_none(self):
        encode = ("tokenizer", "encode", self.gpt2)
        self.fails(3, "this is a folder, not a text file", *encode, self.folder)
        self.fails(3, "this is a folder", "generate", self.gpt2, "--file", self.folder)
        file = self.write("t.txt", "hello\n".encode("utf-16"))
        self.fails(3, f"the text is UTF-16\n  at: {file}\n", *encode, file)
        self.fails(3, "the text is UTF-16\n  at: standard input\n", *encode,
                   data=file.read_bytes())
        file = self.write("t.txt", "hello\n".encode("utf-32"))
        self.fails(3, f"the text is UTF-32\n  at: {file}\n", *encode, file)
        file = self.write("t.txt", bz2.compress(b"hello\n"))
        self.fails(3, "hint: decompress it first: bunzip2 FILE", *encode, file)
        file = self.write("t.txt", b"a\nb\0c\n")
        self.fails(3, f"a NUL byte in the text\n  at: {file}:2\n", *encode, file)
        file = self.write("t.txt", b"a\rb\rcaf\xe9\r")
        self.fails(3, f"not valid UTF-8 at byte 4 of the line\n  at: {file}:3\n", *encode, file)

    def test_perplexity_of_the_same_texts_in_all_formats(self):
        texts = ["", " = Good film = ", "", " The film was good . ", ""]
        rows = {
            "w.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
            "w.tsv": "text\n" + "".join(text + "\n" for text in texts),
            "w.csv": "text\n" + "".join(f'"{text}"\n' for text in texts),
        }
        for options in ((), ("--concatenate",)):
            found = {}
            for (name, text), end in zip(rows.items(), ENDS.values(), strict=True):
                file = self.write(name, MARK + text.replace("\n", end))
                found[name] = self.scores(self.gpt2, "--data", file, *options)
            self.assertEqual(len(set(map(str, found.values()))), 1, found)
        _, _, error = command("evaluate", self.gpt2, "--data", self.write("w.jsonl",
                                                                          rows["w.jsonl"]))
        self.assertIn("w.jsonl: 3 rows without text are left out", error)

    def test_words_of_conll(self):
        rows = "# O\nwin O\na O\nfilm B-ENT\n# I-ENT\none I-ENT\n\ngood O\n# O\nworld B-ENT\n"
        ner = ("--text", "0", "--label=-1", "--metrics", "accuracy")
        found = set()
        for between in (" ", "\t"):
            for end in ENDS.values():
                file = self.write("t.conll", rows.replace(" ", between).replace("\n", end))
                found.add(str(self.scores(self.ner, "--data", file, *ner)))
        self.assertEqual(len(found), 1, found)
        self.assertIn(", 9)", found.pop())  # words
        for text, line in (("world B-ENT\n I-ENT\nis O\n", 2), ("is\tO\n\tO\n", 2),
                           ("is\tO\n\ngood\tO\n\u00a0\tO\n", 4)):
            file = self.write("t.conll", text)
            self.fails(3, f"{file}:{line}\n", "evaluate", self.ner, "--data", file, *ner)

    def test_strides(self):
        passage = " ".join(f"w{i % 3}" for i in range(300))
        file = self.write("q.jsonl", json.dumps({"question": "what is it", "context": passage,
                                                 "answer": "w1"}) + "\n")
        qa = ("evaluate", self.qa, "--data", file, "--text", "question", "--pair", "context",
              "--answer", "answer", "--json")

        def rows(*options):
            return json.loads(self.succeeds(*qa, *options))["rows"]

        self.assertEqual(rows(), 4)  # room for 122, a step of 80
        self.assertEqual(rows("--stride", 0), 3)
        self.assertEqual(rows("--stride", 121), 179)
        self.assertEqual(rows("--max-length", 150), 3)
        self.fails(3, "a stride of 122 leaves no step: of `max_length` 128 the question takes 3 "
                      "and special tokens 3, so a window has room for 122 of the passage's 300 "
                      "tokens", *qa, "--stride", 122)
        self.fails(2, "a stride of 128 leaves no step in rows of max_length 128", *qa,
                   "--stride", 128)


if __name__ == "__main__":
    unittest.main()
