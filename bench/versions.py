#!/usr/bin/env python3
"""Two builds of this program beside each other: updates of three stages, in rounds that alternate.

    .venv/bin/python bench/versions.py OLD NEW [--rounds 5] [--steps 30]
    .venv/bin/python bench/versions.py OLD NEW --inference DIR [--rounds 5] [--rows 256]

Prints each stage's samples per second and peak memory with both executables and the ratio of the
medians, new to old; a change of the loop should keep it at 0.98 or more, and memory no higher. With
--inference, instead, forward passes of the models that `bench/inference.py --models DIR` left, with
one thread and with all, held to AVX2 and as the processor is: milliseconds a sentence at batch 1
and sentences per second at batch 32, and how many times faster the new executable is.
"""

import argparse
import json
import os
import pathlib
import statistics

import peers

INT8 = {"quantization": "{weights: int8, activations: int8}",
        "pruning": "{magnitude: {sparsity: 80%, begin: 0%, end: 50%}}"}
STAGES = {
    "distillation": ("distillation.yaml", "student", {}),
    "fine-tuning": ("finetune.yaml", None, {}),
    "sparse, int8": ("distillation.yaml", "student", INT8),
    "SAM": ("distillation.yaml", "student", {"sharpness": "{sam: {rho: 0.05}}"}),
}


def stage_of(recipe):
    text = (peers.ROOT / "bench" / recipe).read_text(encoding="utf-8")
    return text.split("- name: ")[1].split()[0]


def measure(program, recipe, stage, steps, train):
    words = [program, "bench", peers.ROOT / "bench" / recipe, "--stage", stage, "--steps", steps,
             "--json", "--set", f"data.reviews.limit={steps * 32}"]
    for key, value in (train | {"precision": "float32"}).items():
        words += ["--set", f"stages.{stage}.train.{key}={value}"]
    out, _, peak = peers.measured(words)
    return json.loads(out)["samples_per_second"], peak


def forward(program, model, size, rows, limits):
    words = [program, "evaluate", model, "--data", peers.MOVIES, "--text", "sentence", "--limit",
             rows, "--batch", size, "--precision", "float32", "--warm-up", 4, "--json"]
    out, _, _ = peers.measured(words, env=os.environ | limits)
    found = json.loads(out)["forward"]
    return found["median_ms" if size == 1 else "samples_per_second"]


def inference(options):
    exports = pathlib.Path(options.inference, "stages")
    models = {path.parents[1].name.removeprefix("release-"): path.parent
              for name in ("huggingface", "compressed-tensors")
              for path in sorted(exports.glob(f"release-*/{name}/config.json"))}
    models = {name: path for name, path in models.items() if name in options.only.split(",")}
    for cpu in ("avx2", ""):
        for threads in sorted({1, os.cpu_count()}):
            limits = {"OMP_NUM_THREADS": str(threads)} | ({"COMPRESS_CPU": cpu} if cpu else {})
            for name, model in models.items():
                for size in (1, 32):
                    found = {"old": [], "new": []}
                    for _ in range(options.rounds):
                        for which in found:
                            program = getattr(options, which)
                            found[which].append(
                                forward(program, model, size, options.rows, limits))
                    old, new = (statistics.median(found[which]) for which in ("old", "new"))
                    unit, ratio = ("ms", old / new) if size == 1 else ("samples/s", new / old)
                    print(f"{cpu or 'all'}, {threads} threads, {name}, batch {size}: {unit} old "
                          f"{old:.4g}, new {new:.4g}, {ratio:.2f} times faster", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--inference", help="folder of bench/inference.py's models")
    parser.add_argument("--only", default="teacher,student,int8,sparse", help="of these models")
    parser.add_argument("--rows", type=int, default=256)
    options = parser.parse_args()
    if options.inference:
        inference(options)
        return
    for name, (recipe, stage, train) in STAGES.items():
        stage = stage or stage_of(recipe)
        found = {"old": [], "new": []}
        for _ in range(options.rounds):
            for which in found:
                program = getattr(options, which)
                found[which].append(measure(program, recipe, stage, options.steps, train))
        speed = {which: statistics.median(s for s, _ in all) for which, all in found.items()}
        peak = {which: statistics.median(p for _, p in all) for which, all in found.items()}
        print(f"{name}: samples/s old {speed['old']:.1f}, new {speed['new']:.1f}, ratio "
              f"{speed['new'] / speed['old']:.3f}; peak MB old {peak['old']:.0f}, "
              f"new {peak['new']:.0f}", flush=True)


if __name__ == "__main__":
    main()
