#!/usr/bin/env python3
"""Training from large files: what making the cache of tokenised rows costs, and starting from it.

    .venv/bin/python bench/data_cache.py [--rows 10000,100000,1000000,10000000]

For every number of rows a file of that many generated reviews (about 100 bytes each) is written to
a temporary folder (--folder names where), and fine-tuning (bench/finetune.yaml) is started three
times: with an empty cache, with the cache that the first start made, and without a cache. Printed
are, for each start, the seconds to the end of the first update, the peak resident memory, and the
peak of the part of it that is not a mapped file (the system takes pages of mapped files back when
it needs memory). "rows/s" is what the first start logs: rows read, tokenised and written a second;
its seconds also hold the hash of the file and the search for class names. Ten million rows need
4 GB of disk.
"""

import json
import pathlib
import random
import re
import subprocess
import tempfile
import time

import peers


def write_reviews(path, rows):
    """Rows of random pieces of real sentences, 20 words or so."""
    draw = random.Random(rows)
    pieces = []
    for text, _ in peers.rows():
        words = text.split()
        pieces += [" ".join(words[i:i + 5]) for i in range(0, len(words) - 4, 5)]
    with open(path, "w", encoding="utf-8", buffering=1 << 20) as out:
        out.write("sentence\tlabel\n")
        for begin in range(0, rows, 10000):
            count = min(10000, rows - begin)
            drawn = draw.choices(pieces, k=4 * count)
            out.write("".join(
                f"{drawn[4 * i]} {drawn[4 * i + 1]} {drawn[4 * i + 2]} {drawn[4 * i + 3]} "
                f"{begin + i}\t{'positive' if i % 2 else 'negative'}\n"
                for i in range(count)))


def resident(process):
    """(all, not of files) resident memory in MB, zeros once the process has ended."""
    try:
        text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0, 0
    found = dict(re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB", text, re.MULTILINE))
    return int(found.get("VmHWM", 0)) / 1024, int(found.get("RssAnon", 0)) / 1024


def start(source, cache, steps):
    """One start: seconds to the first update, memory (whole, own), rows tokenised a second."""
    settings = {"data.reviews.train": source, "data.reviews.cache": cache,
                "stages.model.train.precision": "float32"}
    command = [peers.PROGRAM, "bench", peers.ROOT / "bench/finetune.yaml", "--stage", "model",
               "--steps", steps, "--json"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(word) for word in command], cwd=peers.ROOT, stdout=out,
                                   stderr=log, stdin=subprocess.DEVNULL)
        peak, anonymous = 0, 0
        while process.poll() is None:
            whole, own = resident(process)
            peak, anonymous = max(peak, whole), max(anonymous, own)
            time.sleep(0.01)
        out.seek(0)
        log.seek(0)
        lines = log.read().decode(errors="replace")
        if process.returncode != 0:
            peers.fail(lines)
        found = json.loads(out.read())
    speed = re.search(r"([\d,]+) rows/s", lines)
    return found["seconds_to_first_step"], peak, anonymous, speed and speed[1]


def main():
    options = peers.arguments(
        __doc__, steps=4, rounds=None, batch=None,
        more={
            "--rows": {"default": "10000,100000,1000000,10000000", "help": "separated by commas"},
            "--in-memory": {"type": int, "default": 1000000, "metavar": "ROWS",
                            "help": "most rows of a start without a cache"},
            "--folder": {"help": "where the temporary folder is made"},
        },
    )
    print("                       first start (makes the cache)      from the cache       "
          "without a cache")
    print("      rows   file MB   first s   rows/s    MB  own MB   first s    MB  own MB   "
          "first s    MB  own MB", flush=True)
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            source = pathlib.Path(folder) / "reviews.tsv"
            write_reviews(source, rows)
            megabytes = source.stat().st_size / 1e6
            cache = pathlib.Path(folder) / "cache"
            time.sleep(3.5)  # a file that was changed just now is hashed again at the next start
            made = start(source, cache, options.steps)
            again = start(source, cache, options.steps)
            print(f"{rows:10,} {megabytes:9.1f} {made[0]:9.2f} {made[3]:>8} {made[1]:5.0f} "
                  f"{made[2]:7.0f} {again[0]:9.2f} {again[1]:5.0f} {again[2]:7.0f}",
                  end="", flush=True)
            if rows <= options.in_memory:
                without = start(source, "off", options.steps)
                print(f" {without[0]:9.2f} {without[1]:5.0f} {without[2]:7.0f}", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
