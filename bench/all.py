#!/usr/bin/env python3
"""Runs the benchmarks one after another and writes one report in Markdown.

    .venv/bin/python bench/all.py [--only distillation,sam] [--out build/bench/report.md] [--quick]

Sizes are chosen for about half an hour on two quiet cores. --quick checks that every script works;
its numbers mean nothing. The report names the machine, the versions, each command and how busy the
machine was before it; a script that fails is told in the report, and this one then ends with 1.
"""

import argparse
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time

import peers

# Script: (its options, its options with --quick).
RUNS = {
    "distillation": ("--steps 12 --rounds 3", "--steps 2 --rounds 1 --no-compile"),
    "finetune": ("--steps 12 --rounds 2", "--steps 2 --rounds 1 --no-compile"),
    "sparse_int8": ("--steps 6 --rounds 2", "--steps 2 --rounds 1 --no-compile"),
    "chain": ("--rounds 1", "--small"),
    "sam": ("--steps 8 --rounds 2", "--steps 2 --rounds 1 --no-compile"),
    "tokenisation": ("--rounds 3 --repeat 10", "--rounds 1 --repeat 1"),
    "startup": ("--rounds 3", "--rounds 1"),
    "checkpoint": ("--rounds 3", "--rounds 1"),
    "memory": ("--steps 60", "--steps 1"),
    "inference": ("--rounds 2 --rows 128", "--rounds 1 --rows 8 --no-compile"),
    "generation": ("--rounds 3 --shapes smollm2,bart-base",
                   "--rounds 1 --tokens 2 --shapes smollm2 --batches 1"),
    "scaling": ("--steps 4 --rounds 1 --only batch,length,layers,width,data",
                "--steps 1 --rounds 1 --only batch --largest 4"),
}
PACKAGES = ("torch", "transformers", "tokenizers", "torchao", "onnxruntime")


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} is not installed"


def head():
    cores = len(os.sched_getaffinity(0))
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return "\n".join((
        "# Benchmarks", "",
        f"{processor()}, {cores} cores, {gib:.0f} GiB; {', '.join(map(version, PACKAGES))}.", "",
        "```", peers.compress("--version")[0].strip(), "```", ""))


def section(name, words):
    """(text, whether it worked)"""
    command = [sys.executable, f"bench/{name}.py", *words]
    load = os.getloadavg()[0]
    print(f"{name} ...", file=sys.stderr, end="", flush=True)
    begin = time.monotonic()
    done = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    seconds = time.monotonic() - begin
    worked = done.returncode == 0
    print(f" {seconds:.0f} s{'' if worked else ', failed'}", file=sys.stderr)
    shown = " ".join([".venv/bin/python", *map(shlex.quote, command[1:])])
    lines = [f"## {name}", "", f"`{shown}`: {seconds:.0f} s, load before it {load:.1f}.", "",
             "```", done.stdout.rstrip()]
    told = [line for line in done.stderr.splitlines() if "left out:" in line]
    if not worked:
        told = [f"failed with {done.returncode}:", *done.stderr.rstrip().splitlines()[-10:]]
    return "\n".join([*lines, *told, "```", ""]), worked


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(RUNS), help="names, separated by commas")
    parser.add_argument("--out", type=pathlib.Path, default=peers.ROOT / "build/bench/report.md")
    parser.add_argument("--quick", action="store_true", help="only check that all work")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = set(names) - set(RUNS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there is: {', '.join(RUNS)}")
    if os.getloadavg()[0] > 0.5 and not options.quick:
        print("the machine is busy; measure again when it is quiet", file=sys.stderr)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    begin, failed = time.monotonic(), []
    with open(options.out, "w", encoding="utf-8") as report:
        print(head(), file=report)
        for name in names:
            text, worked = section(name, RUNS[name][options.quick].split())
            print(text, file=report, flush=True)
            if not worked:
                failed.append(name)
        end = f"In all {(time.monotonic() - begin) / 60:.0f} minutes."
        print(f"{end} Failed: {', '.join(failed) or 'none'}.", file=report)
    print(f"{options.out}: {end}{' Failed: ' + ', '.join(failed) if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
