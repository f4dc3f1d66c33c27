"""Folders whose files say different things of one tokenizer, against transformers' AutoTokenizer.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_folders.py.
COMPRESS_BIN names the program. All have one small vocabulary, and differ in the files beside it.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import sentencepiece
import tokenizers
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "hello", "world",
         "Hello", "World", "##s", "[", "]", "ent", "caf", "##é", "##e", "日"]
N = len(WORDS)
TEXTS = ["good [ENT] film <x> hellos", "Hello World hellos café CAFÉ", "日日 hello [MASK] good",
         "bad badbad [ENT] world  hello ", "<y> <pad> <z>"]
BERT = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def lines(*more):
    return "".join(word + "\n" for word in [*WORDS, *more])


def flags(content, **more):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True} | more


def special(token, segment=0):
    return {"SpecialToken": {"id": token, "type_id": segment}}


def text_of(name, segment=0):
    return {"Sequence": {"id": name, "type_id": segment}}


def bert_json(vocab=None, added=(), **normalizer):
    """tokenizer.json of BERT."""
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id} | flags(WORDS[id]) for id in range(5)] + list(added),
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True} | normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), text_of("A"), special("[SEP]")],
            "pair": [special("[CLS]"), text_of("A"), special("[SEP]"), text_of("B", 1),
                     special("[SEP]", 1)],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}
                               for token, id in (("[CLS]", 2), ("[SEP]", 3))}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": vocab or {word: id for id, word in enumerate(WORDS)}}}


def gpt2_json(prefix):
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 256} | flags("<|endoftext|>")], "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "merges": [],
                  "vocab": {token: id for id, token in enumerate(BYTES)}}}


class Folders(unittest.TestCase):
    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.root = pathlib.Path(keep.name)
        self.made = 0

    def folder(self, files):
        self.made += 1
        folder = self.root / str(self.made)
        folder.mkdir()
        for name, content in files.items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
                continue
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def encode(self, folder, texts):
        done = subprocess.run([BINARY, "tokenizer", "encode", folder], capture_output=True,
                              input="".join(text + "\n" for text in texts), encoding="utf-8",
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line)["ids"] for line in done.stdout.splitlines()], done.stderr

    def same(self, files, texts=TEXTS, told=""):
        """The ids of transformers; `told`: what is warned of, "" for nothing."""
        folder = self.folder(files)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        ours, stderr = self.encode(folder, texts)
        self.assertEqual(ours, [theirs(text)["input_ids"] for text in texts])
        if told:
            self.assertIn(told, stderr)
        else:
            self.assertEqual(stderr, "")

    def test_added_tokens_of_older_folders(self):
        for name, files in {
            "added": {"added_tokens.json": {"[ENT]": N, "<x>": N + 1}},
            "in another order": {"added_tokens.json": {"[ENT]": N + 1, "<x>": N}},
            "of the vocabulary": {"added_tokens.json": {"bad": 6, "[ENT]": N}},
            "special": {"added_tokens.json": {"[ENT]": N},
                        "special_tokens_map.json": {"additional_special_tokens": ["[ENT]"]}},
            "special alone": {"special_tokens_map.json": {
                "additional_special_tokens": ["[ENT]", "<x>"]}},
            "roles": {"special_tokens_map.json": {"sep_token": "world", "cls_token": "film"}},
            "flags": {"special_tokens_map.json": {"mask_token": flags("[MASK]", lstrip=True)}},
            "more roles": {"added_tokens.json": {"<y>": N, "<z>": N + 1}, "special_tokens_map.json":
                           {"bos_token": "<y>", "eos_token": "<z>"}},
        }.items():
            with self.subTest(name):
                self.same({"vocab.txt": lines(), "tokenizer_config.json": BERT} | files)
        with self.subTest("map before configuration"):
            self.same({"vocab.txt": lines(), "tokenizer_config.json": BERT | {"sep_token": "bad"},
                       "special_tokens_map.json": {"sep_token": "world"}})
        with self.subTest("not read"):
            decoder = {str(N): flags("<x>", lstrip=True, rstrip=True)}
            self.same({"vocab.txt": lines(), "added_tokens.json": {"[ENT]": N + 1},
                       "tokenizer_config.json": BERT | {"added_tokens_decoder": decoder},
                       "special_tokens_map.json": {"sep_token": "world"}},
                      told="added_tokens.json has the token '[ENT]'")

    def test_added_tokens_beside_vocab_json(self):
        vocab = {token: id for id, token in enumerate([*BYTES, "<|endoftext|>"])}
        files = {"vocab.json": vocab, "merges.txt": "#version: 0.2\n",
                 "added_tokens.json": {"[ENT]": 257, "<pad>": 258}, "special_tokens_map.json": {
                     "eos_token": "<|endoftext|>", "pad_token": "<pad>"}}
        for name in ("GPT2Tokenizer", "Qwen2Tokenizer"):
            with self.subTest(name):
                self.same(files | {"tokenizer_config.json": {"tokenizer_class": name}})
        with self.subTest("a hole"):
            vocab["<|endoftext|>"] = 260
            self.same({"vocab.json": vocab, "merges.txt": "#version: 0.2\n",
                       "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"}},
                      [*TEXTS, "a<|endoftext|>b"])

    def test_added_tokens_beside_a_sentencepiece_model(self):
        corpus = self.root / "corpus.txt"
        corpus.write_text("good film\nbad film\nhello world\n" * 20)
        prefix = self.root / "spm"
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(prefix), vocab_size=40, model_type="unigram",
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2)
        model = prefix.with_suffix(".model").read_bytes()
        size = sentencepiece.SentencePieceProcessor(model_proto=model).vocab_size()
        config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
        self.same({"spiece.model": model, "tokenizer_config.json": config,
                   "added_tokens.json": {"[ENT]": size, "<x>": size + 1}})

    def test_duplicates_and_holes(self):
        with self.subTest("twice"):
            self.same({"vocab.txt": lines("good"), "tokenizer_config.json": BERT},
                      told="token 'good' is also in line 6")
        with self.subTest("empty lines"):
            text = lines().replace("good\n", "\ngood\n").replace("world\n", "world\n\n")
            self.same({"vocab.txt": text, "tokenizer_config.json": BERT})
        vocab = {word: id for id, word in enumerate(WORDS)} | {"good": N + 2}
        for name, more in (("a hole", []), ("and a token", [{"id": N} | flags("<x>")])):
            with self.subTest(name):
                self.same({"tokenizer.json": bert_json(vocab, more), "tokenizer_config.json":
                           {"tokenizer_class": "PreTrainedTokenizerFast"}})
        with self.subTest("pieces twice"):
            pieces = [["<unk>", 0.0], ["▁", -2.0], ["good", -3.0], ["▁good", -2.5], ["film", -3.0],
                      ["good", -1.0], ["▁film", -2.0], ["▁good", -4.0]]
            self.same({"tokenizer.json": {
                "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
                "normalizer": None, "post_processor": None, "decoder": None,
                "pre_tokenizer": {"type": "Metaspace", "replacement": "▁",
                                  "prepend_scheme": "always", "split": True},
                "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces,
                          "byte_fallback": False}},
                "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}},
                ["good film", "goodfilm filmgood", "film"])

    def test_normalizers_that_differ(self):
        for name in ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                     "ElectraTokenizer", "MobileBertTokenizer", "PreTrainedTokenizerFast"):
            for said, there in (
                ({"do_lower_case": False}, {"lowercase": True}),
                ({"do_lower_case": True}, {"lowercase": False}),
                ({"do_lower_case": True, "strip_accents": False}, {}),
                ({"do_lower_case": False, "strip_accents": True}, {"lowercase": False}),
                ({"do_lower_case": True, "tokenize_chinese_chars": False}, {}),
            ):
                with self.subTest(name, said=said, there=there):
                    self.same({"tokenizer.json": bert_json(**there),
                               "tokenizer_config.json": said | {"tokenizer_class": name}},
                              told="tokenizer.json says normalizer.")
        with self.subTest("without the key"):
            self.same({"tokenizer.json": bert_json(lowercase=False),
                       "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}},
                      told="without a do_lower_case")
        with self.subTest("alike"):
            self.same({"tokenizer.json": bert_json(), "tokenizer_config.json": BERT})
            self.same({"tokenizer.json": bert_json(lowercase=False),
                       "tokenizer_config.json": BERT | {"do_lower_case": False}})

    def test_spaces_in_front_that_differ(self):
        for name in ("GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"):
            for said in (True, False):
                with self.subTest(name, said=said):
                    self.same({"tokenizer.json": gpt2_json(not said), "tokenizer_config.json":
                               {"tokenizer_class": name, "add_prefix_space": said}},
                              told="tokenizer.json says pre_tokenizer.add_prefix_space")

    def test_flags_that_differ(self):
        for name in ("GPT2Tokenizer", "PreTrainedTokenizerFast"):
            with self.subTest(name):
                stated = {"256": flags("<|endoftext|>", lstrip=True, rstrip=True)}
                self.same({"tokenizer.json": gpt2_json(False), "tokenizer_config.json": {
                    "tokenizer_class": name, "added_tokens_decoder": stated}},
                    ["a <|endoftext|> b", " <|endoftext|>"], told="says of '<|endoftext|>'")

    def test_tokens_that_the_configuration_adds(self):
        for name in ("BertTokenizer", "PreTrainedTokenizerFast"):
            base = {"tokenizer_class": name, "do_lower_case": True}
            for said in (
                {"additional_special_tokens": ["<x>", "world"]},
                {"added_tokens_decoder": {str(N): flags("<x>"), str(N + 1): flags("[ENT]")}},
                {"bos_token": "film"},
            ):
                with self.subTest(name, said=said):
                    if name == "BertTokenizer" and "added_tokens_decoder" in said:
                        said = {"added_tokens_decoder": said["added_tokens_decoder"] | {
                            str(id): flags(WORDS[id]) for id in range(5)}}
                    self.same({"tokenizer.json": bert_json(),
                               "tokenizer_config.json": base | said})
            with self.subTest(name, said="added_tokens.json"):
                self.same({"tokenizer.json": bert_json(), "tokenizer_config.json": base,
                           "added_tokens.json": {"<x>": N}})

    def test_special_tokens_that_differ_are_told(self):
        for said, told in (
            ({"pad_token": "<pad>"}, "names the pad_token '<pad>'"),
            ({"sep_token": "film"}, "sep_token \"film\""),
            ({"unk_token": "[MASK]"}, "unk_token \"[MASK]\""),
            ({"bos_token": "film", "add_bos_token": True}, "add_bos_token true"),
            ({"added_tokens_decoder": {"4": flags("[MASK]", lstrip=True)}}, "of '[MASK]'"),
        ):
            with self.subTest(told):
                folder = self.folder({"tokenizer.json": bert_json(),
                                      "tokenizer_config.json": BERT | said})
                _, stderr = self.encode(folder, ["good film"])
                self.assertIn(told, stderr)
                for name in ("tokenizer.json", "tokenizer_config.json"):
                    self.assertIn(str(folder / name), stderr)


if __name__ == "__main__":
    unittest.main()
