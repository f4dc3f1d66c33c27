#!/usr/bin/env python3
"""How this program's training step scales: batch, length, layers, width, rows of data.

    .venv/bin/python bench/scaling.py [--steps 20] [--rounds 3] [--only batch,length]

Every row of a table is fine-tuning (bench/finetune.yaml) with one thing changed from six layers,
384 wide, batch 32 and movie sentences; one table distils into 1 to 5 layers
(bench/distillation.yaml). Lengths: rows of random words that fill max_length exactly. Widths:
untrained models of six layers with heads of 32, made in a temporary folder. Data: the movie
sentences repeated. Where neither lengths nor rows are what is changed, the steps are one epoch over
as many rows, 128 at least: batches hold rows of like length, so that a few of them may be short or
long ones. Printed are the median samples per second, the seconds to the first update
(which hold the tokenisation) and the peak memory.
"""

import pathlib
import random
import statistics
import tempfile

import peers

TRAIN = "stages.model.train"
TABLES = ("batch", "length", "layers", "distilled", "width", "data")


def write_rows(path, rows):
    lines = (f"{i}\t{'positive' if label else 'negative'}\t{text}\n"
             for i, (text, label) in enumerate(rows))
    path.write_text("id\tlabel\tsentence\n" + "".join(lines), encoding="utf-8")
    return path


def lengths(folder):
    words = ["film", "good", "bad", "story", "actor", "scene", "the", "and", "never", "always"]
    draw = random.Random(13)
    texts = [(" ".join(draw.choices(words, k=512)), i % 2) for i in range(2048)]
    path = write_rows(folder / "long.tsv", texts)
    for length in (16, 32, 64, 128, 256, 512):
        yield length, {"data.reviews.train": path, "data.reviews.max_length": length}


def widths(folder):
    import transformers

    transformers.logging.disable_progress_bar()
    for width in (128, 256, 384, 512, 768):
        target = folder / f"width-{width}"
        config = transformers.BertConfig.from_pretrained(peers.MODEL)
        config.hidden_size, config.intermediate_size = width, 4 * width
        config.num_attention_heads = width // 32
        transformers.BertModel(config).save_pretrained(target)
        peers.copy_tokenizer(target)
        yield width, {f"{TRAIN}.model.from": target}


def data(folder):
    rows = peers.rows()
    for times in (1, 4, 16, 64):
        path = write_rows(folder / f"rows-{times}.tsv", rows * times)
        yield times * len(rows), {"data.reviews.train": path}
        path.unlink()


def cases(name, folder):
    """(what stands in the row, overrides of the recipe)"""
    if name == "batch":
        return ((n, {f"{TRAIN}.batch": n}) for n in (1, 4, 8, 16, 32, 64, 128, 256))
    if name == "layers":
        def keep(n):
            kept = {} if n == 6 else {f"{TRAIN}.model.drop_layers": f"{{strategy: top, keep: {n}}}"}
            return n, kept
        return map(keep, range(1, 7))
    if name == "distilled":
        part = "stages.student.train.model.drop_layers"
        return ((n, {part: f"{{layers: {list(range(n))}}}"}) for n in range(1, 6))
    return {"length": lengths, "width": widths, "data": data}[name](folder)


def main():
    options = peers.arguments(
        __doc__, steps=20, batch=None,
        more={
            "--only": {"default": ",".join(TABLES), "help": "tables, separated by commas"},
            "--precision": {"default": "float32", "choices": ["float32", "bf16"]},
            "--largest": {"type": int, "help": "leave out rows above this value"},
        },
    )
    chosen = options.only.split(",")
    if not set(chosen) <= set(TABLES):
        peers.fail(f"--only takes some of {', '.join(TABLES)}")
    for name in chosen:
        distilled = name == "distilled"
        recipe, stage = (
            ("distillation.yaml", "student") if distilled else ("finetune.yaml", "model")
        )
        title = "layers of the student" if distilled else name
        print(f"{title:>22}  samples/s    min    max  seconds to first  peak MB  ({stage}, "
              f"{options.precision})")
        with tempfile.TemporaryDirectory() as folder:
            for value, settings in cases(name, pathlib.Path(folder)):
                if options.largest and value > options.largest:
                    continue
                settings = {f"stages.{stage}.train.precision": options.precision} | settings
                steps = options.steps
                if name not in ("length", "data"):
                    size = value if name == "batch" else 32
                    steps = max(steps, 128 // size)
                    settings["data.reviews.limit"] = steps * size
                found = [
                    peers.bench(recipe, stage, steps, settings) for _ in range(options.rounds)
                ]
                speed = [one["samples_per_second"] for one in found]
                first = statistics.median(one["seconds_to_first_step"] for one in found)
                peak = max(one["peak_mb"] for one in found)
                print(f"{value:22}  {statistics.median(speed):9.1f} {min(speed):6.1f} "
                      f"{max(speed):6.1f}  {first:16.2f}  {peak:7.0f}", flush=True)


if __name__ == "__main__":
    main()
