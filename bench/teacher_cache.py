#!/usr/bin/env python3
"""A cached teacher beside a live one: speed of the second epoch, losses, and size on disk.

    .venv/bin/python bench/teacher_cache.py [--rows 640] [--rounds 3] [--batch 32]

Each entry is a `compress run` of a student of three layers (two epochs, one seed) whose six-layer
teacher is asked in every step (`remember: false`) or read from a folder (`cache`); the first cached
run of an objective fills the folder. The speed is that of the second epoch's updates, by the times
in metrics.jsonl; the losses there are compared line by line. Sizes are those of the cache's files.
"""

import json
import pathlib
import shutil
import tempfile

import peers

MASKED = "augment: [masking: {fixed: true}]"
KINDS = {
    "logits": ("teacher", "classification", "[soft_labels: {temperature: 2}]", ""),
    "logits, 3 hidden states": (
        "teacher", "classification", "[soft_labels: {temperature: 2}, hidden_states]", ""
    ),
    "masked LM, top 64": ("language", "masked_lm", "[soft_labels: {temperature: 2}]", MASKED),
}
STUDENT = """\
  - name: student
    train:
      model: {{from: {teacher}, head: {head}, drop_layers: {{strategy: alternate, keep: 3}}}}
      teacher: {{from: {teacher}, {how}}}
      data: reviews
      for: 2 epochs
      batch: {batch}
      objectives: {objectives}
      checkpoint: 100 epochs
      {more}
"""


class Student:
    """Samples per second in the second epoch; `losses` are those of the last run."""

    def __init__(self, folder, kind, batch, how):
        teacher, head, objectives, more = KINDS[kind]
        self.folder, self.batch = folder, batch
        self.file = folder / f"{teacher}-{kind.replace(' ', '-')}-{how[:5]}.yaml"
        models = (peers.ROOT / "bench/teacher_cache.yaml").read_text()
        self.file.write_text(models + STUDENT.format(**locals()))

    def measure(self, rows):
        out = self.folder / "run"
        shutil.rmtree(out / "stages/student", ignore_errors=True)
        peers.compress("run", self.file, "--out", out, "--quiet", "--set",
                       f"data.reviews.limit={rows}")
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        found = {line["step"]: line for line in lines if line["stage"] == "student"}
        self.losses = [line["loss"] for line in found.values()]
        epoch = rows // self.batch
        return rows / (found[2 * epoch]["seconds"] - found[epoch]["seconds"])


def main():
    options = peers.arguments(__doc__, steps=None, more={"--rows": {"type": int, "default": 640}})
    if options.rows % (10 * options.batch):
        peers.fail("--rows must be a multiple of 10 batches: metrics.jsonl has every tenth update")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sizes = {}
        for kind in KINDS:
            cache = folder / kind.replace(" ", "-").replace(",", "")
            live = Student(folder, kind, options.batch, "remember: false")
            cached = Student(folder, kind, options.batch, f"cache: {cache}")
            cached.measure(options.rows)  # fills the folder
            found = peers.alternate({"live": live, "cached": cached}, options.rows, options.rounds)
            peers.table(f"{kind}, batch {options.batch}, second epoch, samples/s", found)
            peers.ratio(found, "cached", "live")
            apart = max(abs(a - b) / a for a, b in zip(live.losses, cached.losses, strict=True))
            print(f"largest relative difference of the losses: {apart:.1e}")
            for file in sorted(cache.glob("*/*.safetensors")):
                sizes.setdefault(file.stem, file.stat().st_size / options.rows)
    print("bytes a row on disk")
    for name, size in sizes.items():
        print(f"  {name:36} {size:14.1f}")


if __name__ == "__main__":
    main()
