#!/usr/bin/env python3
"""The whole chain from a pretrained folder to an int8 file, beside transformers, torch, torchao.

    .venv/bin/python bench/chain.py [--threads 2] [--rounds 1] [--small]

Teacher (2 epochs), student of three of its layers (3 epochs, half soft and half hard labels), 80%
zeros (4 epochs, gradual), int8 (1 epoch within the zeros), export; every third of the movie
sentences (2,696 rows), one seed. Ours is `compress run bench/chain.yaml`, the peer
bench/chain_peer.py, a script as one writes it: the same hyperparameters and passes, batches of like
length that are padded to their longest row, fused AdamW, the teacher asked once a row, bf16
autocast where the processor multiplies it, a hand-written gradual magnitude (torch.nn.utils.prune
sorts more and is slower) and torchao's QATConfig. Both score each epoch on the validation part,
keep the best, and score both parts at the end of a stage. Printed are seconds from the start of the
process to its end, with the exported file written; the peak resident memory; accuracies, which
ought to be within their standard error of 0.012; and the lines that a user writes, comments and
empty ones left out. Goal: half the peer's time on AVX2, a third on AVX-512 (COMPRESS_CPU=avx2 holds
both sides to AVX2). --small takes few rows and checks that it works.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile

import peers

HERE = pathlib.Path(__file__).parent
STAGES = ("teacher", "student", "sparse", "int8")
PARTS = {"train": 3, "dev": 1, "test": 1}  # every row, or each third
SMALL = 50  # and of these with --small


def cut(folder, small):
    """The parts, as files: rows lie sorted by label, so that first ones would be of one class."""
    folder.mkdir()
    for name, step in PARTS.items():
        head, *rows = (peers.MOVIES.parent / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        rows = rows[:: step * (SMALL if small else 1)]
        (folder / f"{name}.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder


def lines(path):
    """Lines that are neither empty, nor comments, nor a description in front."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = text.split('"""', 2)[2]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in
               text.splitlines())


def weights(folder, *patterns):
    return sum(path.stat().st_size for pattern in patterns for path in folder.rglob(pattern))


def ours(data, folder):
    words = ["run", HERE / "chain.yaml", "--out", folder, "--quiet"]
    for key, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        words += ["--set", f"data.reviews.{key}={data / name}.tsv"]
    _, seconds, peak = peers.compress(*words)
    result = json.loads((folder / "result.json").read_text())
    scores = {stage["name"]: {part: stage[part][0]["value"] for part in ("validation", "test")}
              for stage in result["stages"] if stage["name"] in STAGES}
    return seconds, peak, scores, weights(folder / "stages/release", "*.safetensors")


def theirs(data, folder):
    words = [sys.executable, HERE / "chain_peer.py", "--data", data, "--out", folder]
    if "bf16" in peers.precisions():
        words.append("--bf16")
    out, seconds, peak = peers.measured(words)
    return seconds, peak, json.loads(out.splitlines()[-1]), weights(folder, "*.pt")


def main():
    more = {"--threads": {"type": int, "help": "of both sides; default: all cores"},
            "--small": {"action": "store_true", "help": "few rows: only checks that it works"}}
    options = peers.arguments(__doc__, steps=None, rounds=1, batch=None, more=more)
    if options.threads:
        os.environ |= {name: str(options.threads)
                       for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    sides = {"transformers, torch, torchao": theirs, "compress run": ours}
    found = {name: [] for name in sides}
    for number in range(options.rounds):
        for name, side in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                print(f"round {number + 1}: {name}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
                data = cut(pathlib.Path(folder, "data"), options.small)
                found[name].append(side(data, pathlib.Path(folder, "out")))
    threads = options.threads or len(os.sched_getaffinity(0))
    rows = "few rows, which say nothing" if options.small else "every third row"
    print(f"the whole chain, {rows}, {threads} threads, {options.rounds} rounds")
    written = {name: lines(HERE / file) for name, file in
               zip(sides, ("chain_peer.py", "chain.yaml"), strict=True)}
    print(f"  {'':30} seconds (median)  peak MB  weights MB  lines written")
    for name, rounds in found.items():
        seconds, peak, _, size = (statistics.median(r[i] for r in rounds) if i != 2 else None
                                  for i in range(4))
        print(f"  {name:30} {seconds:16.1f} {peak:8.0f} {size / 1e6:11.1f} {written[name]:14}")
    for part in ("validation", "test"):
        print(f"  accuracy, {part}")
        for name, rounds in found.items():
            values = "  ".join(f"{stage} {statistics.mean(r[2][stage][part] for r in rounds):.4f}"
                               for stage in STAGES)
            print(f"  {name:30} {values}")
    one, other = (statistics.median(r[0] for r in found[name]) for name in reversed(sides))
    wide = os.environ.get("COMPRESS_CPU", "avx512") == "avx512" and " avx512f " in pathlib.Path(
        "/proc/cpuinfo").read_text()
    goal = 3 if wide else 2
    verdict = "not judged" if options.small else "held" if other / one >= goal else "MISSED"
    print(f"ratio of times, compress run to transformers, torch, torchao: {other / one:.2f}; goal "
          f"{goal} on {'AVX-512' if wide else 'AVX2'}: {verdict}")
    if not options.small:
        apart = statistics.mean(r[2]["int8"]["validation"] for r in found["compress run"])
        apart -= statistics.mean(r[2]["int8"]["validation"] for r in
                                 found["transformers, torch, torchao"])
        print(f"int8 validation accuracy, ours less theirs: {apart:+.4f} (standard error of one: "
              "0.012)")


if __name__ == "__main__":
    main()
