#!/usr/bin/env python3
"""Peak resident memory of the training step, beside Hugging Face.

    .venv/bin/python bench/memory.py [--steps 10] [--rounds 1] [--batch 32]

Each entry is a process of its own; the number is its largest resident set (ru_maxrss), so loading,
the libraries and, on Python's side, the interpreter count. Steps: distillation (six layers into
three) and fine-tuning of six layers, float32 and bf16, on the same sentences.
"""

import sys

import peers


def child(name, batch, steps):
    import training

    distilled, bf16 = name.startswith("distillation"), name.endswith("bf16")
    layers = training.KEPT if distilled else None
    training.HuggingFace(batch, layers, teacher=distilled, bf16=bf16).measure(steps)


class Python:
    def __init__(self, name, batch):
        self.words = [sys.executable, __file__, "--child", name, "--batch", batch]

    def measure(self, steps):
        return peers.measured([*self.words, "--steps", steps])[2]


class Ours:
    def __init__(self, recipe, stage, batch, precision):
        self.recipe, self.stage = recipe, stage
        train = f"stages.{stage}.train"
        self.settings = {f"{train}.batch": batch, f"{train}.precision": precision}

    def measure(self, steps):
        return peers.bench(self.recipe, self.stage, steps, self.settings)["peak_mb"]


def main():
    options = peers.arguments(
        __doc__, steps=10, rounds=1, more={"--child": {"help": "(what the script runs itself)"}}
    )
    if options.child:
        return child(options.child, options.batch, options.steps)
    for step, recipe, stage in (
        ("distillation", "distillation.yaml", "student"),
        ("fine-tuning", "finetune.yaml", "model"),
    ):
        entries = {}
        for precision in peers.precisions():
            name = f"{step} {precision}"
            entries[f"Hugging Face {precision}"] = Python(name, options.batch)
            entries[f"compress {precision}"] = Ours(recipe, stage, options.batch, precision)
        found = peers.alternate(entries, options.steps, options.rounds)
        peers.table(f"peak memory, {step} step, batch {options.batch}, MB", found)
        peers.ratio(found, lower=True)


if __name__ == "__main__":
    main()
