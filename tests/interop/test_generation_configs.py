"""generation_config.json files of published models say to `compress generate` what they say to
transformers.

Run from the repository root: .venv/bin/python -m unittest
tests/interop/test_generation_configs.py. COMPRESS_BIN names the program. Each file lies beside a
small random model of a fitting family, whose vocabulary is bytes. Ids of large vocabularies become
small ones; ends are tokens that the model writes, and what would write for long is shortened.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import tokenizers
import torch
import transformers

from tests.interop.generation_configs import PUBLISHED

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
VOCABULARY = 300  # 256 bytes, then ids that no text has
POSITIONS = 96
LONG = 60  # in place of more
PROMPTS = ("a", "the battery", "not what i had hoped for, really")
LENGTHS = ("max_length", "min_length", "max_new_tokens", "min_new_tokens")


def model_of(family):
    shape = dict(vocab_size=VOCABULARY, pad_token_id=None, bos_token_id=None, eos_token_id=None)
    decoder = shape | dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                           max_position_embeddings=POSITIONS)
    modern = decoder | dict(num_key_value_heads=2, intermediate_size=48)
    t = transformers
    if family == "gpt2":
        return t.GPT2LMHeadModel(t.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS, **shape))
    if family == "opt":
        return t.OPTForCausalLM(t.OPTConfig(**decoder | dict(
            ffn_dim=48, word_embed_proj_dim=32, pad_token_id=1)))
    if family == "llama":
        return t.LlamaForCausalLM(t.LlamaConfig(**modern))
    if family == "mistral":
        return t.MistralForCausalLM(t.MistralConfig(**modern))
    if family == "qwen2":
        return t.Qwen2ForCausalLM(t.Qwen2Config(**modern))
    if family == "qwen3":
        return t.Qwen3ForCausalLM(t.Qwen3Config(**modern, head_dim=8))
    if family == "t5":
        return t.T5ForConditionalGeneration(t.T5Config(**shape | dict(
            d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
            decoder_start_token_id=0)))
    return t.BartForConditionalGeneration(t.BartConfig(**shape | dict(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, pad_token_id=1,
        max_position_embeddings=POSITIONS, decoder_start_token_id=2)))


def randomize(model):
    """Weights that make every token of the text matter."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            table = VOCABULARY in parameter.shape
            parameter.data.normal_(0, 0.5 if table else 0.9, generator=generator)
        elif name.endswith("bias"):
            parameter.data.normal_(0, 0.3, generator=generator)


