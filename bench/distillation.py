#!/usr/bin/env python3
"""Samples per second of the distillation step: this program beside Hugging Face, in one run.

    .venv/bin/python bench/distillation.py [--steps 30] [--rounds 3] [--batch 32]

Both read the same movie sentences (at most 128 tokens), teach layers 0, 2, 4 of all-MiniLM-L6-v2
from the six-layer model (temperature 2, half soft and half hard labels), and update with AdamW and
clipping at 1. Hugging Face's side is the usual loop: padded batches in random order, transformers'
BertForSequenceClassification, torch.optim.AdamW. The rounds alternate; minimum, median and maximum
are printed, and the ratio of the medians.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import statistics
import subprocess
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"


def rows():
    with open(ROOT / "data/movies/train.tsv", encoding="utf-8") as file:
        return [
            (row["sentence"], int(row["label"] == "positive"))
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


class HuggingFace:
    def __init__(self, batch, bf16):
        torch.manual_seed(13)
        self.bf16, self.batch = bf16, batch
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
        load = transformers.AutoModelForSequenceClassification.from_pretrained
        self.teacher = load(MODEL, num_labels=2).eval()
        self.student = load(MODEL, num_labels=2).train()
        kept = torch.nn.ModuleList(self.student.bert.encoder.layer[i] for i in (0, 2, 4))
        self.student.bert.encoder.layer = kept
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=5e-5, weight_decay=0.01)
        self.rows = rows()
        random.Random(13).shuffle(self.rows)

    def step(self, index):
        start = index * self.batch % (len(self.rows) - self.batch)
        texts, labels = zip(*self.rows[start : start + self.batch])
        inputs = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                target = self.teacher(**inputs).logits.float()
            logits = self.student(**inputs).logits.float()
        soft = (
            torch.nn.functional.kl_div(
                (logits / 2).log_softmax(-1),
                (target / 2).log_softmax(-1),
                reduction="batchmean",
                log_target=True,
            )
            * 4
        )
        hard = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        (0.5 * soft + 0.5 * hard).backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def measure(self, steps):
        self.step(0)
        begin = time.perf_counter()
        for index in range(1, steps + 1):
            self.step(index)
        return steps * self.batch / (time.perf_counter() - begin)


def ours(steps, batch, precision):
    program = os.environ.get("COMPRESS_BIN", str(ROOT / "build/release/bin/compress"))
    out = subprocess.run(
        [
            program,
            "bench",
            "bench/distillation.yaml",
            "--stage",
            "student",
            "--steps",
            str(steps),
            "--json",
            "--set",
            f"stages.student.train.batch={batch}",
            "--set",
            f"stages.student.train.precision={precision}",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(out)["samples_per_second"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    peers = {
        "Hugging Face float32": HuggingFace(options.batch, False),
        "Hugging Face bf16 autocast": HuggingFace(options.batch, True),
    }
    found = {name: [] for name in (*peers, "compress float32", "compress bf16")}
    for _ in range(options.rounds):
        for name, peer in peers.items():
            found[name].append(peer.measure(options.steps))
        found["compress float32"].append(ours(options.steps, options.batch, "float32"))
        found["compress bf16"].append(ours(options.steps, options.batch, "bf16"))
    print(f"distillation step, batch {options.batch}, {torch.get_num_threads()} threads, samples/s")
    for name, values in found.items():
        print(
            f"  {name:28} min {min(values):7.1f}  median {statistics.median(values):7.1f}"
            f"  max {max(values):7.1f}"
        )
    peer = max((n for n in peers), key=lambda n: statistics.median(found[n]))
    best = max(("compress float32", "compress bf16"), key=lambda n: statistics.median(found[n]))
    ratio = statistics.median(found[best]) / statistics.median(found[peer])
    print(f"ratio of medians, {best} to {peer}: {ratio:.2f}")


if __name__ == "__main__":
    main()
