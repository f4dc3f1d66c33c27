#!/usr/bin/env python3
"""Samples per second of distilling a language model: this program beside Hugging Face, in one run.

    .venv/bin/python bench/language_models.py [--steps 8] [--rounds 3] [--batch 32] [--no-compile]
        [--pairs llama,t5] [--device cuda]

A pair of the Llama type (SmolLM2's widths, ten layers taught to five, causal) and one of the T5
type (T5-small's widths, six and six layers taught to three and three; a sentence is written again),
with random weights, as speed does not depend on what was learnt. Both read the same movie
sentences, learn from the teacher's distribution over each next word (temperature 2) and from the
words themselves, half and half, and update with AdamW and clipping at 1. Hugging Face's side is the
usual loop: rows tokenised before, padded batches of like length, logits of real words only, fused
AdamW; in float32, with bf16 autocast, and compiled with torch.compile(dynamic=True). The rounds
alternate.
"""

import pathlib
import tempfile

import peers

LLAMA = dict(hidden_size=576, num_hidden_layers=10, num_attention_heads=9, num_key_value_heads=3,
             intermediate_size=1536, max_position_embeddings=512, tie_word_embeddings=True)
T5 = dict(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8)
RECIPE = """name: bench-{pair}
data:
  reviews: {{train: {movies}, text: sentence, task: {task}{more}}}
stages:
  - name: student
    train:
      model: {{from: {folder}, head: {head}, drop_layers: {{layers: {kept}}}}}
      teacher: {{from: {folder}, remember: false}}
      data: reviews
      for: 1 epoch
      batch: 32
      objectives:
        - soft_labels: {{temperature: 2, weight: 0.5}}
        - labels: {{weight: 0.5}}
      optimizer: {{adamw: {{lr: 5e-5}}}}
"""


def write(pair, root):
    """The teacher's folder and the recipe."""
    import torch
    import transformers

    torch.manual_seed(1)
    common = dict(vocab_size=30522, pad_token_id=0, bos_token_id=101, eos_token_id=102)
    if pair == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**common | LLAMA))
    else:
        settings = common | T5 | dict(decoder_start_token_id=0)
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings))
    folder = pathlib.Path(root, pair)
    model.save_pretrained(folder)
    peers.copy_tokenizer(folder)
    llama = pair == "llama"
    lines = ["sentence\tcopy"] + [f"{text}\t{text}" for text, _ in peers.rows()]
    movies = pathlib.Path(root, "movies.tsv")
    movies.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = RECIPE.format(
        pair=pair, movies=movies, folder=folder,
        task="language_model" if llama else "sequence_to_sequence",
        more=", append_end: false" if llama else ", target: copy",
        head="causal_lm" if llama else "seq2seq_lm",
        kept="[0, 2, 4, 6, 8]" if llama else "[0, 2, 4]")
    recipe = pathlib.Path(root, f"{pair}.yaml")
    recipe.write_text(text)
    return folder, recipe


def halved(model, pair):
    import torch

    def keep(layers):
        return torch.nn.ModuleList(list(layers)[::2])

    if pair == "llama":
        model.model.layers = keep(model.model.layers)
        for place, layer in enumerate(model.model.layers):
            layer.self_attn.layer_idx = place
        model.config.num_hidden_layers = len(model.model.layers)
    else:
        for stack in (model.encoder, model.decoder):
            stack.block = keep(stack.block)
        model.config.num_layers = model.config.num_decoder_layers = len(model.encoder.block)
    return model


