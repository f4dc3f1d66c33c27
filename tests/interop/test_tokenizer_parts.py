"""Normalizers, pre-tokenizers and regular expressions against the `tokenizers` library, on every
code point and by their effect on odd strings.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_parts.py
"""

import base64
import json
import tempfile
import unittest

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tests.interop import test_tokenizer as common
from tests.interop import tokenizer_kinds as kinds
from tests.interop.test_tokenizer_kinds import ids_of, odd_words

BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def bytes_spelled():
    """The character that byte-level vocabularies write for each byte."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in visible]
    return [chr(b) if b in visible else chr(256 + others.index(b)) for b in range(256)]


BYTES = bytes_spelled()


def characters():
    """Code points but surrogates, line feeds, and the inside of blocks of characters that are all
    alike: ideographs, Hangul syllables, private use, planes without anything in them."""
    alike = [(0x3440, 0x4D80), (0x4E40, 0x9FC0), (0xAC80, 0xD760), (0xE040, 0xF8C0),
             (0x17080, 0x187C0), (0x20040, 0x2A6C0), (0x2A740, 0x2EBC0), (0x2EC40, 0x2EE00),
             (0x30040, 0x31340), (0x313C0, 0x32380), (0x13040, 0x13400), (0x144C0, 0x14600)]
    skipped = {c for first, last in alike for c in range(first, last)} | {0x0A}
    return [chr(c) for c in [*range(0x33000), *range(0xE0000, 0xE0200)]
            if not 0xD800 <= c <= 0xDFFF and c not in skipped]


def rows(form, size=32):
    everything = characters()
    return ["".join(form.replace("{}", c) for c in everything[start:start + size])
            for start in range(0, len(everything), size)]


def byte_tokenizer(normalizer=None, *splits):
    """Ids that show the bytes of the normalised text, and with splits a space before each piece."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    end = pre_tokenizers.ByteLevel(add_prefix_space=bool(splits), use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, end])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


