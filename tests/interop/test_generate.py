"""`compress generate` writes the tokens that transformers' generate() writes.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_generate.py.
COMPRESS_BIN names the program. The models are small and random, with weights so large that what
they write varies; prompts are lines of real text of different lengths, batched here and padded
there (on the left for decoders, with an attention mask).
"""

import copy
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import sacrebleu
import scipy.stats
import tokenizers
import torch
import transformers
from rouge_score import rouge_scorer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
TEXT = ROOT / "data/hutto/product.txt"
VOCABULARY = 300
PAD = 0
ENDS = list(range(7, VOCABULARY, 12))
NEW = 24
BATCH = 3  # of ours; transformers gets all prompts at once
PROMPTS = (
    "a",
    "this is a great phone, and easy to use.",
    "the battery",
    "i have had it for two months now and it still works as well as on the first day.",
    "size does not matter",
    "good",
    "not what i had hoped for, really",
)

GREEDY = {
    "plain": {},
    "penalties": dict(repetition_penalty=1.4, no_repeat_ngram_size=3),
    "longer": dict(min_new_tokens=12, no_repeat_ngram_size=2),
    "one end": dict(eos_token_id=ENDS[0]),
}
BEAMS = {
    "two": dict(num_beams=2),
    "early": dict(num_beams=4, length_penalty=0.6, early_stopping=True, num_return_sequences=4),
    "late": dict(num_beams=4, length_penalty=0.6, early_stopping=False, num_return_sequences=4),
    "never": dict(num_beams=4, length_penalty=2.0, early_stopping="never", num_return_sequences=2),
    "short": dict(num_beams=3, length_penalty=-0.5, num_return_sequences=3),
    "sums": dict(num_beams=3, length_penalty=0.0, early_stopping="never", num_return_sequences=3),
    "penalties": dict(num_beams=5, no_repeat_ngram_size=2, repetition_penalty=1.2,
                      min_new_tokens=6, num_return_sequences=2),
    "one end": dict(num_beams=6, eos_token_id=ENDS[0], num_return_sequences=6),
}


def common(**more):
    return dict(vocab_size=VOCABULARY, pad_token_id=PAD, bos_token_id=1, eos_token_id=ENDS) | more


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, n_positions=128, **common()))


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, max_position_embeddings=128, **common()))


def t5():
    """Version 1.1, with an output table of its own, though transformers builds it tied."""
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=PAD, **common()))
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.all_tied_weights_keys.pop("lm_head.weight")
    return model


def bart():
    return transformers.BartForConditionalGeneration(transformers.BartConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
        max_position_embeddings=128, decoder_start_token_id=2, forced_eos_token_id=2,
        **common()))


MODELS = {"gpt2": gpt2, "llama": llama, "t5": t5, "bart": bart}


