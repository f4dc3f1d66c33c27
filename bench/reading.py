#!/usr/bin/env python3
"""Rows read and featurised per second, beside datasets and transformers; memory of large files.

    .venv/bin/python bench/reading.py [--rows 200000] [--questions 20000] [--rounds 3]
    .venv/bin/python bench/reading.py --large 10000000

Both sides go from the same file on disk to tokenised rows on disk. Ours is `compress tokenize` with
an empty cache folder: reading, checking, tokenising, targets, writing. The peer is what
transformers' example scripts do: datasets.load_dataset with an empty cache folder, then
Dataset.map over batches with the fast tokenizer, once in one process whose tokenizer takes all
cores and once with --processes of them (default: one a core); the faster one counts. Starting
Python and importing is not in the peer's time, starting our process not in ours.

classification: a tab-separated file of sentences and labels (data/movies, repeated). questions:
rows as Hugging Face publishes SQuAD, JSON lines with a passage of several sentences, in windows of
384 tokens that share 128 (prepare_train_features of run_qa.py). The numbers of rows, of tokens and
of windows must be the same. datasets is not among this project's wheels:

    .venv/bin/pip install --target build/peers datasets==5.2.0 && PYTHONPATH=build/peers ...

--large: this program alone. A file of that many generated reviews is tokenised into a cache, and
then opened from it; printed is by how much resident memory grew at its highest, mapped files
included.
"""

import json
import os
import pathlib
import random
import shutil
import tempfile
import time

import data_cache
import peers

WINDOW, STRIDE = 384, 128


def write_sentences(path, rows):
    sentences = peers.rows()
    with open(path, "w", encoding="utf-8") as out:
        out.write("sentence\tlabel\n")
        for i in range(rows):
            text, label = sentences[i % len(sentences)]
            out.write(f"{text}\t{label}\n")


def write_questions(path, rows):
    """Four questions a passage; every eighth passage is longer than a window."""
    draw = random.Random(rows)
    sentences = [text for text, _ in peers.rows()]
    with open(path, "w", encoding="utf-8") as out:
        for i in range(rows):
            if i % 4 == 0:
                passage = " ".join(draw.choices(sentences, k=28 if i % 32 == 0 else 7))
                words = passage.split(" ")
            first = draw.randrange(len(words) - 3)
            answer = " ".join(words[first:first + 3])
            asked = " ".join(draw.choice(sentences).split(" ")[:10])
            out.write(json.dumps({
                "id": str(i), "question": asked, "context": passage,
                "answers": {"text": [answer],
                            "answer_start": [len(" ".join(words[:first])) + (first > 0)]},
            }, ensure_ascii=False) + "\n")


class Ours:
    def __init__(self, file, words, cores):
        self.file, self.words, self.cores = file, words, cores
        self.found = None

    def measure(self, _):
        with tempfile.TemporaryDirectory(dir=self.file.parent) as cache:
            out = peers.compress("--threads", self.cores, "tokenize", peers.MODEL, "--data",
                                 self.file, "--cache", cache, "--json", *self.words)[0]
        self.found = json.loads(out)[0]
        return self.found["rows_per_second"] * self.rows_of(self.found)

    def rows_of(self, _):
        return 1


class OurQuestions(Ours):
    """Questions a second, as the peer counts them: `compress` tells windows."""

    def __init__(self, file, words, cores, questions):
        super().__init__(file, words, cores)
        self.questions = questions

    def rows_of(self, found):
        return self.questions / found["rows"]


class Peer:
    """load_dataset and map of `features`, from an empty cache to files in it."""

    def __init__(self, file, how, features, tokenizer, processes):
        self.file, self.how, self.features = file, how, features
        self.tokenizer, self.processes = tokenizer, processes
        self.rows = self.tokens = 0

    def measure(self, _):
        import datasets

        datasets.disable_progress_bars()
        cache = tempfile.mkdtemp(dir=self.file.parent)
        try:
            begin = time.perf_counter()
            kind, more = self.how
            rows = datasets.load_dataset(kind, data_files=str(self.file), split="train",
                                         cache_dir=cache, **more)
            count = len(rows)
            made = rows.map(self.features, batched=True, remove_columns=rows.column_names,
                            num_proc=self.processes, fn_kwargs={"tokenizer": self.tokenizer})
            seconds = time.perf_counter() - begin
            self.rows = len(made)
            self.tokens = sum(map(len, made["input_ids"]))
            return count / seconds
        finally:
            shutil.rmtree(cache, ignore_errors=True)


def classified(batch, tokenizer):
    out = tokenizer(batch["sentence"], truncation=True, max_length=128)
    out["label"] = batch["label"]
    return out


