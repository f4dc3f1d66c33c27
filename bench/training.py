"""The peer's training step (transformers on PyTorch), and the matrix products of such a step."""

import random
import time

from peers import MODEL, rows

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
functional = torch.nn.functional
KEPT = (0, 2, 4)


def classifier(layers=None, folder=MODEL):
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model = load(folder, num_labels=2)
    if layers is not None:
        kept = torch.nn.ModuleList(model.bert.encoder.layer[i] for i in layers)
        model.bert.encoder.layer = kept
        model.config.num_hidden_layers = len(kept)
    return model


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def rate(entry, steps, warm=1):
    """Samples per second of an entry's steps, which are one round over its batches, after some that
    are not timed."""
    for index in range(warm):
        entry.step(index)
    wait(entry.device)
    begin = time.perf_counter()
    for index in range(1, steps + 1):
        entry.step(index)
    wait(entry.device)
    return steps * entry.batch / (time.perf_counter() - begin)


def by_length(rows, batch, length=len, window=50):
    """The rows in batches: windows of that many batches are sorted by length, the batches shuffled.
    A window of 0 leaves rows in random order."""
    draw = random.Random(13)
    rows = list(rows)
    draw.shuffle(rows)
    step = window * batch or 1
    rows = [row for start in range(0, len(rows), step)
            for row in sorted(rows[start : start + step], key=length)]
    batches = [rows[i : i + batch] for i in range(0, len(rows), batch)]
    draw.shuffle(batches)
    return batches


class HuggingFace:
    """The usual loop: rows tokenised before, padded batches, fused AdamW, clipping at 1.

    layers: those of the student (None: all). teacher: half soft (temperature 2), half hard labels.
    change: edits the student first. rho: sharpness-aware minimisation as two passes in Python.
    by_length: windows of 50 batches are sorted by length and the batches shuffled, as ours are;
    otherwise rows come in random order.
    """

    def __init__(self, batch, layers=None, teacher=False, bf16=False, compiled=False, change=None,
                 rho=0.0, by_length=True, device="cpu"):
        torch.manual_seed(13)
        self.device = device
        self.bf16, self.batch, self.rho, self.compiled = bf16, batch, rho, compiled
        self.by_length = by_length
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
        self.student = classifier(layers).train()
        if change is not None:
            change(self.student)
        self.student.to(device)
        self.parameters = list(self.student.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=5e-5, weight_decay=0.01, fused=True
        )
        self.run_student = self.student
        self.run_teacher = classifier().eval().to(device) if teacher else None
        if compiled:
            torch._dynamo.config.recompile_limit = 64  # or layers fall back to eager mode
            self.run_student = torch.compile(self.student, dynamic=True)
            if teacher:
                self.run_teacher = torch.compile(self.run_teacher, dynamic=True)
        self.batches = []

    def prepare(self, steps):
        """Batches of the rows that ours trains on: the first steps * batch of the file."""
        if len(self.batches) == steps:
            return
        chosen = rows()[: steps * self.batch]
        ids = self.tokenizer(
            [text for text, _ in chosen], truncation=True, max_length=128
        )["input_ids"]
        labelled = zip(ids, (label for _, label in chosen))
        window = 50 if self.by_length else 0
        self.batches = by_length(labelled, self.batch, lambda row: len(row[0]), window)

    def inputs(self, index):
        ids, labels = zip(*self.batches[index % len(self.batches)])
        inputs = self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt")
        return inputs.to(self.device), torch.tensor(labels).to(self.device)

    def autocast(self):
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.bf16)

    def backward(self, inputs, labels, target):
        with self.autocast():
            logits = self.run_student(**inputs).logits.float()
        loss = functional.cross_entropy(logits, labels)
        if target is not None:
            student, teacher = (logits / 2).log_softmax(-1), (target / 2).log_softmax(-1)
            soft = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
            loss = 0.5 * soft * 4 + 0.5 * loss
        loss.backward()

    def climb(self):
        """Moves the weights along the gradient; returns what undoes it."""
        moved = [p for p in self.parameters if p.grad is not None]
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in moved]).norm()
            steps = [p.grad * (self.rho / (norm + 1e-12)) for p in moved]
            saved = [p.clone() for p in moved]
            for p, step in zip(moved, steps):
                p.add_(step)
        return moved, saved

    def step(self, index):
        inputs, labels = self.inputs(index)
        target = None
        if self.run_teacher is not None:
            with torch.no_grad(), self.autocast():
                target = self.run_teacher(**inputs).logits.float()
        self.backward(inputs, labels, target)
        if self.rho > 0:
            moved, saved = self.climb()
            self.optimizer.zero_grad()
            self.backward(inputs, labels, target)
            with torch.no_grad():
                for p, value in zip(moved, saved):
                    p.copy_(value)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def measure(self, steps):
        self.prepare(steps)
        return rate(self, steps, warm=3 if self.compiled else 1)


class Products:
    """The matrix products of the linear layers of one step and nothing else, packed (no padding).

    Forward through the teacher's layers; forward, gradient of the input and gradient of the weight
    through the student's, into buffers that are made once, at the token counts of the peer's
    batches. Attention's own small products are left out, so the limit is not within reach.
    """

    def __init__(self, peer, teacher, student, dtype, width=384, inner=1536):
        self.peer, self.batch, self.device = peer, peer.batch, peer.device
        shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
        self.layers = [
            (trained, [torch.randn(out, into).to(self.device, dtype) for into, out in shapes])
            for trained in [False] * teacher + [True] * student
        ]
        size = self.batch * 128
        how = {"dtype": dtype, "device": self.device}
        self.state = {n: torch.randn(size, n).to(self.device, dtype) for n in (width, inner)}
        self.result = {n: torch.empty(size, n, **how) for n in (width, inner)}
        self.gradients = {shape: torch.empty(shape[::-1], **how) for shape in shapes}

    def step(self, index):
        batches = self.peer.batches
        tokens = sum(len(ids) for ids, _ in batches[index % len(batches)])
        for trained, weights in self.layers:
            for weight in weights:
                out, into = weight.shape
                x = self.state[into][:tokens]
                torch.mm(x, weight.t(), out=self.result[out][:tokens])
                if trained:
                    dy = self.state[out][:tokens]
                    torch.mm(dy, weight, out=self.result[into][:tokens])
                    torch.mm(dy.t(), x, out=self.gradients[into, out])

    def measure(self, steps):
        self.peer.prepare(steps)
        return rate(self, steps)
