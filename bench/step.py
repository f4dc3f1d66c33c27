"""A stage's step beside Hugging Face's and beside its matrix products."""

import peers
import torch
import training


def compare(options, title, recipe, stage, layers, taught):
    """layers: those of the student (None: all six). taught: by the six-layer model."""

    def peer(**how):
        return training.HuggingFace(
            options.batch, layers, teacher=taught, device=options.device, **how
        )

    precisions = peers.precisions(options.device)
    entries = {"Hugging Face float32": peer()}
    if "bf16" in precisions:
        entries["Hugging Face bf16, random order"] = peer(bf16=True, by_length=False)
        entries["Hugging Face bf16"] = peer(bf16=True)
    if not options.no_compile:
        best = precisions[-1]
        entries[f"Hugging Face {best} torch.compile"] = peer(bf16=best == "bf16", compiled=True)
    for precision in precisions:
        entries[f"compress {precision}"] = peers.Ours(
            recipe, stage, options.batch, precision, device=options.device
        )
    first = entries["Hugging Face float32"]
    trained = len(first.student.bert.encoder.layer)
    for name in precisions:
        dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[name]
        entries[f"matrix products {name}"] = training.Products(
            first, 6 if taught else 0, trained, dtype
        )
    found = peers.alternate(entries, options.steps, options.rounds)
    where = f"{torch.get_num_threads()} threads" if options.device == "cpu" else options.device
    peers.table(f"{title}, batch {options.batch}, {where}, samples/s", found)
    peers.ratio(found)
    peers.ratio(found, peer="matrix products")