def windows(batch, tokenizer):
    """prepare_train_features of transformers' examples/pytorch/question-answering/run_qa.py,
    without padding."""
    out = tokenizer([text.lstrip() for text in batch["question"]], batch["context"],
                    truncation="only_second", max_length=WINDOW, stride=STRIDE,
                    return_overflowing_tokens=True, return_offsets_mapping=True)
    sample = out.pop("overflow_to_sample_mapping")
    offsets = out.pop("offset_mapping")
    starts, ends = [], []
    for i, places in enumerate(offsets):
        ids = out["input_ids"][i]
        cls = ids.index(tokenizer.cls_token_id)
        sequence = out.sequence_ids(i)
        answers = batch["answers"][sample[i]]
        if not answers["answer_start"]:
            starts.append(cls)
            ends.append(cls)
            continue
        begin = answers["answer_start"][0]
        end = begin + len(answers["text"][0])
        first = 0
        while sequence[first] != 1:
            first += 1
        last = len(ids) - 1
        while sequence[last] != 1:
            last -= 1
        if not (places[first][0] <= begin and places[last][1] >= end):
            starts.append(cls)
            ends.append(cls)
            continue
        while first < len(places) and places[first][0] <= begin:
            first += 1
        starts.append(first - 1)
        while places[last][1] >= end:
            last -= 1
        ends.append(last + 1)
    out["start_positions"], out["end_positions"] = starts, ends
    return out


def compare(title, file, words, how, features, count, options):
    from transformers import AutoTokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = AutoTokenizer.from_pretrained(peers.MODEL)
    tokenizer.model_max_length = 1 << 20
    cores = len(os.sched_getaffinity(0))
    ours = (OurQuestions(file, words, cores, count) if features is windows
            else Ours(file, words, cores))
    one = Peer(file, how, features, tokenizer, None)
    several = Peer(file, how, features, tokenizer, options.processes or cores)
    entries = {"datasets + transformers, 1 process": one,
               f"datasets + transformers, {several.processes} processes": several,
               "compress": ours}
    found = peers.alternate(entries, None, options.rounds)
    same = (ours.found["rows"], ours.found["tokens"]) == (one.rows, one.tokens)
    verdict = ("the same on both sides" if same else
               f"OURS DIFFER: {ours.found['rows']:,} rows, {ours.found['tokens']:,} tokens")
    print(f"{title}: {count:,} rows of the file, {one.rows:,} tokenised rows, "
          f"{one.tokens:,} tokens; {verdict}")
    peers.table(f"{title}, {cores} cores, rows of the file/s", found, 0)
    peers.ratio(found, peer="datasets")


def large(rows, folder):
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file, cache = pathlib.Path(place) / "reviews.tsv", pathlib.Path(place) / "cache"
        data_cache.write_reviews(file, rows)
        time.sleep(3.5)  # a file that was changed just now is hashed again at the next start
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB")
        for title in ("read and tokenised", "opened from the cache"):
            told = json.loads(peers.compress("tokenize", peers.MODEL, "--data", file, "--text",
                                             "sentence", "--cache", cache, "--json")[0])[0]
            print(f"  {title:22} {told['seconds']:8.2f} s  "
                  f"{told['rows_per_second']:12,.0f} rows/s  "
                  f"resident memory grew by {told['growth_mb']:.0f} MB", flush=True)


def main():
    options = peers.arguments(__doc__, steps=None, batch=None, more={
        "--rows": {"type": int, "default": 200000, "help": "of the classification file"},
        "--questions": {"type": int, "default": 20000, "help": "of the file of questions"},
        "--processes": {"type": int, "help": "of Dataset.map; default: one a core"},
        "--large": {"type": int, "metavar": "ROWS", "help": "measure memory with so many instead"},
        "--folder": {"help": "where the temporary folder is made"},
    })
    if options.large:
        large(options.large, options.folder)
        return
    try:
        import datasets  # noqa: F401  pylint: disable=unused-import
    except ImportError:
        peers.fail("datasets is missing: .venv/bin/pip install --target build/peers "
                   "datasets==5.2.0, and PYTHONPATH=build/peers")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = pathlib.Path(folder) / "sentences.tsv"
        write_sentences(file, options.rows)
        compare("classification", file, ("--text", "sentence"),
                ("csv", {"sep": "\t", "quoting": 3}), classified, options.rows, options)
        file = pathlib.Path(folder) / "questions.jsonl"
        write_questions(file, options.questions)
        compare("questions", file,
                ("--task", "span", "--text", "question", "--pair", "context", "--answer",
                 "answers.text", "--answer-start", "answers.answer_start", "--max-length", WINDOW,
                 "--stride", STRIDE), ("json", {}), windows, options.questions, options)


if __name__ == "__main__":
    main()