class Parts(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.odd = common.odd_strings(51, 500) + odd_words(52, 500) + ["", " ", "a", "\n", "\n\na\n"]
        cls.single = rows("{}x")
        cls.combined = rows("e\u0301{}\u0323 ")

    def check(self, tokenizer, lines=(), odd=0):
        """Ids of lines; with `odd` segments and offsets of so many odd strings, too."""
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(f"{folder}/tokenizer.json")
            lines = list(lines)
            if lines:
                for line, answer, theirs in zip(lines, ids_of(folder, lines),
                                                tokenizer.encode_batch_fast(lines)):
                    if [int(i) for i in answer.split()] != theirs.ids:
                        self.fail(f"{line!r}\n ours   {answer}\n theirs {theirs.ids}")
            if odd:
                self.compare(folder, tokenizer, self.odd[::len(self.odd) // odd])

    def check_text(self, normalizer, lines):
        """The normalised text alone, which is quicker."""
        tokenizer = byte_tokenizer(normalizer)
        spelled = {i: c for c, i in tokenizer.get_vocab().items()}
        byte_of = {c: b for b, c in enumerate(BYTES)}
        byte_of = {str(i): byte_of[c] for i, c in spelled.items()}
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(f"{folder}/tokenizer.json")
            for line, answer in zip(lines, ids_of(folder, lines)):
                ours = bytes(byte_of[i] for i in answer.split())
                theirs = normalizer.normalize_str(line)
                if ours != theirs.encode():
                    self.fail(f"{line!r}\n ours   {ours}\n theirs {theirs!r}")

    def test_normalizers_on_every_code_point(self):
        for each in (normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(),
                     normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Nmt()):
            with self.subTest(each):
                self.check_text(each, self.single + self.combined)
                self.check(byte_tokenizer(each), odd=200)

    def test_charsmap_on_every_code_point(self):
        """SentencePiece's rules go by grapheme clusters of less than six bytes, of which they take
        the first characters for the whole. U+0344, U+0958 and U+0F73 have rules; around each code
        point they show where clusters end."""
        with tempfile.TemporaryDirectory() as folder:
            trained = kinds.t5_files(folder, kinds.sentences()[::40])
        charsmap = json.loads(trained.to_str())["normalizer"]["precompiled_charsmap"]
        normalizer = normalizers.Precompiled(base64.b64decode(charsmap))
        for form in ("{}", "\u00aa{}", "\u00aa\u0344{}", "{}\u0f73\u0344", "{}\u00aa\u0344",
                     "{}\u0958\u0344", "{}\u094d\u0958\u0344", "\u0915{}\u0958\u0344",
                     "\u0915\u094d{}\u0344", "\u0915\u094d{}\u0958\u0344",
                     "\u0915{}\u094d\u0958\u0344"):
            with self.subTest(form):
                self.check_text(normalizer, rows(form + "x"))
        self.check(byte_tokenizer(normalizer), odd=1000)

    def test_normalizers_on_odd_strings(self):
        sequence = normalizers.Sequence
        for each in (
                normalizers.Strip(), normalizers.Strip(left=False), normalizers.Strip(right=False),
                normalizers.Prepend("▁é"), normalizers.Replace("a", ""),
                normalizers.Replace(" ", "▁"), normalizers.Replace(Regex(" {2,}"), "▁"),
                normalizers.Replace(Regex(r"^\s+|\s+$"), "|"),
                normalizers.Replace(Regex(r"(?<=\w)x*"), "-"),
                sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
                sequence([normalizers.NFKD(), normalizers.BertNormalizer(), normalizers.NFC()]),
                sequence([normalizers.Lowercase(), normalizers.NFKC(), normalizers.Strip(),
                          normalizers.Replace("the", "THE"), normalizers.Prepend(" ")]),
                normalizers.ByteLevel(), sequence([])):
            with self.subTest(each):
                self.check(byte_tokenizer(each), odd=200)

    def test_pre_tokenizers_on_every_code_point(self):
        for each in (pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(),
                     pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True),
                     pre_tokenizers.Digits(), pre_tokenizers.BertPreTokenizer()):
            with self.subTest(each):
                self.check(byte_tokenizer(None, each), rows("{}x {} "), odd=200)

    def test_known_patterns_on_every_code_point(self):
        for pattern, behavior, invert in ((kinds.GPT2, "isolated", False),
                                          (kinds.LLAMA3, "removed", True),
                                          (kinds.QWEN2, "isolated", False)):
            with self.subTest(pattern):
                split = pre_tokenizers.Split(Regex(pattern), behavior, invert)
                self.check(byte_tokenizer(None, split), rows("x{} 1{}'"), odd=1000)

    def test_split_behaviors(self):
        for behavior in BEHAVIORS:
            for invert in (False, True):
                for pattern in ("a", " ", Regex(r"\s+"), Regex(r"[a-m]"), Regex(r"x?")):
                    with self.subTest(behavior=behavior, invert=invert, pattern=pattern):
                        split = pre_tokenizers.Split(pattern, behavior, invert)
                        self.check(byte_tokenizer(None, split), odd=100)
            with self.subTest(behavior):
                self.check(byte_tokenizer(None, pre_tokenizers.Punctuation(behavior)), odd=100)

    def test_regular_expressions_on_every_code_point(self):
        names = ("L N P S M Z Lu Ll Lt Lm Lo Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Mc Me Zs "
                 "Han Letter Punctuation")
        patterns = [rf"\p{{{name}}}" for name in names.split()]
        patterns += [r"\s", r"\S", r"\w", r"\W", r"\d", r"\h", r"[^\s\p{L}]", r"[[:punct:]]",
                     r"\P{L}", r"[^\w\d]", r"[\p{L}&&[^\p{Han}]]", r"[\p{L}\p{N}&&[\x00-\x{2FF}]]",
                     r"[^[a-z]\p{Lu}]", r"[[a-f][^\p{L}]]", r"[a\-\]\[z]", r"[^\S\n]",
                     r"\p{^L}", r"[\p{L}-]", r"[一-龥぀-ゟ]"]
        for pattern in patterns:
            with self.subTest(pattern):
                self.check_text(normalizers.Replace(Regex(pattern), "|"), self.single)

    def test_regular_expressions(self):
        for pattern in (r"\b", r"\B\w", r"^a|a$", r"(?i:hello|ſ)", r"(?m).+", r".+", r"\p{N}{1,3}+",
                        r"\p{L}++", r"a{,2}b", r"(\w)\1", r"(?<!\s)'", r"(?=a)", r"\v", r"\u0065",
                        r"\Aa", r"a\z", r"[^(\s|[.,!?…])]+", r"\p{L}+(?:'\p{L}+)?", r"(?<x>a)\k<x>",
                        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'t)?", r"\R", r""):
            with self.subTest(pattern):
                self.check(byte_tokenizer(None, pre_tokenizers.Split(Regex(pattern), "isolated")),
                           odd=200)

    def test_metaspace(self):
        for scheme in ("first", "always", "never"):
            for split in (True, False):
                with self.subTest(scheme=scheme, split=split):
                    tokenizer = byte_tokenizer(None, pre_tokenizers.Metaspace(
                        prepend_scheme=scheme, split=split))
                    tokenizer.add_special_tokens(["<s>"])
                    self.check(tokenizer, odd=200)

    def test_chains(self):
        for splits in (
                [pre_tokenizers.ByteLevel(add_prefix_space=True),
                 pre_tokenizers.Split("Ġ", "removed")],
                [pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.Digits()],
                [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("contiguous"),
                 pre_tokenizers.Split(Regex(r"[aeiou]"), "merged_with_previous")]):
            with self.subTest(splits):
                tokenizer = byte_tokenizer(normalizers.NFKC(), *splits)
                tokenizer.add_tokens(["hello", "é"])
                self.check(tokenizer, odd=400)


if __name__ == "__main__":
    unittest.main()
