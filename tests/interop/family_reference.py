"""Outputs and gradients of transformers' models for a batch with uneven lengths."""

import dataclasses

import torch

LENGTHS = [7, 2, 12, 5]
WRITTEN = [3, 9, 1, 6]  # lengths of the rows that a decoder behind an encoder writes
FIRST_WORD = 5  # tokens below have meanings: padding, end ...


@dataclasses.dataclass
class Rows:
    """Rows of uneven length, padded on the right for transformers."""

    ids: torch.Tensor  # [B, longest]
    lengths: list

    @property
    def mask(self):
        places = torch.arange(self.ids.shape[1])
        return places[None, :] < torch.tensor(self.lengths)[:, None]

    @property
    def packed(self):
        return self.ids[self.mask]

    @property
    def offsets(self):
        return torch.tensor([0, *torch.tensor(self.lengths).cumsum(0).tolist()])


def random_rows(lengths, vocabulary, padding, end, generator):
    ids = torch.full((len(lengths), max(lengths)), padding)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(FIRST_WORD, vocabulary, (length,), generator=generator)
        if end is not None:
            ids[row, length - 1] = end
    return Rows(ids, lengths)


def shifted(rows, start):
    """What a decoder reads: the rows to be written behind a start token."""
    first = torch.full((len(rows.lengths), 1), start)
    return Rows(torch.cat([first, rows.ids[:, :-1]], 1), rows.lengths)


def sees(queries, keys, causal=False, window=None):
    """[B, queries, keys]: which keys of its row a query attends to, false for padding."""
    seen = queries.mask[:, :, None] & keys.mask[:, None, :]
    back = torch.arange(queries.ids.shape[1])[:, None] - torch.arange(keys.ids.shape[1])[None, :]
    if causal:
        seen = seen & (back >= 0)
    if window is not None:
        seen = seen & (back < window)
    return seen


class Reference:
    """A model on a random batch: the tensors for the probe, outputs and gradients to compare."""

    def __init__(self, case, model, seed):
        self.case, self.model, self.config, self.seed = case, model, model.config, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = random_rows(
            LENGTHS, self.config.vocab_size, self.config.pad_token_id, self._end(), self.generator
        )
        # Packed batches have segments whether or not a family reads them.
        self.segments = (self.rows.ids % 2) * self.rows.mask
        if self._types() > 2:
            self.segments[2, 4:9] = 2
        self.written = None
        if self.config.is_encoder_decoder and case.head in ("none", "seq2seq_lm"):
            self.written = random_rows(
                WRITTEN,
                self.config.vocab_size,
                self.config.pad_token_id,
                self._end(),
                self.generator,
            )
        self.masks = self._masks()
        self.outputs = self._pack(self._forward())
        self.weights = {name: self._weight(name) for name in self.outputs}

    def _end(self):
        return self.config.eos_token_id if self.config.is_encoder_decoder else None

    def _types(self):
        reads = self.case.family in ("bert", "roberta", "xlm-roberta", "electra")
        return self.config.type_vocab_size if reads else 0

    def _inputs(self):
        inputs = dict(input_ids=self.rows.ids, attention_mask=self.rows.mask.long())
        if self._types() > 1:
            inputs["token_type_ids"] = self.segments
        if self.written is not None:
            read = shifted(self.written, self._start())
            inputs["decoder_input_ids"] = read.ids
            inputs["decoder_attention_mask"] = read.mask.long()
        if self.case.head == "multiple_choice":  # two questions with two choices each
            inputs = {name: value.unflatten(0, (2, 2)) for name, value in inputs.items()}
        return inputs

    def _start(self):
        start = getattr(self.config, "decoder_start_token_id", None)
        return self.config.pad_token_id if start is None else start

    def _forward(self):
        return self.model(**self._inputs(), output_hidden_states=True, output_attentions=True)

    def _decoder_rows(self):
        return self.written if self.written is not None else self.rows

    def _masks(self):
        causal = self.case.family in ("gpt2", "opt", "llama", "mistral", "qwen2", "qwen3")
        window = getattr(self.config, "sliding_window", None)
        masks = {"attention": sees(self.rows, self.rows, causal, window)}
        if self.config.is_encoder_decoder:
            rows = self._decoder_rows()
            masks["decoder_attention"] = sees(rows, rows, causal=True)
            masks["cross_attention"] = sees(rows, self.rows)
        return masks

    def _pack(self, out):
        named = {}

        def tokens(name, values, rows):
            for i, value in enumerate(values or ()):
                named[f"{name}.{i}"] = value[rows.mask]

        def attention(name, values):
            for i, value in enumerate(values or ()):
                named[f"{name}.{i}"] = value * self.masks[name][:, None]

        rows = self._decoder_rows()
        if out.get("decoder_hidden_states") is not None:
            tokens("hidden", out.encoder_hidden_states, self.rows)
            tokens("decoder_hidden", out.decoder_hidden_states, rows)
            attention("attention", out.encoder_attentions)
            attention("decoder_attention", out.decoder_attentions)
            attention("cross_attention", out.cross_attentions)
        else:
            rows = self.rows
            tokens("hidden", out.hidden_states, rows)
            attention("attention", out.attentions)
        if out.get("pooler_output") is not None:
            named["pooled"] = out.pooler_output
        if "start_logits" in out:
            named["token_logits"] = torch.stack([out.start_logits, out.end_logits], -1)[rows.mask]
        elif self.case.head == "multiple_choice":
            named["logits"] = out.logits.reshape(-1, 1)
        elif self.case.head in ("classification", "regression"):
            named["logits"] = out.logits
        elif "logits" in out:
            logits = out.logits if out.logits.dim() == 3 else out.logits[:, :, None]
            named["token_logits"] = logits[rows.mask]
        return named

    def _weight(self, name):
        weight = torch.randn(self.outputs[name].shape, generator=self.generator)
        mask = self.masks.get(name.split(".")[0])
        return weight if mask is None else weight * mask[:, None]

    def given(self):
        """batch.safetensors for the probe."""
        tensors = {
            "token_ids": self.rows.packed,
            "segment_ids": self.segments[self.rows.mask],
            "offsets": self.rows.offsets,
            **{f"mask.{name}": mask for name, mask in self.masks.items()},
            **{f"weight.{name}": weight for name, weight in self.weights.items()},
        }
        if self.written is not None:
            tensors["decoder.token_ids"] = self.written.packed
            tensors["decoder.offsets"] = self.written.offsets
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def gradients(self, outputs):
        """Of the sum of these outputs times their weights; tied parameters have several names."""
        loss = sum((self.outputs[name] * self.weights[name]).sum() for name in outputs)
        self.model.zero_grad()
        loss.backward(retain_graph=True)
        return {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            for name, parameter in self.model.named_parameters(remove_duplicate=False)
        }
