#!/usr/bin/env python3
"""Teacher, three-layer student, 80% zeros, int8, file: as written with transformers, torch and
torchao. The peer of bench/chain.py, which runs it and counts its lines.

    .venv/bin/python bench/chain_peer.py --data FOLDER --out FOLDER [--bf16]
"""

import argparse
import copy
import csv
import json
import math
import pathlib
import random

import torch
import transformers
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig

MODEL = "models/all-MiniLM-L6-v2"
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path, required=True)
parser.add_argument("--data", type=pathlib.Path, required=True)
parser.add_argument("--bf16", action="store_true")
options = parser.parse_args()
torch.manual_seed(13)
draw = random.Random(13)
tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
scores = {}


def read(name):
    with open(options.data / f"{name}.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row["sentence"] for row in rows]
    ids = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    return [(i, row["label"] == "positive") for i, row in zip(ids, rows)]


def pad(rows):
    inputs = tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, return_tensors="pt")
    return inputs, torch.tensor([label for _, label in rows]).long()


def shuffled(rows, batch=32, window=50):
    """Row numbers in batches of like length, which saves most of the padding."""
    order = draw.sample(range(len(rows)), len(rows))
    batches = []
    for start in range(0, len(rows), window * batch):
        some = sorted(order[start : start + window * batch], key=lambda i: len(rows[i][0]))
        batches += [some[i : i + batch] for i in range(0, len(some), batch)]
    draw.shuffle(batches)
    return batches


def autocast():
    return torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)


@torch.no_grad()
def logits_of(model, rows, batch=32):
    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    found = torch.empty(len(rows), 2)
    for start in range(0, len(rows), batch):
        some = order[start : start + batch]
        with autocast():
            found[some] = model(**pad([rows[i] for i in some])[0]).logits.float()
    return found


def accuracy(model, rows):
    labels = torch.tensor([label for _, label in rows])
    return (logits_of(model, rows).argmax(1) == labels).float().mean().item()


def report(name, model):
    scores[name] = {"validation": accuracy(model, validation), "test": accuracy(model, test)}


def train(model, epochs, lr, soft=0.0, warmup=0.1, masks=None):
    """AdamW, linear decay, clipping at 1; `soft` is the share of the teacher's answers. The epoch
    with the best validation accuracy is kept, of those that have all zeros."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, fused=True)
    steps, step = epochs * math.ceil(len(training) / 32), 0
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(warmup * steps), steps)
    best, best_weights = -1, None
    for _ in range(epochs):
        model.train()
        for batch in shuffled(training):
            inputs, labels = pad([training[i] for i in batch])
            with autocast():
                logits = model(**inputs).logits.float()
            loss = (1 - soft) * cross_entropy(logits, labels)
            if soft > 0:
                one, other = log_softmax(logits / 2, -1), log_softmax(answers[batch] / 2, -1)
                loss += soft * 4 * kl_div(one, other, reduction="batchmean", log_target=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if masks is not None:
                masks.apply(step / steps)
        score = accuracy(model, validation)
        if (masks is None or masks.complete) and score > best:
            best, best_weights = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)


def linear(model):
    return [m for m in model.bert.encoder.modules() if isinstance(m, torch.nn.Linear)]


class Masks:
    """Gradual magnitude pruning over all matrices together (Zhu and Gupta 2017), a new threshold
    every ten steps between 10% and 60% of training; `complete` keeps the zeros that are there."""

    def __init__(self, model, sparsity=0.8, complete=False):
        self.layers, self.sparsity, self.complete, self.calls = linear(model), sparsity, complete, 0
        self.masks = [(layer.weight != 0).float() for layer in self.layers]

    @torch.no_grad()
    def apply(self, progress):
        part = min(1, (progress - 0.1) / 0.5)
        self.calls += 1
        if not self.complete and part > 0 and (self.calls % 10 == 0 or part == 1):
            sizes = torch.cat([layer.weight.abs().flatten() for layer in self.layers])
            zeros = max(1, int(len(sizes) * self.sparsity * (1 - (1 - part) ** 3)))
            threshold = sizes.kthvalue(zeros).values
            self.masks = [(layer.weight.abs() > threshold).float() for layer in self.layers]
            self.complete = part == 1
        for layer, mask in zip(self.layers, self.masks):
            layer.weight.mul_(mask)


training, validation, test = read("train"), read("dev"), read("test")

load = transformers.AutoModelForSequenceClassification.from_pretrained
teacher = load(MODEL, num_labels=2)
train(teacher, epochs=2, lr=1e-4)
report("teacher", teacher)
answers = logits_of(teacher, training)

student = copy.deepcopy(teacher)
student.bert.encoder.layer = torch.nn.ModuleList(student.bert.encoder.layer[i] for i in (0, 2, 4))
student.config.num_hidden_layers = 3
train(student, epochs=3, lr=1e-4, soft=0.5)
report("student", student)

train(student, epochs=4, lr=1e-4, soft=1.0, masks=Masks(student))
report("sparse", student)

fake = {"activation_config": IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False),
        "weight_config": IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True)}
quantize_(student.bert.encoder, QATConfig(**fake, step="prepare"))
train(student, epochs=1, lr=2e-5, soft=1.0, warmup=0.0, masks=Masks(student, complete=True))
quantize_(student.bert.encoder, QATConfig(step="convert"))
quantize_(student.bert.encoder, Int8DynamicActivationInt8WeightConfig())
options.bf16 = False  # the integers' scales are float32
report("int8", student)

options.out.mkdir(parents=True, exist_ok=True)
student.config.save_pretrained(options.out)
tokenizer.save_pretrained(options.out)
torch.save(student.state_dict(), options.out / "model.pt")
print(json.dumps(scores))
