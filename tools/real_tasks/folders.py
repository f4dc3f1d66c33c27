"""Folders of tasks: written whole, told in about.json, and read again to look for leaks."""

import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile

from real_tasks.kinds import Task
from real_tasks.sources import DOMAINS, Sources, table
from real_tasks.texts import DOWNWARDS, PARTS, Near, TaskError, apart, draw, plain, shingles


def ordered(groups: list, name: str, most: int) -> list:
    """Rows in the order of a hash of their group, as many whole groups as fit."""
    rows = []
    for group in sorted(groups, key=lambda each: draw("row", name, each[0][0])):
        if len(rows) + len(group) > most:
            break
        rows += group
    return rows


def columns_of(task: Task, file: str) -> tuple:
    return task.columns.get(file.split("_")[0], task.columns.get("", ()))


def write_file(task: Task, folder: pathlib.Path, file: str, rows: list) -> None:
    if not task.columns:
        paragraphs = [{"title": name, "paragraphs": [json.loads(each)]} for name, each in rows]
        (folder / f"{file}.json").write_text(
            json.dumps({"version": "v2.0", "data": paragraphs}, ensure_ascii=False) + "\n",
            encoding="utf-8")
        return
    with open(folder / f"{file}.tsv", "w", encoding="utf-8", newline="\n") as out:
        for row in [columns_of(task, file), *rows]:
            out.write("\t".join(row) + "\n")


def read_file(path: pathlib.Path, task: Task) -> list:
    """Rows of a written file, each a dictionary; of SQuAD's format one a question."""
    if task.columns:
        columns = columns_of(task, path.stem)
        return [dict(zip(columns, row)) for row in table(path, columns)]
    rows = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                for answer in asked["answers"]:
                    start = answer["answer_start"]
                    if paragraph["context"][start:][:len(answer["text"])] != answer["text"]:
                        raise TaskError(f"{path}: {asked['id']} has its answer elsewhere")
                rows.append({"id": asked["id"], "context": paragraph["context"],
                             "question": asked["question"],
                             "answers": asked["answers"]})
    return rows


def bare(text: str) -> str:
    """A question's or a source's own part: without what all of them begin with."""
    return re.sub(r"^(name the word|define|kind of|fill in|section of): |^what is (to )?", "", text)


def texts_of(task: Task, row: dict) -> list:
    return [bare(row[name]) for name in task.texts]


def shared(task: Task, files: dict) -> dict:
    """How many texts of each file (rows by name) are in one before it, equal or nearly equal."""
    texts = {name: {each for row in rows for each in texts_of(task, row)}
             for name, rows in files.items()}
    near = Near(collections.Counter(each for mine in texts.values() for text in mine
                                    for each in shingles(text)))
    before, found = set(), {}
    for name, mine in texts.items():
        found[name] = {"equal": len({plain(text) for text in mine} & before),
                       "near": sum(near.has(text) for text in mine)}
        before |= {plain(text) for text in mine}
        for text in mine:
            near.add(text)
    return found


def leaks(task: Task, folder: pathlib.Path) -> dict:
    """What shared() says of the three parts, and of the files with one domain left out."""
    suffix = "tsv" if task.columns else "json"

    def read(*names: str) -> dict:
        return shared(task, {name: read_file(folder / f"{name}.{suffix}", task) for name in names})
    found = read(*DOWNWARDS)
    for domain in DOMAINS if task.sources == DOMAINS else ():
        found.update(read(f"only_{domain}", *(f"without_{domain}_{part}"
                                              for part in ("dev", "train"))))
    return found


def about(task: Task, folder: pathlib.Path, left_out: int) -> dict:
    """What was written: rows of each file, labels of each part, leaks."""
    files = {}
    for path in sorted(folder.iterdir()):
        rows = read_file(path, task)
        entry = {"rows": len(rows), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        if task.label and rows and task.label in rows[0]:
            counts = collections.Counter(row[task.label] for row in rows)
            entry["labels"] = dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
        files[path.name] = entry
    return {"task": task.name, "what": task.what, "sources": list(task.sources), "files": files,
            "left_out_of_sources": left_out, "leaks": leaks(task, folder)}


def make(task: Task, sources: Sources, into: pathlib.Path) -> dict:
    """Writes a task's folder, which appears under its name only when it is whole and checked."""
    files, most = collections.defaultdict(list), {}
    for part in PARTS:
        for file, groups in task.make(sources, part).items():
            files[file] += groups
            most[file] = max(most.get(file, 0), task.most[part])
    if task.columns:
        names = columns_of(task, "train")
        files.update(apart({part: files[part] for part in PARTS}, lambda group: [
            text for row in group for text in texts_of(task, dict(zip(names, row)))]))
    read = {"wordnet": sources.senses, "descriptions": sources.packages, "movies": sources.rated}
    left_out = sum(read[name]()[1] for name in task.sources if name in read)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".part-") as temporary:
        folder = pathlib.Path(temporary) / task.name
        folder.mkdir()
        for file, groups in sorted(files.items()):
            rows = ordered(groups, f"{task.name}/{file}", most[file])
            if not rows:
                raise TaskError(f"{task.name}: the sources give no row of {file}")
            write_file(task, folder, file, rows)
        told = about(task, folder, left_out)
        bad = {file: counts for file, counts in told["leaks"].items() if any(counts.values())}
        if bad:
            raise TaskError(f"{task.name}: parts share texts: {bad}")
        for name in task.sources:
            licence = sources.data / name / "LICENSE.txt"
            if licence.is_file():
                shutil.copyfile(licence, folder / f"LICENSE-{name}.txt")
        (folder / "about.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n",
                                          encoding="utf-8")
        target = into / task.name
        if target.exists():
            os.replace(target, pathlib.Path(temporary) / "old")
        os.replace(folder, target)
    return told
