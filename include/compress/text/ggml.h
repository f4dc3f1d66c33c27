#pragma once
// Tokenizers out of GGUF files. The reader of the container hands over plain lists.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/text/files.h"
#include "compress/text/tokenizer.h"

namespace compress::text {

// What a GGUF file says under tokenizer.ggml.*; the comments name the keys.
struct GgmlTokenizer {
  // "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "bert" (WordPiece)
  std::string model;
  std::string pre;                  // "gpt-2", "smollm", "llama-bpe", "qwen2"; "gpt2" models only
  std::vector<std::string> tokens;  // by id
  // By id, or empty: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
  std::vector<int32_t> types;       // token_type
  std::vector<float> scores;        // by id; "llama" models only
  std::vector<std::string> merges;  // "left right", best first; "gpt2" models only
  int64_t bos = -1, eos = -1;       // bos_token_id, eos_token_id
  int64_t unk = -1, pad = -1;       // unknown_token_id, padding_token_id
  int64_t cls = -1, sep = -1;       // cls_token_id, seperator_token_id; "bert" models only
  int64_t mask = -1;                // mask_token_id
  std::optional<bool> add_bos;      // add_bos_token; by default what the model's family does
  bool add_eos = false;             // add_eos_token
  bool add_space_prefix = true;     // "llama" models only
  bool lowercase = true;            // normalizer.lowercase; "bert" models only
};

// `where` is the file to name in errors. Throws Error{model} naming what is unsupported or wrong.
std::unique_ptr<Tokenizer> load_ggml_tokenizer(const GgmlTokenizer& parts,
                                               const std::string& where);

// The same tokenizer as the files of a Hugging Face folder.
TokenizerFiles ggml_tokenizer_files(const GgmlTokenizer& parts, const std::string& where);

}  // namespace compress::text
