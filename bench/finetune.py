#!/usr/bin/env python3
"""Samples per second of fine-tuning the six-layer model: this program beside Hugging Face.

    .venv/bin/python bench/finetune.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]

Sentences, optimiser, clipping, peers, rounds and the limit of the matrix products are those of
bench/distillation.py; there is no teacher, all six layers of all-MiniLM-L6-v2 are trained.
"""

import peers


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE)
    import torch
    import training

    def peer(**how):
        return training.HuggingFace(options.batch, **how)

    def ours(precision):
        return peers.Ours("finetune.yaml", "model", options.batch, precision)

    entries = {"Hugging Face float32": peer(), "Hugging Face bf16 autocast": peer(bf16=True)}
    if not options.no_compile:
        entries["Hugging Face bf16 torch.compile"] = peer(bf16=True, compiled=True)
    entries |= {"compress float32": ours("float32"), "compress bf16": ours("bf16")}
    first = entries["Hugging Face float32"]
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        entries[f"matrix products {name}"] = training.Products(first, 0, 6, dtype)
    found = peers.alternate(entries, options.steps, options.rounds)
    threads = torch.get_num_threads()
    peers.table(f"fine-tuning step, batch {options.batch}, {threads} threads, samples/s", found)
    peers.ratio(found)
    peers.ratio(found, peer="matrix products")


if __name__ == "__main__":
    main()
