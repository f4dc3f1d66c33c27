"""What tools/fetch brought, read and split into parts."""

import pathlib
import re
import typing

from real_tasks.texts import PARTS, TaskError, apart, plain, split

DOMAINS = ("movies", "products", "editorials", "tweets")


def table(path: pathlib.Path, columns: tuple) -> list:
    """Rows of a TSV file with this header. What does not fit is refused with its line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise TaskError(f"{path} is not there; run: tools/fetch {path.parent.name}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise TaskError(f"{path}, line {line}: not UTF-8") from None
    lines = text.split("\n")
    if lines[-1]:
        raise TaskError(f"{path}, line {len(lines)}: the end is missing; the file was cut short")
    if tuple(lines[0].split("\t")) != columns:
        raise TaskError(f"{path}, line 1: the columns are not {', '.join(columns)}")
    rows, seen = [], set()
    for number, line in enumerate(lines[1:-1], 2):
        cells = tuple(line.split("\t"))
        where = f"{path}, line {number}"
        if len(cells) != len(columns):
            raise TaskError(f"{where}: {len(cells)} columns where {len(columns)} are due")
        if re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", "".join(cells)):
            raise TaskError(f"{where}: a control character")
        if not cells[0] or cells[0] in seen:
            raise TaskError(f"{where}: the id {cells[0]!r} is empty or was there before")
        seen.add(cells[0])
        rows.append(cells)
    return rows


class Sense(typing.NamedTuple):
    id: str
    topic: str
    words: tuple
    numbers: tuple      # which sense of each word this is, from 1
    kinds: tuple        # ids of the senses that this is a kind of
    definitions: tuple  # at least one
    examples: tuple


def read_sense(row: tuple, where: str) -> typing.Optional[Sense]:
    """A sense of a row; none where the gloss defines nothing. A gloss is definitions and quoted
    examples with semicolons between."""
    identity, topic, words, numbers, kinds, gloss = row
    if len(words.split("|")) != len(numbers.split("|")) or not numbers.replace("|", "").isdecimal():
        raise TaskError(f"{where}, {identity}: words and numbers do not fit together")
    head = gloss.split('"', 1)[0]
    # Semicolons inside brackets separate nothing.
    pieces = re.split(r";\s*(?![^(]*\))", head)
    definitions = tuple(piece.strip(" ;:,") for piece in pieces if plain(piece))
    if not definitions:
        return None
    examples = tuple(each.strip() for each in re.findall(r'"([^"]+)"', gloss) if plain(each))
    return Sense(identity, topic, tuple(words.split("|")), tuple(map(int, numbers.split("|"))),
                 tuple(filter(None, kinds.split("|"))), definitions, examples)


class Package(typing.NamedTuple):
    name: str
    section: str
    description: str


def family(name: str) -> str:
    """What packages made of one source mostly share: libfoo1, libfoo-dev, python3-foo -> foo."""
    stem = re.sub(r"^(lib(?=.{3})|python3?-|golang-|node-|ruby-|r-(cran|bioc)-|php-|rust-|"
                  r"elpa-|fonts-|gir1\.2-|haskell-|librust-)", "", name)
    stem = re.sub(r"^(rust|ghc|golang|github|gopkg|js|php|ocaml)-", "", stem)
    return re.match(r".[^-+.0-9]*", stem or name).group()


class Rated(typing.NamedTuple):
    id: str
    domain: str
    document: str
    rating: str
    text: str


class Sources:
    """What tools/fetch brought, read once, in parts."""

    def __init__(self, data: pathlib.Path):
        self.data = data
        self.kept = {}

    def once(self, name: str, make: typing.Callable):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def all_senses(self) -> list:
        path = self.data / "wordnet/senses.tsv"
        columns = ("id", "topic", "words", "senses", "kinds", "gloss")
        return self.once("all senses", lambda: [sense for sense in (
            read_sense(row, str(path)) for row in sorted(table(path, columns))) if sense])

    def senses(self) -> tuple:
        return self.once("senses", lambda: split(
            "wordnet", self.all_senses(), lambda each: each.id, lambda each: each.definitions[0]))

    def packages(self) -> tuple:
        def read():
            rows = [Package(*row) for part in PARTS for row in
                    table(self.data / f"descriptions/{part}.tsv", ("id", "section", "description"))]
            rows = [row for row in rows if "/" not in row.section]
            return split("packages", rows, lambda each: family(each.name),
                         lambda each: each.description)
        return self.once("packages", read)

    def rated(self) -> tuple:
        def read():
            rows = {domain: [] for domain in DOMAINS}
            for domain in DOMAINS:
                for part in PARTS:
                    path = self.data / f"{domain}/ratings_{part}.tsv"
                    for identity, rating, text in table(path, ("id", "rating", "sentence")):
                        document = identity.split("_")[0]
                        if not re.fullmatch(r"-?[0-9.]+", rating) or abs(float(rating)) > 4:
                            raise TaskError(f"{path}, {identity}: the rating {rating!r}")
                        rows[domain].append(
                            Rated(f"{domain}-{identity}", domain, document, rating, text))
            # Neither do domains share a text, since one of them is left out.
            count = sum(map(len, rows.values()))
            rows = apart(rows, lambda each: [each.text], DOMAINS)
            parts, _ = split("rated", [row for each in rows.values() for row in each],
                             lambda each: f"{each.domain}-{each.document}", lambda each: each.text)
            return parts, count - sum(map(len, parts.values()))
        return self.once("rated", read)
