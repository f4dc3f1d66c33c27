#!/usr/bin/env python3
"""Tokens written per second, beside transformers' generate(): greedy, float32, the same threads.

    .venv/bin/python bench/generation.py [--rounds 3] [--tokens 64] [--batches 1,8] [--threads 2]
        [--shapes smollm2,gpt2,bart-base] [--model FOLDER]

Models have well-known shapes and random weights, as speed does not depend on what was learnt; or
are those of --model. Prompts are movie sentences, packed here and padded on the left there. Both
keep keys and values, read the prompt within the time, and write exactly --tokens tokens; each
measurement writes once before it is timed. Ours is what `compress generate --json` says of its
second batch. Printed are tokens/s (minimum, median, maximum of the rounds) and the same of the
ratios of the rounds, and in how many rows both wrote the same tokens.
"""

import json
import pathlib
import statistics
import tempfile
import time

import peers

# Class, and configuration without an end, so that all rows have one length.
SHAPES = {
    "smollm2": ("Llama", dict(
        vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, intermediate_size=1536, max_position_embeddings=2048,
        tie_word_embeddings=True)),
    "gpt2": ("GPT2", {}),
    "bart-base": ("Bart", dict(
        d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12,
        decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072,
        forced_eos_token_id=None, decoder_start_token_id=2)),
}


def write_model(folder, shape):
    import torch
    import transformers

    kind, settings = SHAPES[shape]
    head = "ForConditionalGeneration" if kind == "Bart" else "ForCausalLM"
    head = "LMHeadModel" if kind == "GPT2" else head
    settings = dict(eos_token_id=None, pad_token_id=0, bos_token_id=1) | settings
    torch.manual_seed(1)
    model = getattr(transformers, kind + head)(getattr(transformers, kind + "Config")(**settings))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3)  # so that what is written varies
    target = pathlib.Path(folder, shape)
    model.save_pretrained(target)
    peers.copy_tokenizer(target)
    return target


class Theirs:
    def __init__(self, folder, texts, tokens):
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = (transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder
                else transformers.AutoModelForCausalLM)
        self.model = kind.from_pretrained(folder, dtype="float32").eval()
        self.reads = config.is_encoder_decoder
        self.tokenizer.padding_side = "right" if self.reads else "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        found = self.tokenizer(texts, padding=True, return_tensors="pt")
        self.inputs = {name: found[name] for name in ("input_ids", "attention_mask")}
        self.settings = dict(max_new_tokens=tokens, min_new_tokens=None, do_sample=False,
                             num_beams=1, eos_token_id=None, repetition_penalty=1.0,
                             no_repeat_ngram_size=0)
        self.ids = None

    def write(self):
        import torch

        with torch.inference_mode():
            return self.model.generate(**self.inputs, **self.settings)

    def measure(self, _):
        self.write()
        begin = time.perf_counter()
        said = self.write()
        seconds = time.perf_counter() - begin
        start = 1 if self.reads else self.inputs["input_ids"].shape[1]
        self.ids = said[:, start:].tolist()
        return sum(map(len, self.ids)) / seconds


class Ours:
    def __init__(self, folder, texts, tokens, threads):
        self.file = pathlib.Path(folder, "prompts.txt")
        self.rows = len(texts)
        self.words = ["--threads", threads, "generate", folder, "--file", self.file, "--batch",
                      self.rows, "--max-new-tokens", tokens, "--no-sample", "--num-beams", 1,
                      "--json", "--quiet"]
        self.texts, self.ids = texts, None

    def measure(self, _):
        self.file.write_text("\n".join(self.texts * 2) + "\n", encoding="utf-8")
        lines = [json.loads(line) for line in peers.compress(*self.words)[0].splitlines()]
        second = lines[self.rows :]
        self.ids = [line["ids"] for line in second]
        return sum(map(len, self.ids)) / second[0]["seconds"]


def show(name, size, options, found, ours, theirs):
    peers.table(f"{name}, batch {size}, {options.tokens} new tokens, {options.threads} threads, "
                "tokens/s", found)
    ratios = sorted(a / b for a, b in zip(found["compress"], found["transformers"], strict=True))
    same = sum(a == b for a, b in zip(ours.ids, theirs.ids, strict=True))
    print(f"ratio of compress to transformers: min {ratios[0]:.2f}  median "
          f"{statistics.median(ratios):.2f}  max {ratios[-1]:.2f}; "
          f"{same} of {size} rows have the same tokens", flush=True)


def main():
    import os

    more = {
        "--tokens": {"type": int, "default": 64, "help": "new tokens a row"},
        "--batches": {"default": "1,8", "help": "rows at a time, separated by commas"},
        "--threads": {"type": int, "default": len(os.sched_getaffinity(0)), "help": "of both"},
        "--shapes": {"default": ",".join(SHAPES), "help": "separated by commas"},
        "--model": {"help": "a folder with a model of your own, instead of shapes"},
    }
    options = peers.arguments(__doc__, steps=None, batch=None, more=more)
    unknown = set(options.shapes.split(",")) - set(SHAPES)
    if unknown:
        peers.fail(f"--shapes takes some of {', '.join(SHAPES)}")
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root:
        for name in [options.model] if options.model else options.shapes.split(","):
            folder = pathlib.Path(root, "own") if options.model else write_model(root, name)
            if options.model:
                folder.mkdir()
                for file in pathlib.Path(options.model).resolve().iterdir():
                    if file.name != "generation_config.json":
                        (folder / file.name).symlink_to(file)
                (folder / "generation_config.json").write_text('{"eos_token_id": null}')
            for size in map(int, options.batches.split(",")):
                texts = [text for text, _ in peers.rows()[:size]]
                theirs = Theirs(folder, texts, options.tokens)
                ours = Ours(folder, texts, options.tokens, options.threads)
                found = peers.alternate({"transformers": theirs, "compress": ours}, None,
                                        options.rounds)
                if len(found) < 2:
                    peers.fail("one side could not be measured")
                show(name, size, options, found, ours, theirs)


if __name__ == "__main__":
    main()