class HuggingFace:
    def __init__(self, pair, folder, batch, bf16=False, compiled=False, device="cpu"):
        import torch
        import transformers

        torch.manual_seed(13)
        self.torch, self.pair, self.batch, self.device = torch, pair, batch, device
        self.bf16, self.compiled = bf16, compiled
        load = (transformers.AutoModelForCausalLM if pair == "llama"
                else transformers.AutoModelForSeq2SeqLM).from_pretrained
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.student = halved(load(folder), pair).train().to(device)
        self.teacher = load(folder).eval().to(device)
        self.parameters = list(self.student.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=5e-5, weight_decay=0.01, fused=True)
        self.run_student, self.run_teacher = self.student, self.teacher
        if compiled:
            torch._dynamo.config.recompile_limit = 64
            self.run_student = torch.compile(self.student, dynamic=True)
            self.run_teacher = torch.compile(self.teacher, dynamic=True)
        self.batches = []

    def prepare(self, steps):
        import training

        if len(self.batches) == steps:
            return
        texts = [text for text, _ in peers.rows()[: steps * self.batch]]
        ids = self.tokenizer(texts, truncation=True, max_length=128)["input_ids"]
        self.batches = training.by_length(ids, self.batch)

    def inputs(self, index):
        """Inputs of the models, the mask of logits that count, and their labels."""
        padded = self.tokenizer.pad({"input_ids": self.batches[index % len(self.batches)]},
                                    return_tensors="pt")
        ids, mask = (padded[name].to(self.device) for name in ("input_ids", "attention_mask"))
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.pair == "llama":
            counts = mask.bool().clone()
            counts[:, :-1] &= mask[:, 1:].bool()
            counts[:, -1] = False
            return inputs | {"use_cache": False}, counts, ids.roll(-1, 1)[counts]
        start = self.torch.zeros_like(ids[:, :1])
        inputs |= {"decoder_input_ids": self.torch.cat([start, ids[:, :-1]], 1), "use_cache": False}
        return inputs, mask.bool(), ids[mask.bool()]

    def step(self, index):
        functional = self.torch.nn.functional
        inputs, counts, labels = self.inputs(index)
        cast = self.torch.autocast(self.device.split(":")[0], dtype=self.torch.bfloat16,
                                   enabled=self.bf16)
        with self.torch.no_grad(), cast:
            target = self.run_teacher(**inputs).logits[counts].float()
        with cast:
            logits = self.run_student(**inputs).logits[counts].float()
        hard = functional.cross_entropy(logits, labels)
        student, taught = (logits / 2).log_softmax(-1), (target / 2).log_softmax(-1)
        soft = functional.kl_div(student, taught, reduction="batchmean", log_target=True)
        (0.5 * soft * 4 + 0.5 * hard).backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def measure(self, steps):
        import training

        self.prepare(steps)
        return training.rate(self, steps, warm=3 if self.compiled else 1)


def main():
    more = peers.NO_COMPILE | peers.DEVICE | {
        "--pairs": {"default": "llama,t5", "help": "separated by commas"}}
    options = peers.arguments(__doc__, steps=8, more=more)
    pairs = options.pairs.split(",")
    if set(pairs) - {"llama", "t5"}:
        peers.fail("--pairs takes llama and t5")
    import torch

    with tempfile.TemporaryDirectory() as root:
        for pair in pairs:
            folder, recipe = write(pair, root)

            def peer(pair=pair, folder=folder, **how):
                return HuggingFace(pair, folder, options.batch, device=options.device, **how)

            precisions = peers.precisions(options.device)
            entries = {f"Hugging Face {each}": peer(bf16=each == "bf16") for each in precisions}
            if not options.no_compile:
                best = precisions[-1]
                entries[f"Hugging Face {best} torch.compile"] = peer(bf16=best == "bf16",
                                                                     compiled=True)
            for precision in precisions:
                entries[f"compress {precision}"] = peers.Ours(
                    recipe, "student", options.batch, precision, device=options.device)
            found = peers.alternate(entries, options.steps, options.rounds)
            where = (f"{torch.get_num_threads()} threads" if options.device == "cpu"
                     else options.device)
            peers.table(f"distillation step of a {pair} pair, batch {options.batch}, {where}, "
                        "samples/s", found)
            peers.ratio(found)


if __name__ == "__main__":
    main()
