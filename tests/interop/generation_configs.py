"""generation_config.json as published models have it, by the model's name: the family here whose
small random model reads it, and what the file says (`transformers_version` apart)."""

OF_CONFIG = {"_from_model_config": True}
GPT2 = OF_CONFIG | {"bos_token_id": 50256, "eos_token_id": 50256}
LLAMA2 = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
QWEN = {"bos_token_id": 151643, "eos_token_id": [151645, 151643], "pad_token_id": 151643}
BART = {"bos_token_id": 0, "decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1,
        "forced_eos_token_id": 2}
SUMMARY = BART | {"early_stopping": True, "forced_bos_token_id": 0, "no_repeat_ngram_size": 3}
PEGASUS = {"bos_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
           "forced_eos_token_id": 1}
MARIAN = {"bad_words_ids": [[65000]], "bos_token_id": 0, "decoder_start_token_id": 65000,
          "eos_token_id": 0, "forced_eos_token_id": 0, "num_beams": 4, "pad_token_id": 65000,
          "max_length": 512, "renormalize_logits": True}
T5 = OF_CONFIG | {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}

PUBLISHED = {
    "gpt2": ("gpt2", GPT2),
    "distilgpt2": ("gpt2", GPT2),
    "gpt-neo-125m": ("gpt2", GPT2),
    "phi-2": ("gpt2", GPT2),
    "codegen-350M-mono": ("gpt2", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 50256}),
    "pythia-160m": ("gpt2", OF_CONFIG | {"bos_token_id": 0, "eos_token_id": 0}),
    "falcon-7b": ("gpt2", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 11}),
    "bloom-560m": ("gpt2", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}),
    "german-gpt2": ("gpt2", {"bos_token_id": 50256, "eos_token_id": 50256, "do_sample": True,
                             "max_length": 50}),
    "opt-125m": ("opt", OF_CONFIG | {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}),
    "opt-1.3b": ("opt", OF_CONFIG | {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}),
    "Llama-2-7b-hf": ("llama", LLAMA2 | {"do_sample": True, "temperature": 0.6, "top_p": 0.9,
                                         "max_length": 4096}),
    "Llama-2-7b-chat-hf": ("llama", LLAMA2 | {"do_sample": True, "temperature": 0.6, "top_p": 0.9,
                                              "max_length": 4096}),
    "vicuna-7b-v1.5": ("llama", OF_CONFIG | LLAMA2 | {"temperature": 0.9, "top_p": 0.6,
                                                      "max_length": 4096}),
    "TinyLlama-1.1B-Chat-v1.0": ("llama", LLAMA2 | {"max_length": 2048}),
    "Meta-Llama-3-8B-Instruct": ("llama", {
        "bos_token_id": 128000, "eos_token_id": [128001, 128009], "do_sample": True,
        "temperature": 0.6, "max_length": 4096, "top_p": 0.9}),
    "Llama-3.1-8B-Instruct": ("llama", {
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "do_sample": True,
        "temperature": 0.6, "top_p": 0.9}),
    "SmolLM2-135M": ("llama", OF_CONFIG | {"bos_token_id": 0, "eos_token_id": 0}),
    "SmolLM2-135M-Instruct": ("llama", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 2,
                                                    "pad_token_id": 2}),
    "Phi-3-mini-4k-instruct": ("llama", OF_CONFIG | {
        "bos_token_id": 1, "eos_token_id": [32000, 32001, 32007], "pad_token_id": 32000}),
    "gemma-2b": ("llama", OF_CONFIG | {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}),
    "gemma-3-1b-it": ("llama", {
        "bos_token_id": 2, "cache_implementation": "hybrid", "do_sample": True,
        "eos_token_id": [1, 106], "pad_token_id": 0, "top_k": 64, "top_p": 0.95}),
    "LFM2-350M": ("llama", {
        "bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0, "do_sample": True,
        "temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}),
    "Mistral-7B-v0.1": ("mistral", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 2}),
    "Mistral-7B-Instruct-v0.2": ("mistral", OF_CONFIG | {"bos_token_id": 1, "eos_token_id": 2}),
    "Qwen2-0.5B": ("qwen2", {"bos_token_id": 151643, "do_sample": False, "eos_token_id": 151643,
                             "max_new_tokens": 2048}),
    "Qwen2-0.5B-Instruct": ("qwen2", QWEN | {
        "do_sample": True, "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8,
        "top_k": 20}),
    "Qwen2.5-0.5B-Instruct": ("qwen2", QWEN | {
        "do_sample": True, "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8,
        "top_k": 20}),
    "DeepSeek-R1-Distill-Qwen-1.5B": ("qwen2", OF_CONFIG | {
        "bos_token_id": 151646, "eos_token_id": 151643, "do_sample": True, "temperature": 0.6,
        "top_p": 0.95}),
    "Qwen3-0.6B": ("qwen3", QWEN | {"do_sample": True, "temperature": 0.6, "top_k": 20,
                                    "top_p": 0.95}),
    "bart-base": ("bart", SUMMARY | {"num_beams": 4}),
    "bart-large-cnn": ("bart", SUMMARY | {"length_penalty": 2.0, "max_length": 142,
                                          "min_length": 56, "num_beams": 4}),
    "bart-large-xsum": ("bart", SUMMARY | {"max_length": 62, "min_length": 11, "num_beams": 6}),
    "distilbart-cnn-12-6": ("bart", SUMMARY | {"length_penalty": 2.0, "max_length": 142,
                                               "min_length": 56, "num_beams": 4}),
    "mbart-large-50": ("bart", BART | {"early_stopping": True, "max_length": 200, "num_beams": 5}),
    "pegasus-xsum": ("bart", PEGASUS | {"length_penalty": 0.6, "max_length": 64, "num_beams": 8}),
    "pegasus-cnn_dailymail": ("bart", PEGASUS | {"length_penalty": 0.8, "max_length": 128,
                                                 "min_length": 32, "num_beams": 8}),
    "opus-mt-en-de": ("bart", MARIAN),
    "t5-small": ("t5", T5),
    "flan-t5-base": ("t5", T5),
    "mt5-small": ("t5", T5),
}