def randomize(model):
    """Weights that make every token of the text matter."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            table = VOCABULARY in parameter.shape
            parameter.data.normal_(0, 0.5 if table else 0.9, generator=generator)
        elif name.endswith("bias"):
            parameter.data.normal_(0, 0.3, generator=generator)


def run(*words, text=""):
    return subprocess.run([BINARY, *map(str, words)], input=text, capture_output=True, text=True,
                          cwd=ROOT, check=False)


def compress(*words):
    done = run(*words)
    if done.returncode != 0:
        raise AssertionError(f"compress {words} failed: {done.stderr}")
    return done.stdout


def flags(settings):
    words = []
    for key, value in settings.items():
        if key != "eos_token_id":
            text = str(value).lower() if isinstance(value, bool) else value
            words += ["--" + key.replace("_", "-"), text]
    return words


def cut(row, ends):
    """What a row says up to its end."""
    ids = row.tolist()
    stop = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: stop + 1]


@unittest.skipUnless(TEXT.exists(), "needs the fetched data")
class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.root = pathlib.Path(keep.name)
        compress("tokenizer", "train", TEXT, "--model", "bpe", "--vocab-size", VOCABULARY,
                 "--lowercase", "--out", cls.root / "tokenizer")
        file = cls.root / "tokenizer/tokenizer.json"
        cls.tokenizer = tokenizers.Tokenizer.from_file(str(file))
        cls.prompts = [cls.tokenizer.encode(text).ids for text in PROMPTS]
        cls.lines = cls.root / "prompts.txt"
        cls.lines.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")

    def model(self, family):
        """The model, and the folder that it was saved to."""
        torch.manual_seed(3)
        model = MODELS[family]().eval()
        randomize(model)
        folder = self.root / family
        if not folder.exists():
            model.save_pretrained(folder)
            text = (self.root / "tokenizer/tokenizer.json").read_bytes()
            (folder / "tokenizer.json").write_bytes(text)
        return model, folder

    def padded(self, model):
        longest = max(map(len, self.prompts))
        ids, mask = [], []
        for prompt in self.prompts:
            pad = longest - len(prompt)
            if model.config.is_encoder_decoder:
                ids.append(prompt + [PAD] * pad)
                mask.append([1] * len(prompt) + [0] * pad)
            else:
                ids.append([PAD] * pad + prompt)
                mask.append([0] * pad + [1] * len(prompt))
        return dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))

    def theirs(self, model, settings):
        """(ids, score) of each sequence; the score of a beam search alone."""
        said = model.generate(**self.padded(model), max_new_tokens=NEW, do_sample=False,
                              return_dict_in_generate=True, output_scores=True, **settings)
        begin = 1 if model.config.is_encoder_decoder else max(map(len, self.prompts))
        ends = settings.get("eos_token_id", model.generation_config.eos_token_id)
        ends = ends if isinstance(ends, list) else [ends]
        rows = [cut(row[begin:], ends) for row in said.sequences]
        if settings.get("num_beams", 1) > 1:
            return list(zip(rows, said.sequences_scores.tolist(), strict=True))
        transitions = model.compute_transition_scores(said.sequences, said.scores,
                                                      normalize_logits=True)
        return [(row, scores[: len(row)].sum().item())
                for row, scores in zip(rows, transitions, strict=True)]

    def ours(self, folder, settings, *more, batch=BATCH):
        """The same; with an end of its own in a folder of its own."""
        if "eos_token_id" in settings:
            other = folder.with_name(folder.name + "-ends")
            if not other.exists():
                other.mkdir()
                for file in folder.iterdir():
                    (other / file.name).write_bytes(file.read_bytes())
            config = json.loads((folder / "generation_config.json").read_text())
            config["eos_token_id"] = settings["eos_token_id"]
            (other / "generation_config.json").write_text(json.dumps(config))
            folder = other
        said = compress("generate", folder, "--file", self.lines, "--max-new-tokens", NEW,
                        "--batch", batch, "--json", "--quiet", *flags(settings), *more)
        lines = [json.loads(line) for line in said.splitlines()]
        return [(line["ids"], line["score"]) for line in lines]

    def check(self, family, cases):
        model, folder = self.model(family)
        lengths = set()
        for name, settings in cases.items():
            with self.subTest(family=family, case=name):
                theirs, ours = self.theirs(model, settings), self.ours(folder, settings)
                exact = self.theirs(copy.deepcopy(model).double(), settings)
                self.assertEqual([ids for ids, _ in ours], [ids for ids, _ in theirs])
                self.assertEqual([ids for ids, _ in exact], [ids for ids, _ in theirs])
                # The rounding of float32 grows from layer to layer of such large weights, in this
                # program as much as in transformers: a few times what is seen there.
                seen = max(abs(other - right)
                           for (_, other), (_, right) in zip(theirs, exact, strict=True))
                for (_, mine), (_, right) in zip(ours, exact, strict=True):
                    self.assertAlmostEqual(mine, right, delta=8 * seen + 1e-6 * abs(right))
                lengths |= {len(ids) for ids, _ in theirs}
        # Sequences that end in different places, some at the limit.
        self.assertGreater(len(lengths), 4)
        self.assertIn(NEW, lengths)

    def test_greedy(self):
        for family in MODELS:
            self.check(family, GREEDY)

    def test_beams(self):
        for family in MODELS:
            self.check(family, BEAMS)

    def test_a_first_token_may_be_forced(self):
        model, folder = self.model("bart")
        other = folder.with_name("bart-forced")
        model.generation_config.forced_bos_token_id = 5
        model.save_pretrained(other)
        (other / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        for settings in ({}, dict(num_beams=3, num_return_sequences=3)):
            theirs = self.theirs(model, settings)
            self.assertEqual({ids[0] for ids, _ in theirs}, {5})
            self.assertEqual([ids for ids, _ in self.ours(other, settings)],
                             [ids for ids, _ in theirs])

    def test_samples_follow_the_distribution(self):
        """Of one next token: chi-square, and no token that transformers rules out."""
        draws = 4000
        for family, settings in {
            "gpt2": dict(temperature=0.7, top_k=12, top_p=0.9),
            "llama": dict(temperature=1.5, top_k=0, top_p=0.8),
            "t5": dict(temperature=1.0, top_k=30, top_p=1.0, repetition_penalty=1.5),
        }.items():
            with self.subTest(family):
                model, folder = self.model(family)
                prompt = torch.tensor([self.prompts[1]])
                said = model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), do_sample=True,
                    max_new_tokens=1, return_dict_in_generate=True, output_scores=True, **settings)
                probabilities = said.scores[0][0].softmax(-1).double()
                text = compress("generate", folder, "--prompt", PROMPTS[1], "--sample", "--json",
                                "--num-return-sequences", draws, "--max-new-tokens", 1, "--seed", 7,
                                "--quiet", *flags(settings))
                counts = torch.zeros(VOCABULARY, dtype=torch.float64)
                for line in text.splitlines():
                    counts[json.loads(line)["ids"][0]] += 1
                self.assertEqual(counts.sum().item(), draws)
                self.assertEqual(counts[probabilities == 0].sum().item(), 0)
                often = draws * probabilities >= 5
                seen = torch.cat([counts[often], counts[~often].sum()[None]])
                due = draws * torch.cat([probabilities[often], probabilities[~often].sum()[None]])
                if due[-1] < 5:
                    seen, due = seen[:-1], due[:-1] * seen[:-1].sum() / due[:-1].sum()
                chance = scipy.stats.chisquare(seen.numpy(), due.numpy() * (
                    seen.sum() / due.sum()).item()).pvalue
                self.assertGreater(chance, 1e-3)

    def test_samples_do_not_depend_on_the_batch(self):
        _, folder = self.model("llama")
        settings = dict(num_return_sequences=2, seed=11)
        found = [
            [ids for ids, _ in self.ours(folder, settings, "--sample", batch=batch)]
            for batch in (1, 2, 7)
        ]
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_what_is_written_is_scored(self):
        """Greedily and with beams, of an encoder-decoder and of a decoder behind its prompts."""
        for family in ("t5", "gpt2"):
            folder = self.model(family)[1]
            for settings in ({}, dict(num_beams=3, length_penalty=0.5)):
                said = compress("generate", folder, "--file", self.lines, "--max-new-tokens", NEW,
                                "--json", "--quiet", *flags(settings))
                texts = [json.loads(line)["text"] for line in said.splitlines()]
                self.assertGreater(len(set(texts)), 4)
                # Some targets are what is written, some have a part of it, some none. No data file
                # may have a NUL, which a model of random weights does write.
                plain = [text.replace("\0", "") for text in texts]
                targets = [[text if text.strip() else "none", text[:len(text) // 2] + " it",
                            "good"][i % 3] for i, text in enumerate(plain)]
                data, kept = self.root / "scored.jsonl", self.root / "kept.jsonl"
                data.write_text("".join(json.dumps({"text": prompt, "target": target}) + "\n"
                                        for prompt, target in zip(PROMPTS, targets, strict=True)))
                found = json.loads(compress(
                    "evaluate", folder, "--data", data, "--target", "target", "--metrics",
                    "exact_text,bleu,rouge_l,perplexity", "--max-new-tokens", NEW, "--batch", BATCH,
                    "--predictions", kept, "--json", *flags(settings)))
                rows = [json.loads(line) for line in kept.read_text().splitlines()]
                self.assertEqual([row["written"] for row in rows], texts)
                self.assertEqual([row["references"] for row in rows], [[t] for t in targets])
                exact, bleu, rouge, _ = found["metrics"]
                same = [text.strip() == target.strip() for text, target in zip(texts, targets)]
                self.assertEqual(exact["value"], sum(same) / len(same))
                self.assertAlmostEqual(
                    bleu["value"], sacrebleu.corpus_bleu(texts, [targets]).score, delta=1e-9)
                self.assertIn("tok:13a|smooth:exp", bleu["signature"])
                scorer = rouge_scorer.RougeScorer(["rougeL"])
                values = [scorer.score(target, text)["rougeL"].fmeasure
                          for text, target in zip(texts, targets)]
                self.assertAlmostEqual(rouge["value"], sum(values) / len(values), delta=1e-12)

    def test_prompts_come_from_three_places(self):
        _, folder = self.model("gpt2")
        words = ["generate", folder, "--max-new-tokens", 5]
        from_file = compress(*words, "--file", self.lines)
        given = [word for text in PROMPTS for word in ("--prompt", text)]
        self.assertEqual(compress(*words, *given), from_file)
        done = run(*words, text=self.lines.read_text(encoding="utf-8"))
        self.assertEqual(done.stdout, from_file)
        self.assertRegex(done.stderr, r"tokens in .* s, .* tokens/s")
        self.assertEqual(run(*words, "--quiet", *given).stderr, "")

    def test_a_text_stops(self):
        _, folder = self.model("llama")
        words = ["generate", folder, "--prompt", PROMPTS[0], "--json", "--max-new-tokens", NEW,
                 "--min-new-tokens", NEW]
        whole = json.loads(compress(*words))
        for token in whole["ids"][3:]:
            text = self.tokenizer.decode([token])
            if text.isascii() and text.strip() == text and text not in whole["text"][:3]:
                break
        said = json.loads(compress(*words, "--stop", "no such text", "--stop", text))
        self.assertEqual(said["ids"], whole["ids"][: len(said["ids"])])
        self.assertIn(text, said["text"])
        self.assertNotIn(text, self.tokenizer.decode(said["ids"][:-1]))

    def test_what_is_wrong(self):
        _, folder = self.model("gpt2")
        prompt = ("--prompt", "good")
        blank = self.root / "blank.txt"
        blank.write_text("good\n\n", encoding="utf-8")
        long = " ".join(["good"] * 200)
        cases = [
            (2, "the prompt is empty", folder, "--prompt", " "),
            (3, "blank.txt:2", folder, "--file", blank),
            (3, "cannot be read", folder, "--file", "no-such-file"),
            (2, "the model takes 128", folder, "--prompt", long),
            (2, "positions do not suffice", folder, *prompt, "--max-new-tokens", 500),
            (2, "max_new_tokens starts at 1", folder, *prompt, "--max-new-tokens", 0),
            (2, "min_new_tokens", folder, *prompt, "--min-new-tokens", 30),
            (2, "temperature is above 0", folder, *prompt, "--sample", "--temperature", 0),
            (2, "top_p lies in 0 to 1", folder, *prompt, "--sample", "--top-p", 1.5),
            (2, "num_return_sequences", folder, *prompt, "--num-return-sequences", 2),
            (2, "sampling and beams", folder, *prompt, "--sample", "--num-beams", 2),
            (2, "--early-stopping", folder, *prompt, "--early-stopping", "soon"),
            (2, "--file", folder, *prompt, "--file", blank),
            (4, "no-such-folder", "no-such-folder", *prompt),
        ]
        encoder = ROOT / "models/all-MiniLM-L6-v2"
        if encoder.exists():
            cases.append((4, "writes no text", encoder, *prompt))
        for code, message, *words in cases:
            with self.subTest(message):
                done = run("generate", *words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(message, done.stderr)
                self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
