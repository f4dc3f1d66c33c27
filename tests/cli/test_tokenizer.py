"""`compress tokenizer` as a user meets it. COMPRESS_BIN names the program.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_tokenizer.py
"""

import json
import pathlib
import tempfile
import unittest

from tests.support.program import ROOT, Case, command

TEXT = ROOT / "data/hutto/product.txt"
LINE = "this is a great phone, and easy to use."


class TokenizerCommand(Case):
    def command(self, *arguments, text=""):
        return command("tokenizer", *arguments, input=text)

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
            self.fails(3, "train", "no-such-file", *out, says="cannot be read")
            self.fails(3, "train", *out, says="there is no text")
            self.fails(2, "train", TEXT, "--vocab-size", 10, *out, says="no room")
            self.fails(2, "train", TEXT, "--model", "unigram", "--min-frequency", 3, *out,
                       says="--min-frequency does not apply")
            self.fails(2, "train", TEXT, "--ngrams", "1-2", *out, says="--ngrams does not apply")
            self.fails(2, "train", TEXT, "--model", "ngram", "--ngrams", "4-1", *out,
                       says="is no range of words")
            self.succeeds("train", TEXT, "--model", "ngram", "--ngrams", "1-2", "--vocab-size", 300,
                          "--out", f"{folder}/ngrams")
            self.fails(4, "encode", folder, says="neither tokenizer.json nor")
            model = pathlib.Path(folder, "model")
            model.mkdir()
            (model / "config.json").write_text("{}")
            (model / "model.safetensors").write_bytes(b"")
            self.fails(8, "train", TEXT, "--out", model, says="the folder holds a model")
            self.succeeds("train", TEXT, "--vocab-size", 500, *out)
            self.fails(2, "encode", folder, "--chat-template",
                       says="chat templates are not supported")
            self.fails(3, "decode", folder, text="[-1]\n", says="is not an id")
            self.fails(3, "decode", folder, text="nonsense\n", says="a list of ids is due")


if __name__ == "__main__":
    unittest.main()
