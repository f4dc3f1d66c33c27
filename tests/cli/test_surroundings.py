"""What lies around a command: outputs over inputs, pipes and limits, folders that are gone.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_surroundings.py
"""

import os
import resource
import shutil
import signal
import subprocess
import unittest

import torch
import transformers

from tests.support.program import BINARY, Case, command

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a good film win one world what is it".split()
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 16, "vocab_size": len(WORDS), "max_position_embeddings": 16}


class Surroundings(Case):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        torch.manual_seed(1)
        labels = dict(enumerate(["bad", "good"]))
        config = transformers.BertConfig(**SIZES, id2label=labels)
        transformers.BertForSequenceClassification(config).save_pretrained(self.model)
        (self.model / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        self.data = self.folder / "rows.tsv"
        self.data.write_text("text\tlabel\na good film\tgood\nwhat is it\tbad\n", encoding="utf-8")

    def ends(self, code, *fragments, words, **options):
        done = command("--threads", "1", *words, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        for fragment in fragments:
            self.assertIn(fragment, done.stderr)
        self.assertEqual(done.stderr.count("error:"), 1 if code else 0, done.stderr)

    def evaluate(self, code, *fragments, more):
        self.ends(code, *fragments, words=["evaluate", self.model, "--data", self.data, *more])

    def test_predictions_are_not_written_over_what_is_read(self):
        before = self.data.read_bytes()
        link = self.folder / "link.tsv"
        link.symlink_to(self.data)
        for name in (self.data, link):
            self.evaluate(2, "over a file that is read", more=["--predictions", name])
        config = (self.model / "config.json").read_bytes()
        self.evaluate(2, "into the model's folder",
                      more=["--predictions", self.model / "config.json"])
        self.evaluate(0, more=["--predictions", self.folder / "said.jsonl"])
        self.assertEqual(self.data.read_bytes(), before)
        self.assertEqual((self.model / "config.json").read_bytes(), config)

    def test_pipes_in_the_place_of_files(self):
        for name in ("config.json", "model.safetensors"):
            copy = self.folder / f"with-{name}"
            shutil.copytree(self.model, copy)
            (copy / name).unlink()
            os.mkfifo(copy / name)
            done = command("inspect", copy, timeout=60)
            self.assertIn(done.returncode, (4, 8))
            self.assertIn(name, done.stderr)

    def test_limit_of_a_files_size(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        out = self.folder / "out"
        self.ends(8, "File too large", "ulimit -f", preexec_fn=limit,
                  words=["export", self.model, "--format", "huggingface", "--out", out])
        self.assertEqual([path.name for path in self.folder.iterdir() if "out" in path.name], [])

    def test_current_folder(self):
        gone = self.folder / "gone"
        gone.mkdir()
        shell = f"cd {gone} && rmdir {gone} && exec {BINARY} --version"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False,
                              timeout=60)
        self.assertEqual(done.returncode, 8)
        self.assertIn("the current folder was deleted", done.stderr)
        empty = self.folder / "empty"
        empty.mkdir()
        self.ends(8, "the place of the current folder", cwd=empty,
                  words=["export", self.model, "--format", "huggingface", "--out", "."])


if __name__ == "__main__":
    unittest.main()
