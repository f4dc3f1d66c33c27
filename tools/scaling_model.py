#!/usr/bin/env python3
"""Expected efficiency of data-parallel training, on paper: the tables of docs/scaling.md.

    tools/scaling_model.py                       all tables
    tools/scaling_model.py --table efficiency    one of: efficiency, memory, sparse, costs, inputs
    tools/scaling_model.py --table efficiency --model bert-base --hardware h100 \\
      --measured 8:4.1 --measured 32:11.9      with two step times that `compress bench` printed
    tools/scaling_model.py --text data/hutto/movie.txt           distinct tokens and uneven lengths

A model of a step, not a measurement. Compute time comes from the operations of the matrix products,
a share of the card's published peak and a least time a launch, or from two measured points (rows a
rank : milliseconds an update). The step is in bf16. Gradients travel in the buckets of PyTorch's
Reducer while the backward pass still runs: a bucket starts when it is full and the one before it is
through. Gradients of embeddings (on GPUs in the last buckets, counted as not hidden), and all of
them with --accumulate, travel after it. Only Python's standard library is needed; --text asks the
program for token ids.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import random
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
MB, GB = 1e6, 1e9
FIRST_BUCKET = 2**20  # bytes, as in c10d::Reducer
JOINED = 25 * 2**20  # bytes of gradients that Processes::average sends in one message
AGREE_EVERY = 10  # updates, on GPUs; on processors every update

# What is assumed, not published and not measured. Each can be changed on the command line.
ASSUMED = {
    "peak_share": (0.4, "of the published peak that matrix products of a step reach"),
    "link_share": (0.8, "of a link's published rate that large messages reach"),
    "gloo_near": (2e-5, "s, a small message of Gloo between two processes of a node"),
    "gloo_far": (5e-5, "s, the same between two nodes"),
    "launches": (60, "kernels a layer, forward and backward together"),
    "launch": (4e-6, "s, a kernel launch; a step is never shorter than all of them"),
    "bucket": (25 * 2**20, "bytes of a gradient bucket; c10d::Reducer's default"),
    "disk": (2e9, "bytes/s that one rank writes to the shared file system"),
    "heaps_k": (3.33, "distinct tokens among n: k n^b (fitted by --text data/hutto/movie.txt)"),
    "heaps_b": (0.718, "see heaps_k"),
}


@dataclasses.dataclass
class Model:
    name: str
    layers: int
    layer_parameters: int
    width: int
    vocabulary: int
    output_head: bool  # the embedding is also the output matrix: its gradient is dense
    causal: bool
    other_rows: int  # of the tables of positions and segments
    rest: int  # norms and head

    @property
    def matrices(self):
        return self.layers * self.layer_parameters

    @property
    def embedding(self):
        return self.vocabulary * self.width

    @property
    def table_rows(self):
        return self.vocabulary + self.other_rows

    @property
    def overlapped(self):
        """Bytes that are reduced during the backward pass."""
        return (2 * self.matrices + 4 * self.rest
                + (4 * self.embedding if self.output_head else 0))

    @property
    def tables(self):
        """Bytes of the tables that only a lookup reads."""
        return 0 if self.output_head else 4 * self.table_rows * self.width

    @property
    def parameters(self):
        return self.matrices + self.embedding

    def forward_operations(self, rows, length):
        products = self.matrices + (self.embedding if self.output_head else 0)
        pairs = 4 * self.layers * self.width * length / (2 if self.causal else 1)
        return rows * length * (2 * products + pairs)


@dataclasses.dataclass
class Hardware:
    """Published figures, bytes/s in one direction; the hops' latencies (s) are assumed."""

    name: str
    peak: float  # dense bf16 operations/s of a card
    memory_rate: float
    memory: float
    cards: int  # a node
    inside: float  # a card's links to the others of its node
    outside: float  # all network adapters of a node together
    hop_inside: float = 3e-6
    hop_outside: float = 10e-6
    processor: bool = False  # Gloo instead of NCCL


