"""Tokenizers from older files, from GGUF and from our own trainer, against `transformers`,
`tokenizers` and `sentencepiece`.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_files.py
"""

import filecmp
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.interop import test_tokenizer as common
from tests.interop import tokenizer_kinds as kinds
from tests.interop import tokenizer_shipped as shipped
from tests.interop.test_tokenizer_kinds import odd_words


class Files(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sentences = kinds.sentences()
        cls.some = cls.sentences[::16]
        cls.odd = common.odd_strings(21, 700) + odd_words(22, 1500)

    def check(self, model, reference, texts=None):
        """Ids, segments, offsets and decoded text of `reference`, a `tokenizers.Tokenizer`."""
        texts = texts or self.some + self.odd
        self.compare(model, reference, texts)
        self.compare(model, reference, texts[:500], texts[500:1000])
        rows = [e.ids for e in reference.encode_batch(texts[::3]) if e.ids]
        for skip in (True, False):
            for row, answer in zip(rows, common.ours(model, [{"decode": row, "skip": skip}
                                                             for row in rows])):
                self.assertEqual(answer["text"],
                                 reference.decode(row, skip_special_tokens=skip), row)

    def write_merges(self, folder, specials):
        tokenizer = kinds.byte_level(self.some, specials=specials)
        tokenizer.model.save(folder)

    def test_gpt2_files(self):
        from transformers import GPT2Tokenizer
        for config in ({}, {"add_prefix_space": True}, {"add_bos_token": True}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                self.write_merges(folder, ["<|endoftext|>"])
                kinds.write_config(folder, tokenizer_class="GPT2Tokenizer", **config)
                self.check(folder, GPT2Tokenizer.from_pretrained(folder)._tokenizer)

    def test_roberta_files(self):
        from transformers import RobertaTokenizer
        mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False,
                "single_word": False, "normalized": True, "special": True}
        for config in ({}, {"add_prefix_space": True, "mask_token": mask}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                self.write_merges(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
                kinds.write_config(folder, tokenizer_class="RobertaTokenizer", **config)
                self.check(folder, RobertaTokenizer.from_pretrained(folder)._tokenizer)

    def test_t5_file(self):
        with tempfile.TemporaryDirectory() as folder:
            self.check(folder, kinds.t5_files(folder, self.some))

    def test_xlm_roberta_file(self):
        with tempfile.TemporaryDirectory() as folder:
            self.check(folder, kinds.xlm_roberta_files(folder, self.some))

    def test_llama_file(self):
        for config in ({"add_bos_token": True}, {"legacy": True}, {"add_prefix_space": False}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                self.check(folder, kinds.llama_files(folder, self.some, **config))

    def test_damaged_sentencepiece_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "spiece.model")
            kinds.train_sentencepiece(path, self.some, vocab_size=300, pad_id=0, eos_id=1,
                                      unk_id=2, bos_id=-1)
            whole = path.read_bytes()
            for cut in range(0, len(whole), len(whole) // 25):
                damaged = bytearray(whole[:cut] + whole[cut + 7:])
                if cut < len(damaged):
                    damaged[cut] ^= 0x55
                path.write_bytes(damaged)
                done = subprocess.run([common.HELPER, folder, "--plain"], input=b"hello\n",
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                self.assertIn(done.returncode, (0, 1), cut)


class Ggml(common.WithHelper):
    def test_smollm2(self):
        odd = common.odd_strings(31, 2000) + odd_words(32, 2000)
        odd.append("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        with tempfile.TemporaryDirectory() as folder:
            path, reference = shipped.smollm2(folder)
            self.compare(path, reference, odd)
            rows = [e.ids for e in reference.encode_batch(odd) if e.ids]
            for skip in (True, False):
                answers = common.ours(path, [{"decode": row, "skip": skip} for row in rows])
                for row, answer in zip(rows, answers):
                    self.assertEqual(answer["text"],
                                     reference.decode(row, skip_special_tokens=skip), row)


class Training(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lines = kinds.sentences()[::6]
        cls.others = kinds.sentences()[1::20] + odd_words(41, 1000)

    def train(self, model, size, folder):
        text = "".join(line + "\n" for line in self.lines).encode()
        subprocess.run([common.HELPER, "--train", model, str(size), folder], input=text,
                       check=True, stderr=subprocess.PIPE)

    def test_models(self):
        from transformers import AutoTokenizer
        for model in ("wordpiece", "bpe", "unigram", "sentencepiece-bpe"):
            with self.subTest(model), tempfile.TemporaryDirectory() as folder, \
                    tempfile.TemporaryDirectory() as again:
                self.train(model, 2000, folder)
                self.train(model, 2000, again)
                self.assertTrue(filecmp.cmp(f"{folder}/tokenizer.json", f"{again}/tokenizer.json",
                                            shallow=False))
                reference = Tokenizer.from_file(f"{folder}/tokenizer.json")
                self.assertEqual(reference.get_vocab_size(), 2000)
                self.compare(folder, reference, self.others)
                self.assertIsNotNone(reference.token_to_id("<extra>"))
                loaded = AutoTokenizer.from_pretrained(folder)
                line = self.lines[3]
                self.assertEqual(loaded(line)["input_ids"], reference.encode(line).ids)
                used = {i for e in reference.encode_batch(self.lines) for i in e.ids}
                self.assertGreater(len(used), 1000)

    def test_bpe_is_that_of_tokenizers(self):
        theirs = Tokenizer(models.BPE())
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.train_from_iterator(self.lines, trainers.BpeTrainer(
            vocab_size=4000, min_frequency=2, special_tokens=["<|endoftext|>", "<extra>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        with tempfile.TemporaryDirectory() as folder:
            self.train("bpe", 4000, folder)
            ours = json.loads(Path(folder, "tokenizer.json").read_text())["model"]
        expected = json.loads(theirs.to_str())["model"]
        self.assertEqual(ours["vocab"], expected["vocab"])
        self.assertEqual(ours["merges"], expected["merges"])


if __name__ == "__main__":
    unittest.main()