def byte_tokenizer():
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: id for id, token in enumerate(alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def as_list(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def run(*words, text=""):
    return subprocess.run([BINARY, *map(str, words)], input=text, capture_output=True, text=True,
                          cwd=ROOT, check=False)


class GenerationConfigs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(1)  # the models are small
        warnings.simplefilter("ignore")
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.root = pathlib.Path(keep.name)
        cls.tokenizer = byte_tokenizer()
        cls.prompts = [torch.tensor([cls.tokenizer.encode(text).ids]) for text in PROMPTS]
        cls.written = {}

    def folder(self, family, said, name="generation_config.json"):
        """A model with these settings, and what it would write for long without any end."""
        folder = self.root / family
        if not folder.exists():
            torch.manual_seed(3)
            model = model_of(family).eval()
            randomize(model)
            model.save_pretrained(folder)
            self.tokenizer.save(str(folder / "tokenizer.json"))
            start = dict(decoder_start_token_id=2) if model.config.is_encoder_decoder else {}
            begin = 1 if start else self.prompts[1].shape[1]
            model.generation_config = transformers.GenerationConfig(**start)
            found = model.generate(self.prompts[1], max_new_tokens=60, do_sample=False)
            self.written[family] = list(dict.fromkeys(found[0, begin:].tolist()))
            config = json.loads((folder / "config.json").read_text())
            for key in ("bos_token_id", "eos_token_id"):
                config.pop(key, None)
            (folder / "plain.json").write_text(json.dumps(config))
        (folder / "generation_config.json").unlink(missing_ok=True)
        config = json.loads((folder / "plain.json").read_text())
        (folder / "config.json").write_text(json.dumps(config))
        if name == "config.json":
            said = config | said
        (folder / name).write_text(json.dumps(said))
        return folder

    def scaled(self, family, said):
        """Ids of the small vocabulary, with ends that come up, and lengths that are soon done."""
        self.folder(family, {})
        ends = {id: token for id, token in zip(as_list(said.get("eos_token_id")),
                                               self.written[family][2:], strict=False)}

        def small(value):
            if isinstance(value, list):
                return [small(item) for item in value]
            return ends.get(value, value if value < 200 else 256 + value % 40)

        scaled = {}
        for key, value in said.items():
            if "token_id" in key or key == "bad_words_ids":
                value = small(value)
            elif key in LENGTHS:
                value = min(value, LONG)
            scaled[key] = value
        return scaled

    def theirs(self, folder, **more):
        """The model as transformers loads it, and what it writes behind each prompt."""
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = (transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder
                else transformers.AutoModelForCausalLM)
        model = kind.from_pretrained(folder).eval()
        ends = as_list(model.generation_config.eos_token_id)
        rows = []
        for prompt in self.prompts:
            begin = 1 if config.is_encoder_decoder else prompt.shape[1]
            ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), **more)
            ids = ids[0, begin:].tolist()
            stop = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
            rows.append(ids[: stop + 1])
        return model, rows

    def ours(self, folder, *more):
        words = [word for text in PROMPTS for word in ("--prompt", text)]
        done = run("generate", folder, *words, "--json", "--quiet", *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line)["ids"] for line in done.stdout.splitlines()], done.stderr

    def same(self, folder, sampled, *flags, **more):
        _, theirs = self.theirs(folder, do_sample=False, **more)
        ours, told = self.ours(folder, *(["--no-sample"] if sampled else []), *flags)
        self.assertEqual(ours, theirs)
        return theirs, told

    def test_files_of_published_models(self):
        self.assertGreaterEqual(len(PUBLISHED), 25)
        ended = 0
        for name, (family, said) in PUBLISHED.items():
            with self.subTest(name):
                said = self.scaled(family, said)
                folder = self.folder(family, said)
                rows, told = self.same(folder, said.get("do_sample", False))
                self.assertEqual(told, "")
                ends = as_list(said["eos_token_id"])
                ended += sum(row[-1] in ends for row in rows)
                if said.get("do_sample"):
                    self.check_samples(folder)
        self.assertGreater(ended, len(PUBLISHED))  # of three times as many

    def check_samples(self, folder):
        """Each sampled token has the probability that transformers draws it with."""
        model, _ = self.theirs(folder, do_sample=False, max_new_tokens=1)
        begin = self.prompts[1]
        scores = model.generate(begin, attention_mask=torch.ones_like(begin), max_new_tokens=1,
                                return_dict_in_generate=True, output_scores=True).scores
        due = scores[0][0].log_softmax(-1)
        done = run("generate", folder, "--prompt", PROMPTS[1], "--max-new-tokens", 1, "--json",
                   "--num-return-sequences", 60, "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in done.stdout.splitlines():
            one = json.loads(line)
            self.assertAlmostEqual(one["score"], due[one["ids"][0]].item(), delta=2e-4)

    def test_settings_in_config_json(self):
        for name, family, said in (
            ("DialoGPT-medium", "gpt2", {"bos_token_id": 50256, "eos_token_id": 50256,
                                         "max_length": 40, "no_repeat_ngram_size": 3}),
            ("distilbart-xsum", "bart", {"bos_token_id": 0, "eos_token_id": 2, "num_beams": 4,
                                         "decoder_start_token_id": 2, "max_length": 62,
                                         "min_length": 11, "length_penalty": 0.5,
                                         "force_bos_token_to_be_generated": True}),
            ("t5-base", "t5", {"eos_token_id": 1, "decoder_start_token_id": 0, "num_beams": 2,
                               "max_length": 30, "early_stopping": True}),
        ):
            with self.subTest(name):
                folder = self.folder(family, self.scaled(family, said), "config.json")
                self.same(folder, False)

    def test_lengths(self):
        """Of the file and of the command line, in all their combinations."""
        for family in ("gpt2", "bart"):
            published = "opt-125m" if family == "gpt2" else "bart-base"
            base = self.scaled(family, PUBLISHED[published][1])
            for said, flags, more in (
                ({"max_length": 37}, [], {}),
                ({"max_length": 60, "min_length": 40}, [], {}),
                ({"min_length": 12}, [], {}),
                ({"min_length": 56}, [], {}),  # more than the default: ends there
                ({"max_length": 50, "max_new_tokens": 9}, [], {}),
                ({"min_length": 45, "min_new_tokens": 3, "max_length": 60}, [], {}),
                ({"max_length": 60, "min_length": 56}, ["--max-new-tokens", 8],
                 dict(max_new_tokens=8)),
                ({"max_length": 60}, ["--min-new-tokens", 11], dict(min_new_tokens=11)),
                ({"num_beams": 3, "max_length": 50, "early_stopping": "never",
                  "length_penalty": 0.0}, [], {}),
                ({"num_beams": 4}, ["--num-beams", 1], dict(num_beams=1)),
            ):
                with self.subTest(family=family, said=said, flags=flags):
                    self.same(self.folder(family, base | said), False, *flags, **more)

    def test_rows_end_with_the_positions(self):
        """The default of 20 new tokens is less at the end of the positions."""
        folder = self.folder("gpt2", {"eos_token_id": 299})
        prompt = "x" * (POSITIONS - 7)
        ids = torch.tensor([self.tokenizer.encode(prompt).ids])
        model, _ = self.theirs(folder)
        due = model.generate(ids, attention_mask=torch.ones_like(ids))[0, ids.shape[1]:].tolist()
        done = run("generate", folder, "--prompt", prompt, "--json", "--quiet")
        self.assertEqual(json.loads(done.stdout)["ids"], due)
        self.assertEqual(len(due), 7)
        # transformers would fail where the file asks for more than there are.
        folder = self.folder("gpt2", {"eos_token_id": 299, "max_length": 2000})
        done = run("generate", folder, "--prompt", prompt, "--json", "--quiet")
        self.assertEqual(json.loads(done.stdout)["ids"][:7], due)
        self.assertIn(f"the model's {POSITIONS} positions end before max_length 2000", done.stderr)

    def test_tokens_that_are_ruled_out(self):
        for family in ("gpt2", "bart"):
            published = "opt-125m" if family == "gpt2" else "bart-base"
            base = self.scaled(family, PUBLISHED[published][1])
            _, rows = self.theirs(self.folder(family, base), max_new_tokens=24)
            ends = as_list(base["eos_token_id"])
            often = [token for token in dict.fromkeys(rows[1][1:]) if token not in ends]
            pair = rows[1][2:4]
            for said in (
                {"suppress_tokens": often[:3]},
                {"begin_suppress_tokens": [rows[1][0], rows[2][0], rows[1][1]]},
                {"bad_words_ids": [[often[0]], pair, often[1:3] + [200]]},
                {"bad_words_ids": [pair], "renormalize_logits": True, "num_beams": 3},
                {"suppress_tokens": [-1], "begin_suppress_tokens": None, "max_length": 40},
            ):
                with self.subTest(family=family, said=said):
                    more = {"do_sample": False} | base | said
                    self.same(self.folder(family, more), False)

    def test_what_is_not_used_is_not_judged(self):
        base = self.scaled("gpt2", PUBLISHED["gpt2"][1])
        for said in (
            {"do_sample": False, "temperature": 0.0},
            {"temperature": 0, "top_k": -1, "top_p": 1.5, "typical_p": 0.3},
            {"epsilon_cutoff": 3e-4, "eta_cutoff": 6e-4, "min_p": 0.2},
            {"pad_token_id": -1, "length_penalty": 0.0, "early_stopping": "never"},
            {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1},
        ):
            with self.subTest(said=said):
                _, told = self.same(self.folder("gpt2", base | said), False)
                self.assertEqual(told, "")
        # What is given goes before what the file says.
        folder = self.folder("gpt2", base | {"do_sample": True, "temperature": 0.0})
        prompt = ("--prompt", "good", "--quiet", "--max-new-tokens", 3)
        self.assertEqual(run("generate", folder, *prompt).returncode, 4)
        self.assertEqual(run("generate", folder, *prompt, "--no-sample").returncode, 0)
        self.assertEqual(run("generate", folder, *prompt, "--temperature", 1).returncode, 0)

    def test_a_file_with_a_byte_order_mark(self):
        folder = self.folder("gpt2", {})
        said = self.scaled("gpt2", PUBLISHED["gpt2"][1]) | {"max_length": 50}
        folder = self.folder("gpt2", said)
        without, _ = self.ours(folder)
        (folder / "generation_config.json").write_text("\ufeff" + json.dumps(said),
                                                       encoding="utf-8")
        self.assertEqual(self.ours(folder)[0], without)

    def test_what_is_not_supported_is_named(self):
        base = self.scaled("gpt2", PUBLISHED["gpt2"][1])
        for key, value in (
            ("force_words_ids", [[3]]), ("watermarking_config", {"bias": 2.5}),
            ("token_healing", True), ("forced_decoder_ids", [[1, 2]]),
            ("sequence_bias", [[[3], 1.5]]), ("exponential_decay_length_penalty", [5, 1.1]),
            ("guidance_scale", 1.5), ("dola_layers", "high"), ("penalty_alpha", 0.6),
            ("constraints", [1]), ("encoder_repetition_penalty", 1.2),
            ("encoder_no_repeat_ngram_size", 3), ("remove_invalid_values", True),
            ("prompt_lookup_num_tokens", 3), ("max_time", 2.0),
        ):
            with self.subTest(key):
                _, told = self.ours(self.folder("gpt2", base | {key: value}))
                self.assertIn(key, told)
                self.assertIn("generation_config.json", told)

    def test_texts_of_the_file_stop(self):
        base = self.scaled("gpt2", PUBLISHED["gpt2"][1]) | {"max_length": 60}
        base["eos_token_id"] = 299
        whole, _ = self.ours(self.folder("gpt2", base))
        seen = [self.tokenizer.decode([token]) for token in whole[0]]
        text = next(text for text in seen if text and text.isprintable() and text.isascii())
        folder = self.folder("gpt2", base | {"stop_strings": ["no such text", text]})
        found, _ = self.ours(folder)
        self.assertEqual(found[0], whole[0][: seen.index(text) + 1])
        # Those of the command line are in their place.
        self.assertEqual(self.ours(folder, "--stop", "no such text")[0], whole)

    def test_what_is_wrong(self):
        def folder(said):
            return self.folder("gpt2", {"eos_token_id": 299} | said)

        empty = self.root / "empty.txt"
        empty.write_text("")
        prompt = ("--prompt", "good")
        for code, message, said, *words in (
            (2, "the text that is to stop is empty", {}, *prompt, "--stop", ""),
            (2, "the text that is to stop is empty", {}, *prompt, "--stop", "a", "--stop", ""),
            (3, "there is no prompt", {}, "--file", empty),
            (3, "there is no prompt", {}),
            (2, "max_new_tokens starts at 1", {}, *prompt, "--max-new-tokens", 0),
            (2, "max_new_tokens starts at 1", {}, *prompt, "--max-new-tokens", -3),
            (2, "min_new_tokens starts at 0", {}, *prompt, "--min-new-tokens", -3),
            (2, "temperature is above 0", {}, *prompt, "--temperature", "nan"),
            (2, "min_p lies in 0 to 1", {}, *prompt, "--min-p", 2),
            (2, "--no-sample", {"do_sample": True}, *prompt, "--num-beams", 2),
            (4, "sampling and beams", {"do_sample": True, "num_beams": 2}, *prompt),
            (4, "repetition_penalty is above 0", {"repetition_penalty": 0}, *prompt),
            (4, "max_length is \"20\", and a whole number is due", {"max_length": "20"}, *prompt),
            (2, "max_length 3 counts them", {"max_length": 3}, *prompt),
        ):
            with self.subTest(message, words=words):
                done = run("generate", folder(said), *words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(message, done.stderr)
                self.assertEqual(done.stdout, "")
                if code == 4:
                    self.assertIn("generation_config.json", done.stderr)
        broken = folder({})
        (broken / "generation_config.json").write_text("{bad")
        done = run("generate", broken, *prompt)
        self.assertEqual(done.returncode, 4)
        self.assertIn("generation_config.json", done.stderr)


if __name__ == "__main__":
    unittest.main()