MODELS = {
    # 12 layers, feed-forward 3072; 512 positions and 2 segments; 25 norms and a pooler.
    "bert-base": Model("BERT-base", 12, 4 * 768**2 + 2 * 768 * 3072, 768, 30522, False, False, 514,
                       25 * 2 * 768 + 768**2),
    # 16 layers, 32 heads, 8 key-value heads of 64, feed-forward 8192 (three matrices), tied output:
    # the published shape of Llama 3.2 1B.
    "decoder-1b": Model("decoder of 1.2B", 16, 2 * 2048**2 + 2 * 2048 * 512 + 3 * 2048 * 8192, 2048,
                        128256, True, True, 0, 33 * 2048),
    # The student of bench/distillation.yaml.
    "student": Model("three layers of MiniLM-L6", 3, 4 * 384**2 + 2 * 384 * 1536, 384, 30522, False,
                     False, 514, 7 * 2 * 384 + 384**2),
}
HARDWARE = {
    # NVIDIA's data sheets: H100 SXM5 80 GB (989 TFLOP/s, 3.35 TB/s, NVLink 900 GB/s both ways),
    # ConnectX-7 NDR (400 Gb/s), one a card.
    "h100": Hardware("8 H100 SXM a node, an NDR adapter (400 Gb/s) a card", 989e12, 3.35e12,
                     80 * GB, 8, 450 * GB, 8 * 50 * GB),
    # A100 40 GB (312 TFLOP/s, 1.555 TB/s, NVLink 600 GB/s both ways), one HDR adapter (200 Gb/s).
    "a100": Hardware("4 A100 40 GB a node, one HDR adapter (200 Gb/s) a node", 312e12, 1.555e12,
                     40 * GB, 4, 300 * GB, 25 * GB),
    "cpu": Hardware("a process of 2 cores a node, Ethernet of 10 Gb/s", 1e12, 2e10, 16 * GB,
                    1, 1.25 * GB, 1.25 * GB, processor=True),
}
# Tokens a row, rows a rank (weak scaling), rows of an update (strong scaling).
WORK = {"bert-base": (128, 64, 4096), "decoder-1b": (2048, 4, 512), "student": (27, 32, 256)}
# Measured updates (rows, seconds). student: the README's bench/distillation.py, bf16, 168.5 rows/s
# at 32 rows, taken as proportional to the rows; the six-layer teacher's forward pass is in it.
MEASURED = {("student", "cpu"): ((0, 0.0), (32, 32 / 168.5))}
PAIRS = [("bert-base", "h100"), ("bert-base", "a100"), ("decoder-1b", "h100"),
         ("decoder-1b", "a100"), ("student", "cpu")]


