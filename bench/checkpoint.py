#!/usr/bin/env python3
"""Seconds to load and to save a checkpoint folder, beside Hugging Face.

    .venv/bin/python bench/checkpoint.py [--rounds 5]

The folder is all-MiniLM-L6-v2 (22.7M parameters, float32). Ours, as whole processes less the time
of `compress --version` (the loading of the libraries):
  inspect   reads the folder and counts the zeros of every tensor
  export    reads the folder, writes it, reads what was written and compares every tensor
Python, in a warm process with everything imported:
  from_pretrained     its tensors are read once more (a sum), since loading only maps the file
  save_pretrained
and as a whole process, interpreter and imports included, load and save together. The tokenizer is
loaded and saved too. Files come from the page cache on both sides.
"""

import pathlib
import sys
import tempfile
import time

import peers


def tools():
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers.AutoModel, transformers.AutoTokenizer


def load():
    model, tokenizer = (part.from_pretrained(peers.MODEL) for part in tools())
    sum(float(p.detach().sum()) for p in model.parameters())
    return model, tokenizer


def save(parts):
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for part in parts:
            part.save_pretrained(folder)
        return time.perf_counter() - begin


class Timed:
    def __init__(self, measure):
        self.measure = lambda _: measure()


def timed_load():
    begin = time.perf_counter()
    load()
    return time.perf_counter() - begin


def ours(*words):
    start = peers.compress("--version")[1]
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", pathlib.Path(folder, "model")] if words[0] == "export" else []
        return peers.compress(words[0], peers.MODEL, *words[1:], *out)[1] - start


def main():
    options = peers.arguments(
        __doc__, steps=None, rounds=5, batch=None,
        more={"--child": {"help": "(what the script runs itself)"}},
    )
    if options.child:
        save(load())
        return
    parts = load()
    process = [sys.executable, __file__, "--child", "yes"]
    entries = {
        "Hugging Face load": Timed(timed_load),
        "Hugging Face save": Timed(lambda: save(parts)),
        "whole Python process, load and save": Timed(lambda: peers.measured(process)[1]),
        "compress load (inspect)": Timed(lambda: ours("inspect")),
        "compress load, save, compare (export)": Timed(
            lambda: ours("export", "--format", "huggingface")
        ),
        "start of compress (--version)": Timed(lambda: peers.compress("--version")[1]),
    }
    found = peers.alternate(entries, None, options.rounds)
    peers.table("checkpoint folder, seconds", found, 3)
    peers.ratio(found, "compress load (inspect)", "Hugging Face load", lower=True)
    peers.ratio(found, "compress load, save", "whole Python process", lower=True)


if __name__ == "__main__":
    main()
