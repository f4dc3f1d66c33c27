"""Tokenizers of every kind, trained on the spot with the `tokenizers` and `sentencepiece` packages,
and texts to try them on. Used by test_tokenizer_kinds.py, test_tokenizer_files.py and
test_tokenizer_lines.py."""

import io
import json
import re
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = ROOT / "data/hutto"
DOMAINS = ["movie", "product", "editorial", "tweets"]
DESCRIPTIONS = ROOT / "data/descriptions"
GLOSSES = ROOT / "data/glosses/glosses.txt"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def sentences():
    lines = []
    for domain in DOMAINS:
        lines += (SENTENCES / f"{domain}.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return lines


def descriptions():
    """One-line descriptions of Debian's packages."""
    rows = []
    for part in ("train", "dev", "test"):
        lines = (DESCRIPTIONS / f"{part}.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
        rows += [line.split("\t")[2] for line in lines]
    return rows


def glosses():
    """WordNet's explanations of its senses, many with examples."""
    return GLOSSES.read_text(encoding="utf-8").split("\n")[:-1]


def template(single, pair, tokenizer):
    names = set(re.findall(r"<[^ :$]*>|\[[A-Z]+\]", single + pair))
    return processors.TemplateProcessing(
        single=single, pair=pair,
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in sorted(names)])


def train(tokenizer, trainer, lines):
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def byte_level(lines, size=3000, specials=("<|endoftext|>",), **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    return train(tokenizer, trainer, lines)


def gpt2(lines):
    tokenizer = byte_level(lines)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def roberta(lines):
    tokenizer = byte_level(lines, specials=["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def roberta_with_prefix(lines):
    tokenizer = roberta(lines)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def llama3(lines):
    tokenizer = byte_level(lines, specials=["<|begin_of_text|>"])
    text = tokenizer.to_str().replace('"ignore_merges":false', '"ignore_merges":true')
    tokenizer = Tokenizer.from_str(text)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    start = "<|begin_of_text|>"
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single=f"{start}:0 $A:0",
                                      pair=f"{start}:0 $A:0 {start}:1 $B:1",
                                      special_tokens=[(start, 0)])])
    return tokenizer


def qwen2(lines):
    tokenizer = byte_level(lines)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    return tokenizer


def smollm(lines):
    tokenizer = byte_level(lines)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def byte_level_normalizer(lines):
    """Bytes as a normalizer, and BPE that does not know them all."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.ByteLevel()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("Ġ", "merged_with_next")
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, trainers.BpeTrainer(vocab_size=2000, special_tokens=["<unk>"],
                                                show_progress=False), lines)


def sentencepiece_bpe(lines):
    """Llama 2 in its older layout: everything in the normalizer."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                                 normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    train(tokenizer, trainers.BpeTrainer(vocab_size=3000, special_tokens=specials,
                                         limit_alphabet=100, show_progress=False), lines)
    text = re.sub(r'\{"id":\d+,"content":"<0x.."[^}]*\},?', "", tokenizer.to_str())
    tokenizer = Tokenizer.from_str(text.replace(",]", "]"))
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = template("<s> $A", "<s> $A <s>:1 $B:1", tokenizer)
    return tokenizer


def metaspace_bpe(lines):
    """Llama 2 in its newer layout, without tokens for some bytes."""
    tokenizer = sentencepiece_bpe(lines)
    text = tokenizer.to_str().replace('"<0xE6>"', '"no such byte"')
    tokenizer = Tokenizer.from_str(text)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def classic_bpe(lines):
    """GPT-1's suffixes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder()
    return train(tokenizer, trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=60,
        show_progress=False), lines)


def prefixed_bpe(lines):
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(),
                                                 normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return train(tokenizer, trainers.BpeTrainer(
        vocab_size=2000, continuing_subword_prefix="##", limit_alphabet=60,
        show_progress=False), lines)


def unigram(lines, normalizer=None, **options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer or normalizers.Sequence([
        normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return train(tokenizer, trainers.UnigramTrainer(
        vocab_size=2000, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
        show_progress=False, **options), lines)


def wordpiece(lines):
    """WordPiece behind other parts than BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFD(),
                                                 normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Digits()])
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    train(tokenizer, trainers.WordPieceTrainer(
        vocab_size=2000, special_tokens=["[UNK]", "[CLS]", "[SEP]"], limit_alphabet=200,
        show_progress=False), lines)
    tokenizer.post_processor = template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", tokenizer)
    return tokenizer


KINDS = [gpt2, roberta, roberta_with_prefix, llama3, qwen2, smollm, byte_level_normalizer,
         sentencepiece_bpe, metaspace_bpe, classic_bpe, prefixed_bpe, unigram, wordpiece]


def train_sentencepiece(path, lines, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, minloglevel=2, **options)
    Path(path).write_bytes(model.getvalue())


def write_config(folder, **config):
    Path(folder, "tokenizer_config.json").write_text(json.dumps(config))


# Folders with a SentencePiece model; these return what `transformers` makes of it.


def t5_files(folder, lines, **config):
    from transformers import T5Tokenizer
    train_sentencepiece(f"{folder}/spiece.model", lines, vocab_size=1500, pad_id=0, eos_id=1,
                        unk_id=2, bos_id=-1, user_defined_symbols=["<sym>"])
    write_config(folder, tokenizer_class="T5Tokenizer", **config)
    return T5Tokenizer.from_pretrained(folder)._tokenizer


def xlm_roberta_files(folder, lines, **config):
    from transformers import XLMRobertaTokenizer
    train_sentencepiece(f"{folder}/sentencepiece.bpe.model", lines, vocab_size=1500, unk_id=0,
                        bos_id=1, eos_id=2)
    write_config(folder, tokenizer_class="XLMRobertaTokenizer", **config)
    return XLMRobertaTokenizer.from_pretrained(folder)._tokenizer


def llama_files(folder, lines, **config):
    from transformers import LlamaTokenizer
    train_sentencepiece(f"{folder}/tokenizer.model", lines, vocab_size=1500, model_type="bpe",
                        byte_fallback=True, normalization_rule_name="identity",
                        character_coverage=0.999)
    write_config(folder, tokenizer_class="LlamaTokenizer", **config)
    return LlamaTokenizer.from_pretrained(folder)._tokenizer


FILES = [t5_files, xlm_roberta_files, llama_files]