class Estimate:
    """`rows`: of a rank in an update, computed in `accumulate` parts."""

    def __init__(self, model, hardware, assumed, measured=(), accumulate=1):
        self.model, self.hardware, self.measured = model, hardware, measured
        self.a = assumed
        self.accumulate = accumulate

    def rate(self, ranks):
        """Bytes/s of a ring over all ranks: NCCL runs one ring an adapter, side by side."""
        inside = self.hardware.inside
        slowest = inside if ranks <= self.hardware.cards else min(inside, self.hardware.outside)
        return slowest * self.a["link_share"]

    def gloo_latency(self, ranks):
        """Of one all-reduce in host memory: a ring, whatever the size."""
        nodes = math.ceil(ranks / self.hardware.cards)
        far = nodes if nodes > 1 else 0
        return 2 * (ranks - 1) / ranks * (far * self.a["gloo_far"]
                                          + (ranks - far) * self.a["gloo_near"])

    def latency(self, ranks):
        """Of one all-reduce: NCCL takes the ring, or trees between nodes, whichever is shorter."""
        if self.hardware.processor:
            return self.gloo_latency(ranks)
        near = min(ranks, self.hardware.cards)
        nodes = math.ceil(ranks / self.hardware.cards)
        hop = self.hardware.hop_inside if nodes == 1 else self.hardware.hop_outside
        tree = ((near - 1) * self.hardware.hop_inside
                + math.log2(nodes) * self.hardware.hop_outside)
        return 2 * min((ranks - 1) * hop, tree)

    def all_reduce(self, size, ranks):
        if ranks == 1:
            return 0.0
        return 2 * (ranks - 1) / ranks * size / self.rate(ranks) + self.latency(ranks)

    def all_gather(self, size, ranks):
        """Every rank brings `size` bytes and receives those of all others."""
        if ranks == 1:
            return 0.0
        return (ranks - 1) * size / self.rate(ranks) + self.latency(ranks) / 2

    def average(self, messages, ranks):
        """Of gradients after the backward pass: joined, reduced, divided, copied back."""
        if ranks == 1:
            return 0.0
        reduced = sum(self.all_reduce(size, ranks) for size in messages)
        return reduced + self.passes(6, sum(messages))

    def passes(self, times, size):
        """Seconds to read or write `size` bytes of memory so often."""
        return times * size / self.hardware.memory_rate

    def compute(self, rows, length):
        """(forward, backward, update of the weights), seconds. On a processor, rows of an embedding
        that no token read wait for their update."""
        updated = self.model.matrices + self.model.rest
        if self.model.output_head:
            updated += self.model.embedding
        elif not self.hardware.processor:
            updated += self.model.tables / 4
        update = self.passes(7, 4 * updated)  # reads 16 bytes a weight, writes 12
        if self.measured:
            (r0, t0), (r1, t1) = self.measured
            slope = (t1 - t0) / (r1 - r0)
            step = max(0.0, t0 - slope * r0) + slope * rows - update
            return step / 3, 2 * step / 3, update
        work = self.model.forward_operations(rows, length)
        forward = work / (self.hardware.peak * self.a["peak_share"])
        launches = self.model.layers * self.a["launches"] * self.a["launch"]
        return max(forward, launches / 3), max(2 * forward, 2 * launches / 3), update

    def buckets(self):
        """Bytes of the Reducer's buckets in the order in which it sends them, each with the share
        of the backward pass that is over by then. They are filled from the first layer on and sent
        from the last: the first one, of 1 MB, is sent last. A bucket has one type; those of
        float32 (norms and head, a tied embedding) begin before the first layer, so they end."""
        total = 2 * self.model.matrices
        sizes = []
        while sum(sizes) < total:
            sizes.append(min(self.a["bucket"] if sizes else FIRST_BUCKET, total - sum(sizes)))
        found, sent = [], 0
        for size in reversed(sizes):
            sent += size
            found.append((size, sent / total))
        found.append((4 * self.model.rest, 1.0))
        if self.model.output_head:
            found.append((4 * self.model.embedding, 1.0))
        return found

    def waiting(self, ranks, backward):
        """Seconds after the backward pass until the gradients of all but tables are reduced."""
        if ranks == 1:
            return 0.0
        if self.accumulate > 1:  # in float32
            size = 4 * (self.model.matrices + self.model.rest)
            messages = [JOINED] * int(size // JOINED) + [size % JOINED]
            if self.model.output_head:
                messages.append(4 * self.model.embedding)
            return self.average(messages, ranks)
        free = 0.0
        for size, share in self.buckets():
            free = max(free, share * backward) + self.all_reduce(size, ranks)
        free += self.latency(ranks)  # which weights were used at all
        return max(0.0, free - backward)

    def distinct(self, tokens):
        return min(self.model.vocabulary, self.a["heaps_k"] * tokens ** self.a["heaps_b"])

    def touched(self, tokens, length):
        """A rank's distinct rows: of words, positions, one segment."""
        return self.distinct(tokens) + min(self.model.other_rows, length + 1)

    def sends_tables(self, ranks, tokens, length):
        """Whole, not the touched rows; a row counts once for each rank that touched it."""
        return not self.hardware.processor or (
            ranks * self.touched(tokens, length) > 2 * self.model.table_rows)

    def whole_tables(self, ranks):
        """Seconds to reduce the tables, to clear them and, on a processor, to update all rows. The
        tables of positions and segments share a message."""
        size = self.model.tables
        words = 4 * self.model.embedding
        update = 7 if self.hardware.processor else 0
        return self.average([words, size - words], ranks) + self.passes(1 + update, size)

    def row_bytes(self, tokens, length):
        """A rank's touched rows and their numbers."""
        return self.touched(tokens, length) * (4 * self.model.width + 8)

    def touched_rows(self, ranks, tokens, length):
        """Seconds to gather rows and numbers (each after the ranks' counts), to add them up and to
        update the rows of the other ranks."""
        size = self.row_bytes(tokens, length)
        others = self.distinct(ranks * tokens) - self.distinct(tokens)
        return (self.all_gather(size, ranks) + 2.5 * self.latency(ranks)
                + self.passes(9, ranks * size) + self.passes(7, 4 * self.model.width * others))

    def embedding(self, ranks, rows, length):
        """Seconds for the gradients of the tables, after the backward pass."""
        if self.model.output_head or ranks == 1:
            return 0.0
        tokens = rows * length
        counting = self.latency(ranks) if self.hardware.processor else 0.0
        return counting + (self.whole_tables(ranks) if self.sends_tables(ranks, tokens, length)
                           else self.touched_rows(ranks, tokens, length))

    def agreeing(self, ranks):
        """Seconds an update: are all losses finite, does one want to stop."""
        if ranks == 1:
            return 0.0
        return self.gloo_latency(ranks) / (1 if self.hardware.processor else AGREE_EVERY)

    def step(self, ranks, rows, length):
        """Seconds: all, computing, waiting for gradients, for tables, agreeing."""
        forward, backward, update = self.compute(rows / self.accumulate, length)
        computing = self.accumulate * (forward + backward) + update
        parts = (computing, self.waiting(ranks, backward), self.embedding(ranks, rows, length),
                 self.agreeing(ranks))
        return sum(parts), *parts


def table(title, head, rows):
    print(f"\n{title}\n")
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def ranks_of(hardware):
    return [1, *(n for n in (4, 8, 16, 32, 64, 128, 256, 512) if n >= hardware.cards)]


def efficiency(assumed, chosen, measured, accumulate):
    for key, name in chosen:
        model, hardware = MODELS[key], HARDWARE[name]
        length, rows, batch = WORK[key]
        rows *= accumulate
        estimate = Estimate(model, hardware, assumed, measured or MEASURED.get((key, name), ()),
                            accumulate)
        alone = estimate.step(1, rows, length)[0]
        whole = estimate.step(1, batch, length)[0]
        lines = []
        for ranks in ranks_of(hardware):
            seconds, *parts = estimate.step(ranks, rows, length)
            strong = "-"
            if ranks * accumulate <= batch:
                each = estimate.step(ranks, batch / ranks, length)[0]
                strong = f"{100 * whole / ranks / each:.0f}%"
            lines.append((ranks, *(f"{1e3 * part:.1f}" for part in parts), ranks * rows,
                          f"{100 * alone / seconds:.0f}%", strong))
        parts = f"; accumulate {accumulate}" if accumulate > 1 else ""
        table(f"**{model.name}, {length} tokens a row; {hardware.name}{parts}**",
              ("ranks", "compute, ms", "exposed all-reduce, ms", "embedding, ms", "agreeing, ms",
               "rows an update", f"efficiency at {rows} rows a rank",
               f"efficiency at {batch} rows an update"), lines)


def memory(_):
    sizes = {"BERT-base": MODELS["bert-base"].parameters,
             "1.2B": MODELS["decoder-1b"].parameters, "3B": 3e9, "7B": 7e9}
    parts = (("weights, float32", 4), ("gradients, float32", 4), ("moments of AdamW", 8),
             ("weights in bf16", 2), ("gradients in bf16 and the Reducer's buckets", 4),
             ("an average (SWA, EMA)", 4))
    rows = [(what, size, *(f"{size * n / GB:.1f}" for n in sizes.values()))
            for what, size in parts]
    total = sum(size for _, size in parts)
    rows.append(("together, every card", total, *(f"{total * n / GB:.1f}" for n in sizes.values())))
    for ranks in (8, 64):
        held = 2 + 4 + 4 + (total - 10) / ranks
        rows.append((f"moments, float32 weights and average cut over {ranks}", f"{held:.1f}",
                     *(f"{held * n / GB:.1f}" for n in sizes.values())))
        held = total / ranks
        rows.append((f"everything cut over {ranks}", f"{held:.1f}",
                     *(f"{held * n / GB:.1f}" for n in sizes.values())))
    table("**Memory of a card without activations and teacher, GB**",
          ("what", "bytes a parameter", *sizes), rows)


def sparse(assumed):
    model, hardware = MODELS["student"], HARDWARE["cpu"]
    estimate = Estimate(model, hardware, assumed)
    length, rows, _ = WORK["student"]
    tokens = rows * length
    lines = []
    for ranks in (2, 4, *ranks_of(hardware)[2:]):
        sent = "tables" if estimate.sends_tables(ranks, tokens, length) else "rows"
        gathered = ranks * estimate.row_bytes(tokens, length)
        lines.append((ranks, round(ranks * estimate.touched(tokens, length)), sent,
                      f"{gathered / MB:.1f}",
                      f"{1e3 * estimate.touched_rows(ranks, tokens, length):.0f}",
                      f"{2 * model.tables / MB:.1f}", f"{1e3 * estimate.whole_tables(ranks):.0f}"))
    table(f"**Tables of {model.name} ({model.table_rows} rows, {model.tables / MB:.1f} MB), {rows} "
          f"rows of {length} tokens a rank, MB that a rank receives; {hardware.name}**",
          ("ranks", "distinct rows", "sent", "touched rows, MB", "ms", "whole tables, MB", "ms"),
          lines)


def costs(assumed):
    lines = []
    for key in ("bert-base", "decoder-1b"):
        model = MODELS[key]
        estimate = Estimate(model, HARDWARE["h100"], assumed)
        length, rows, _ = WORK[key]
        step = estimate.step(64, rows, length)[0]
        state = 20 * model.parameters  # weights, two moments, an average, the best weights
        seconds = state / assumed["disk"]
        validation = 10000
        forward = estimate.compute(rows, length)[0] / rows
        lines.append((model.name, f"{state / GB:.1f} GB, {seconds:.1f} s",
                      f"{math.ceil(seconds / step / 0.01):,} updates",
                      f"{validation * forward:.1f} s", f"{validation * forward / 64:.2f} s"))
    table("**What stops all 64 cards (H100): saving by one rank, scoring 10,000 rows**",
          ("model", "a state", "a save costs 1% every", "scoring by one card",
           "scoring by all"), lines)


def inputs(assumed):
    table("**Assumed**", ("name", "value", "meaning"),
          [(name, f"{value:g}", ASSUMED[name][1]) for name, value in assumed.items()])
    table("**Models**", ("model", "parameters", "matrices", "embedding",
                         "reduced in the backward pass", "tables", "operations a row"),
          [(m.name, f"{m.parameters / MB:.1f}M", f"{m.matrices / MB:.1f}M",
            f"{m.embedding / MB:.1f}M", f"{m.overlapped / MB:,.0f} MB", f"{m.tables / MB:,.0f} MB",
            f"{3 * m.forward_operations(1, WORK[key][0]) / 1e12:.3f} T")
           for key, m in MODELS.items()])


def token_ids(path):
    program = os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress")
    with open(path, "rb") as file:
        out = subprocess.run([program, "tokenizer", "encode", ROOT / "models/all-MiniLM-L6-v2",
                              "--max-length", "128"],
                             stdin=file, stdout=subprocess.PIPE, check=True)
    return [json.loads(line)["ids"] for line in out.stdout.splitlines()]


def uneven(lengths, ranks, rows, split, draw):
    """How much longer the fullest rank's share is than the mean, over 50 updates of one window."""
    window = draw.choices(lengths, k=50 * ranks * rows)
    if split != "shuffled":
        window.sort()
    ratios = []
    for start in range(0, len(window), ranks * rows):
        update = window[start : start + ranks * rows]
        if split == "sorted, in blocks":
            shares = [sum(update[r * rows : (r + 1) * rows]) for r in range(ranks)]
        else:  # dealt like cards
            shares = [sum(update[r::ranks]) for r in range(ranks)]
        ratios.append(max(shares) * ranks / sum(shares))
    return statistics.mean(ratios) - 1


def text_tables(path):
    rows = token_ids(path)
    draw = random.Random(13)
    points = []
    for count in (8, 32, 128, 512, 2048):
        sizes, kinds = [], []
        for _ in range(20):
            chosen = [token for ids in draw.choices(rows, k=count) for token in ids]
            sizes.append(len(chosen))
            kinds.append(len(set(chosen)))
        points.append((count, statistics.mean(sizes), statistics.mean(kinds)))
    table(f"**Distinct tokens ({path})**", ("rows", "tokens", "distinct"),
          [(n, f"{size:.0f}", f"{kinds:.0f}") for n, size, kinds in points])
    x = [math.log(size) for _, size, _ in points]
    y = [math.log(kinds) for _, _, kinds in points]
    slope, start = statistics.linear_regression(x, y)
    print(f"\nfitted: heaps_k {math.exp(start):.2f}, heaps_b {slope:.3f}")
    lengths = [len(ids) for ids in rows]
    print(f"tokens a row: mean {statistics.mean(lengths):.1f}, standard deviation "
          f"{statistics.pstdev(lengths):.1f}, longest {max(lengths)}")
    splits = ("shuffled", "sorted, in blocks", "sorted, dealt like cards")
    table("**Tokens of the fullest rank above the mean of the ranks**",
          ("ranks", "rows a rank", *splits),
          [(ranks, count, *(f"{100 * uneven(lengths, ranks, count, s, draw):.1f}%" for s in splits))
           for ranks in (8, 64, 512) for count in (4, 32)])


def pair(text):
    rows, milliseconds = text.split(":")
    return float(rows), float(milliseconds) / 1e3


def main():
    tables = {"inputs": inputs, "efficiency": efficiency, "memory": memory, "sparse": sparse,
              "costs": costs}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=tables, help="only this one")
    parser.add_argument("--model", choices=MODELS, help="in the tables of efficiency")
    parser.add_argument("--hardware", choices=HARDWARE, help="in the tables of efficiency")
    parser.add_argument("--measured", type=pair, action="append", default=[], metavar="ROWS:MS",
                        help="a measured update; twice, with --model and --hardware")
    parser.add_argument("--accumulate", type=int, default=1, metavar="N",
                        help="parts of a rank's share of an update, in the tables of efficiency")
    parser.add_argument("--text", metavar="FILE", help="count tokens of a file, a row a line")
    for name, (value, meaning) in ASSUMED.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value,
                            help=f"{meaning} (default {value:g})")
    options = parser.parse_args()
    if options.text:
        return text_tables(options.text)
    if options.accumulate < 1:
        parser.error("--accumulate is at least 1")
    named = options.model and options.hardware
    if options.measured and (len({rows for rows, _ in options.measured}) != 2 or not named):
        parser.error("--measured is given twice, with different rows, --model and --hardware")
    chosen = [(options.model, options.hardware)] if named else [
        (model, hardware) for model, hardware in PAIRS
        if options.model in (None, model) and options.hardware in (None, hardware)]
    assumed = {name: getattr(options, name) for name in ASSUMED}
    for name, show in tables.items():
        if options.table in (None, name):
            if show is efficiency:
                show(assumed, chosen, options.measured, options.accumulate)
            else:
                show(assumed)


if __name__ == "__main__":
    main()
