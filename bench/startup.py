#!/usr/bin/env python3
"""Seconds from the start of the process to the end of the first update, beside Hugging Face.

    .venv/bin/python bench/startup.py [--rounds 5] [--batch 32]

Both fine-tune the six layers of all-MiniLM-L6-v2 in float32. Ours is `compress bench --steps 1`,
which runs an update that it does not time and one that it does: the process's wall time less the
second one is printed, and the program's own seconds to the first update (without the loading of its
libraries). Ours tokenises the whole training file first; Python tokenises one batch. Python's time
counts its imports, the loading of model and tokenizer and one update.
"""

import sys
import time

import peers


def child(batch):
    import training

    peer = training.HuggingFace(batch)
    peer.prepare(1)
    peer.step(0)
    print(time.time())


class Python:
    def __init__(self, batch):
        self.batch = batch

    def measure(self, _):
        begin = time.time()
        words = [sys.executable, __file__, "--child", "yes", "--batch", self.batch]
        return float(peers.measured(words)[0].split()[-1]) - begin


class Ours:
    def __init__(self, batch):
        self.settings = {"stages.model.train.batch": batch}
        self.own = []

    def measure(self, _):
        found = peers.bench("finetune.yaml", "model", 1, self.settings)
        self.own.append(found["seconds_to_first_step"])
        return found["wall_seconds"] - found["seconds"]


def main():
    options = peers.arguments(
        __doc__, steps=None, rounds=5, more={"--child": {"help": "(what the script runs itself)"}}
    )
    if options.child:
        return child(options.batch)
    ours = Ours(options.batch)
    entries = {"Hugging Face": Python(options.batch), "compress": ours}
    found = peers.alternate(entries, 1, options.rounds)
    shown = found | {"(compress's own seconds to the first)": ours.own}
    peers.table(f"process start to first update, batch {options.batch}, seconds", shown, 2)
    peers.ratio(found, lower=True)


if __name__ == "__main__":
    main()
