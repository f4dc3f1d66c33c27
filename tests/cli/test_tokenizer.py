"""`compress tokenizer` as a user meets it. COMPRESS_BIN names the program.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_tokenizer.py
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
TEXT = ROOT / "data/hutto/product.txt"
LINE = "this is a great phone, and easy to use."


def command(*arguments, text=""):
    return subprocess.run([BINARY, "tokenizer", *map(str, arguments)], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


class TokenizerCommand(unittest.TestCase):
    def succeeds(self, *arguments, text=""):
        done = command(*arguments, text=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def fails(self, code, message, *arguments, text=""):
        done = command(*arguments, text=text)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(message, done.stderr)

    def test_train_encode_decode(self):
        for model in ("wordpiece", "bpe", "unigram", "sentencepiece-bpe"):
            with self.subTest(model), tempfile.TemporaryDirectory() as folder:
                said = self.succeeds("train", TEXT, "--model", model, "--vocab-size", 1500,
                                     "--special", "<a>", "--special", "<b>", "--out", folder)
                self.assertIn("1,500 tokens from 3,708 lines", said)
                encoded = self.succeeds("encode", folder, "--offsets", text=f"{LINE}\n<a>\n")
                first, second = map(json.loads, encoded.splitlines())
                self.assertEqual(len(first["ids"]), len(first["tokens"]))
                self.assertEqual(len(first["ids"]), len(first["offsets"]))
                self.assertIn("<a>", second["tokens"])
                decoded = self.succeeds("decode", folder, "--skip-special", text=encoded)
                self.assertEqual(json.loads(decoded.splitlines()[0])["text"], LINE)

    def test_text_comes_from_files_or_standard_input(self):
        with tempfile.TemporaryDirectory() as folder:
            text = TEXT.read_text(encoding="utf-8")
            self.succeeds("train", "--vocab-size", 800, "--out", folder, text=text)
            whole = pathlib.Path(folder, "tokenizer.json").read_bytes()
            self.succeeds("train", TEXT, "--vocab-size", 800, "--out", folder)
            self.assertEqual(pathlib.Path(folder, "tokenizer.json").read_bytes(), whole)

    def test_what_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            out = ("--out", folder)
            self.fails(3, "cannot be read", "train", "no-such-file", *out)
            self.fails(3, "there is no text", "train", *out)
            self.fails(2, "no room", "train", TEXT, "--vocab-size", 10, *out)
            self.fails(2, "--min-frequency does not apply", "train", TEXT, "--model", "unigram",
                       "--min-frequency", 3, *out)
            self.fails(4, "neither tokenizer.json nor", "encode", folder)
            self.succeeds("train", TEXT, "--vocab-size", 500, *out)
            self.fails(2, "chat templates are not supported", "encode", folder, "--chat-template")
            self.fails(3, "is not an id", "decode", folder, text="[-1]\n")
            self.fails(3, "a list of ids is due", "decode", folder, text="nonsense\n")


if __name__ == "__main__":
    unittest.main()
