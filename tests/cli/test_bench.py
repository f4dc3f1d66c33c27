"""bench/: every script tells its help, and bench/all.py calls each with options that it has."""

import importlib.util
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / f"bench/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def help_of(name):
    return subprocess.run([sys.executable, ROOT / f"bench/{name}.py", "--help"],
                          capture_output=True, text=True, check=True).stdout


class Scripts(unittest.TestCase):
    def test_all_calls_them_with_options_that_they_have(self):
        for name, ways in load("all").RUNS.items():
            text = help_of(name)
            for words in ways:
                for option in filter(lambda word: word.startswith("--"), words.split()):
                    self.assertIn(option, text, name)

    def test_prepared_rows_are_those_of_ours(self):
        peers, training = load("peers"), load("training")
        ours = peers.Ours("distillation.yaml", "student", 4)
        for by_length in (True, False):
            peer = training.HuggingFace.__new__(training.HuggingFace)
            peer.batch, peer.by_length, peer.batches, peer.device = 4, by_length, [], "cpu"
            peer.tokenizer = training.transformers.AutoTokenizer.from_pretrained(training.MODEL)
            peer.prepare(5)
            self.assertEqual([len(batch) for batch in peer.batches], [4] * 5)
            texts = [text for text, _ in peers.rows()[: 5 * ours.batch]]
            expected = peer.tokenizer(texts, truncation=True, max_length=128)["input_ids"]
            found = [ids for batch in peer.batches for ids, _ in batch]
            self.assertCountEqual(map(tuple, found), map(tuple, expected))
            inputs, labels = peer.inputs(7)  # the round begins anew
            self.assertEqual(inputs["input_ids"].shape[0], 4)
            self.assertEqual(labels.tolist(), [label for _, label in peer.batches[2]])
        # Sorted windows pad less than random order does.
        spread = [max(map(len, b)) - min(map(len, b)) for b in
                  ([ids for ids, _ in batch] for batch in peer.batches)]
        peer.by_length, peer.batches = True, []
        peer.prepare(5)
        sorted_spread = [max(map(len, b)) - min(map(len, b)) for b in
                         ([ids for ids, _ in batch] for batch in peer.batches)]
        self.assertLess(sum(sorted_spread), sum(spread))


if __name__ == "__main__":
    unittest.main()
