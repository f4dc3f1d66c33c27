#!/usr/bin/env python3
"""Training a large table of n-grams: memory and time of a step by the number of its rows.

    .venv/bin/python bench/table.py [--rows 100000,1000000] [--width 256] [--steps 200] [--batch 32]

For every number of rows a model of the family dan with that many tokens is drawn and trained on
generated texts of 60 words each, with `adamw: {rows: lazy}`, and with the exact update of all rows
where --exact is given. Words are drawn with the frequencies of Zipf's law. Printed are
milliseconds of an update and the peak resident memory of the process, beside what the weights and
two full moments of the table take.
"""

import itertools
import json
import pathlib
import random
import tempfile

import peers


def write_model(folder, rows, width):
    folder.mkdir()
    vocabulary = ["<pad>"] + [f"w{i}" for i in range(1, rows)]
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {
        "type": "NGram", "shortest": 1, "longest": 1, "shortest_word": 2, "vocab": vocabulary}}))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "dan", "vocab_size": rows, "embedding_size": width, "hidden_size": width}))


def write_texts(path, rows, texts):
    draw = random.Random(rows)
    weights = list(itertools.accumulate(1 / (1 + i) for i in range(rows - 1)))
    with open(path, "w") as out:
        out.write("text\tlabel\n")
        for i in range(texts):
            words = draw.choices(range(1, rows), cum_weights=weights, k=60)
            out.write(" ".join(f"w{word}" for word in words) + f"\t{'ab'[i % 2]}\n")


def write_recipe(path, folder, data, batch, rows):
    path.write_text(f"""name: table
data:
  texts: {{train: {data}, text: text, label: label, max_length: 64}}
stages:
  - name: model
    train:
      model: {{from: {folder}, initialise: {{}}}}
      data: texts
      for: 10 epochs
      batch: {batch}
      precision: float32
      device: cpu
      optimizer: {{adamw: {{lr: 1e-3, rows: {rows}}}}}
""")


def main():
    options = peers.arguments(__doc__, steps=200, rounds=None, more={
        "--rows": {"default": "100000,1000000", "help": "rows of the tables"},
        "--width": {"type": int, "default": 256, "help": "their width"},
        "--exact": {"action": "store_true", "help": "also with the exact update of all rows"}})
    print(f"{'rows':>10} {'update':>7} {'ms':>8} {'peak MB':>9} {'weights and moments MB':>23}")
    for rows in (int(number) for number in options.rows.split(",")):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            write_model(folder / "dan", rows, options.width)
            write_texts(folder / "texts.tsv", rows, options.steps * options.batch // 2)
            for update in ["lazy", "exact"] if options.exact else ["lazy"]:
                recipe = folder / f"{update}.yaml"
                write_recipe(recipe, folder / "dan", folder / "texts.tsv", options.batch, update)
                found = peers.bench(recipe, "model", options.steps)
                print(f"{rows:>10} {update:>7} {1000 * found['seconds'] / found['steps']:>8.2f} "
                      f"{found['peak_mb']:>9.0f} {3 * 4 * rows * options.width / 1e6:>23.0f}")


if __name__ == "__main__":
    main()
