"""What the benchmark scripts share: the peer's training step, our program's, rounds and tables."""

import argparse
import csv
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
MOVIES = ROOT / "data/movies/train.tsv"
PROGRAM = pathlib.Path(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))


def fail(message):
    sys.exit(f"error: {message}")


def arguments(description, steps=30, rounds=3, batch=32, more=None):
    """Parses the command line, and ends the script where something that it needs is missing."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"steps": steps, "rounds": rounds, "batch": batch}.items():
        if value is not None:
            parser.add_argument(f"--{name}", type=int, default=value)
    for name, settings in (more or {}).items():
        parser.add_argument(name, **settings)
    options = parser.parse_args()
    if not (MODEL / "model.safetensors").is_file() or not MOVIES.is_file():
        fail("the model or the sentences are missing: tools/fetch all-MiniLM-L6-v2 movies")
    if not PROGRAM.is_file():
        fail(f"{PROGRAM} is missing: run scripts/setup, or name the executable in COMPRESS_BIN")
    if any(getattr(options, name, 1) < 1 for name in ("steps", "rounds", "batch")):
        fail("--steps, --rounds and --batch start at 1")
    return options


DEVICE = {"--device": {"default": "cpu", "help": "cpu, cuda or cuda:<n>, for all entries"}}
NO_COMPILE = {"--no-compile": {"action": "store_true", "help": "leave torch.compile out"}}


def precisions(device="cpu"):
    """float32, and bf16 where the device multiplies it by itself: emulated, a step takes minutes
    and says nothing. What is left out is told once."""
    import torch

    if device != "cpu":
        return ("float32", "bf16")
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        if os.environ.get("COMPRESS_CPU", "") in ("", "avx512", "amx"):
            return ("float32", "bf16")
    print("  rows in bf16 left out: this processor has no bf16 products", file=sys.stderr)
    return ("float32",)


def limit_processor():
    """Holds PyTorch, which the caller imports afterwards, to what COMPRESS_CPU leaves, as our
    program holds itself."""
    limit = os.environ.get("COMPRESS_CPU", "")
    sets = {"avx512": ("avx512", "AVX512_CORE_BF16", "AVX512"), "avx2": ("avx2", "AVX2", "AVX2"),
            "avxvnni": ("avx2", "AVX2_VNNI", "AVX2"), "plain": ("default", "SSE41", "SSE4_2")}
    if limit in sets:
        aten, onednn, mkl = sets[limit]
        os.environ.setdefault("ATEN_CPU_CAPABILITY", aten)
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", onednn)
        os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", mkl)


limit_processor()


def copy_tokenizer(folder):
    """Gives a model's folder the tokenizer of all-MiniLM-L6-v2."""
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(MODEL / name, folder)


def rows(path=MOVIES):
    """(sentence, label) of a file of sentences, in the file's order."""
    with open(path, encoding="utf-8") as file:
        return [
            (row["sentence"], int(row["label"] == "positive"))
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


def measured(command, **settings):
    """Runs a command; returns its output, its wall time and its peak resident memory in MB."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        settings = {"cwd": ROOT, "stdin": subprocess.DEVNULL} | settings
        begin = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=log, **settings)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        log.seek(0)
        if process.returncode != 0:
            text = log.read().decode(errors="replace").strip()
            fail(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text}")
        return out.read().decode(), seconds, usage.ru_maxrss / 1024


def compress(*words):
    """Output, wall time and peak memory of one run of our program."""
    return measured([PROGRAM, *words])


def bench(recipe, stage, steps, settings=None):
    """`compress bench` of a stage; its numbers, with the process's wall time and peak memory."""
    words = ["bench", ROOT / "bench" / recipe, "--stage", stage, "--steps", steps, "--json"]
    for key, value in (settings or {}).items():
        words += ["--set", f"{key}={value}"]
    out, seconds, peak = compress(*words)
    return json.loads(out) | {"wall_seconds": seconds, "peak_mb": peak}


class Ours:
    """Samples per second of a stage of a recipe, over an epoch of as many rows as the steps take:
    the same rows that the peer sees, whatever the order in which they come."""

    def __init__(self, recipe, stage, batch, precision="float32", **train):
        train = {"batch": batch, "precision": precision} | train
        self.recipe, self.stage, self.batch = recipe, stage, batch
        self.settings = {f"stages.{stage}.train.{key}": value for key, value in train.items()}

    def measure(self, steps):
        settings = {"data.reviews.limit": steps * self.batch} | self.settings
        return bench(self.recipe, self.stage, steps, settings)["samples_per_second"]


def alternate(entries, steps, rounds):
    """Measures every entry once a round. An entry that cannot run is reported and left out."""
    found = {name: [] for name in entries}
    for _ in range(rounds):
        for name, entry in entries.items():
            if name in found:
                try:
                    found[name].append(entry.measure(steps))
                except Exception as error:  # noqa: BLE001 - a compiler may fail in many ways
                    first = (str(error) or type(error).__name__).split("\n")[0]
                    print(f"  {name} left out: {first}", file=sys.stderr)
                    del found[name]
    return found


def table(title, found, digits=1):
    print(title)
    for name, values in found.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        numbers = (f"{name} {value:10.{digits}f}" for name, value in
                   (("min", low), ("median", middle), ("max", high)))
        print(f"  {name:36} {'  '.join(numbers)}")


def best(found, prefix, lower=False):
    """The entry with the best median among those whose name starts with the prefix (or one)."""
    names = [name for name in found if name.startswith(prefix)]
    if not names:
        fail(f"nothing that starts with '{prefix}' could be measured")
    return (min if lower else max)(names, key=lambda name: statistics.median(found[name]))


def ratio(found, ours="compress", peer="Hugging Face", lower=False):
    """Prints how many times faster the best of ours is than the best peer."""
    one, other = best(found, ours, lower), best(found, peer, lower)
    value = statistics.median(found[one]) / statistics.median(found[other])
    print(f"ratio of medians, {one} to {other}: {1 / value if lower else value:.2f}")


def price(found, plain, names):
    """Prints by how many percent a step takes longer than the plain one (samples/s in `found`)."""
    for name in names:
        more = statistics.median(found[plain]) / statistics.median(found[name]) - 1
        print(f"price of {name} over {plain}: {100 * more:+.1f}%")
