#include <gmock/gmock.h>

#include <cmath>

#include "compress/base/random.h"
#include "compress/nn/architecture.h"
#include "unit/checkpoint/tiny.h"
#include "unit/storage/gguf_files.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using namespace storage::gguf_files;
using checkpoint::load_model;
using ::testing::HasSubstr;

// A GGUF file that grows: values of the metadata, and float32 tensors.
struct Writer {
  std::vector<std::string> values, table;
  std::string data;

  void put(const std::string& name, const torch::Tensor& tensor) {
    std::vector<uint64_t> sizes;
    for (int64_t i = tensor.dim() - 1; i >= 0; --i)
      sizes.push_back(static_cast<uint64_t>(tensor.size(i)));
    table.push_back(storage::gguf_files::tensor(name, sizes, 0, data.size()));
    torch::Tensor flat = tensor.to(torch::kFloat32).contiguous();
    data.append(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
    data.resize((data.size() + 31) / 32 * 32, '\0');
  }
  void integer(const std::string& key, uint32_t value) { values.push_back(number(key, 4, value)); }
  void real(const std::string& key, float value) { values.push_back(number(key, 6, value)); }
  void words(const std::string& key, const std::vector<std::string>& list_of) {
    std::string items;
    for (const std::string& each : list_of) items += storage::gguf_files::text(each);
    values.push_back(list(key, 8, list_of.size(), items));
  }
  fs::path write(const fs::path& path) const {
    write_file(path, file(values, table, data));
    return path;
  }
};

constexpr int64_t hidden = 8, heads = 2, vocabulary = 12, inner = 16;

torch::Tensor counted(std::vector<int64_t> shape, double step = 0.01) {
  torch::Tensor out = torch::empty(shape);
  return out.copy_(torch::arange(out.numel()).reshape(shape) * step);
}

Writer llama(const std::string& arch = "llama", bool tied = true) {
  Writer out;
  out.values.push_back(word("general.architecture", arch));
  for (auto [key, value] : {std::pair{"block_count", 1},
                            {"context_length", 32},
                            {"embedding_length", 8},
                            {"feed_forward_length", 16},
                            {"attention.head_count", 2},
                            {"attention.head_count_kv", 1},
                            {"rope.dimension_count", 4}})
    out.integer(arch + "." + key, static_cast<uint32_t>(value));
  out.real(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
  out.real(arch + ".rope.freq_base", 50000);
  out.put("token_embd.weight", counted({vocabulary, hidden}));
  out.put("output_norm.weight", torch::ones({hidden}));
  if (!tied) out.put("output.weight", counted({vocabulary, hidden}, 0.02));
  out.put("blk.0.attn_norm.weight", torch::ones({hidden}));
  out.put("blk.0.attn_q.weight", counted({hidden, hidden}));
  out.put("blk.0.attn_k.weight", counted({4, hidden}));
  out.put("blk.0.attn_v.weight", counted({4, hidden}, 0.03));
  out.put("blk.0.attn_output.weight", counted({hidden, hidden}));
  out.put("blk.0.ffn_norm.weight", torch::ones({hidden}));
  out.put("blk.0.ffn_gate.weight", counted({inner, hidden}));
  out.put("blk.0.ffn_up.weight", counted({inner, hidden}));
  out.put("blk.0.ffn_down.weight", counted({hidden, inner}));
  return out;
}

Writer bert(bool joined = false, bool segments = true) {
  Writer out;
  out.values.push_back(word("general.architecture", "bert"));
  for (auto [key, value] : {std::pair{"block_count", 1},
                            {"context_length", 16},
                            {"embedding_length", 8},
                            {"feed_forward_length", 16},
                            {"attention.head_count", 2},
                            {"pooling_type", 1}})
    out.integer(std::string("bert.") + key, static_cast<uint32_t>(value));
  out.real("bert.attention.layer_norm_epsilon", 1e-12f);
  out.put("token_embd.weight", counted({vocabulary, hidden}));
  out.put("position_embd.weight", counted({16, hidden}));
  if (segments) out.put("token_types.weight", counted({2, hidden}));
  auto both = [&](const std::string& name, std::vector<int64_t> shape) {
    out.put(name + ".weight", counted(shape));
    out.put(name + ".bias", counted({shape[0]}, 0.1));
  };
  for (const char* norm : {"token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"})
    both(norm, {hidden});
  if (joined)
    both("blk.0.attn_qkv", {3 * hidden, hidden});
  else
    for (const char* part : {"blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v"})
      both(part, {hidden, hidden});
  both("blk.0.attn_output", {hidden, hidden});
  both("blk.0.ffn_up", {inner, hidden});
  both("blk.0.ffn_down", {hidden, inner});
  return out;
}

class GgufModel : public tiny::Scratch {
 protected:
  nn::ModelState load(const Writer& writer) {
    return load_model(writer.write(root_ / "model.gguf"));
  }
  std::string failure(const Writer& writer) {
    return tiny::error_of(ErrorKind::model, [&] { load(writer); });
  }
};

TEST_F(GgufModel, ReadsLlamaAndPutsTheRowsOfQueryAndKeyBack) {
  nn::ModelState state = load(llama());
  const nn::ModelConfig& config = state.config;
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.head, nn::HeadKind::causal_lm);
  EXPECT_EQ(config.layers, 1);
  EXPECT_EQ(config.kv_heads, 1);
  EXPECT_EQ(config.head_width, 4);
  EXPECT_EQ(config.vocab_size, vocabulary);
  EXPECT_EQ(config.max_positions, 32);
  EXPECT_EQ(config.norm_eps, 1e-5);  // not the float32 nearest to it
  EXPECT_EQ(config.rope_theta, 50000);
  EXPECT_TRUE(config.tied);
  // A head of 4 rows lies as 0, 2, 1, 3: (first half, second half) by turns.
  auto rows = [&](const char* name) {
    std::vector<int64_t> order;
    torch::Tensor first = state.tensors.at(name).select(1, 0) / 0.08;
    for (int64_t i = 0; i < first.numel(); ++i)
      order.push_back(std::lround(first[i].item<double>()));
    return order;
  };
  EXPECT_THAT(rows("layers.0.self_attn.q_proj.weight"),
              ::testing::ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(rows("layers.0.self_attn.k_proj.weight"), ::testing::ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(rows("layers.0.self_attn.o_proj.weight"),
              ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_TRUE(torch::equal(state.tensors.at("layers.0.self_attn.v_proj.weight"),
                           counted({4, hidden}, 0.03)));
  EXPECT_NO_THROW(nn::build(state, 0));
}

TEST_F(GgufModel, LeavesTheRowsOfQwenAndReadsItsBiases) {
  Writer file = llama("qwen2", false);
  file.put("blk.0.attn_q.bias", counted({hidden}));
  file.put("blk.0.attn_k.bias", counted({4}));
  file.put("blk.0.attn_v.bias", counted({4}));
  nn::ModelState state = load(file);
  EXPECT_EQ(state.config.family, "qwen2");
  EXPECT_FALSE(state.config.tied);
  EXPECT_TRUE(
      torch::equal(state.tensors.at("lm_head.weight"), counted({vocabulary, hidden}, 0.02)));
  EXPECT_TRUE(torch::equal(state.tensors.at("layers.0.self_attn.q_proj.weight"),
                           counted({hidden, hidden})));
  EXPECT_TRUE(torch::equal(state.tensors.at("layers.0.self_attn.k_proj.bias"), counted({4})));
}

TEST_F(GgufModel, ReadsNormsOfHeadsAndTheirWidth) {
  Writer file = llama("qwen3");
  file.put("blk.0.attn_q_norm.weight", counted({4}));
  file.put("blk.0.attn_k_norm.weight", counted({4}, 0.5));
  file.integer("qwen3.attention.key_length", 4);
  file.integer("qwen3.attention.value_length", 4);
  nn::ModelState state = load(file);
  EXPECT_EQ(state.config.head_width, 4);
  EXPECT_TRUE(
      torch::equal(state.tensors.at("layers.0.self_attn.k_norm.weight"), counted({4}, 0.5)));
}

TEST_F(GgufModel, FindsTheScalingOfRotaryPositions) {
  Writer linear = llama();
  linear.values.push_back(word("llama.rope.scaling.type", "linear"));
  linear.real("llama.rope.scaling.factor", 4);
  EXPECT_EQ(load(linear).config.rope_scaling["rope_type"], "linear");
  EXPECT_EQ(load(linear).config.rope_scaling["factor"], 4.0);
  // Wavelengths are 2 pi and 2 pi sqrt(50000) = 1405 tokens; the second is not beyond 8192 / 4.
  Writer plain = llama();
  plain.put("rope_freqs.weight", torch::ones({2}));
  EXPECT_TRUE(load(plain).config.rope_scaling.is_null());
  Writer wrong = llama();
  wrong.put("rope_freqs.weight", torch::tensor({1.0, 8.0}));
  EXPECT_THAT(failure(wrong), HasSubstr("not the scaling of Llama 3"));
  Writer yarn = llama();
  yarn.values.push_back(word("llama.rope.scaling.type", "yarn"));
  EXPECT_THAT(failure(yarn), HasSubstr("'yarn' are not supported"));
}

TEST_F(GgufModel, FindsTheScalingOfLlama3) {
  Writer file = llama();
  file.values[9] = number("llama.rope.freq_base", 6, 1e10f);  // wavelengths 6.28 and 628,318
  file.put("rope_freqs.weight", torch::tensor({1.0, 32.0}));
  const nn::Json scaling = load(file).config.rope_scaling;
  EXPECT_EQ(scaling["rope_type"], "llama3");
  EXPECT_EQ(scaling["factor"], 32.0);
  EXPECT_EQ(scaling["original_max_position_embeddings"], 8192);
}

TEST_F(GgufModel, ReadsBertAsAnEncoderOfSentences) {
  nn::ModelState state = load(bert());
  EXPECT_EQ(state.config.family, "bert");
  EXPECT_EQ(state.config.head, nn::HeadKind::embedding);
  EXPECT_EQ(state.config.pooling, "mean");
  EXPECT_EQ(state.config.norm_eps, 1e-12);
  EXPECT_TRUE(torch::equal(state.tensors.at("encoder.layer.0.output.dense.weight"),
                           counted({hidden, inner})));
  EXPECT_FALSE(state.tensors.contains("pooler.dense.weight"));
  EXPECT_NO_THROW(nn::build(state, 0));
}

TEST_F(GgufModel, KeepsThePoolingOfADecoder) {
  Writer file = llama();
  file.integer("llama.pooling_type", 3);
  nn::ModelState state = load(file);
  EXPECT_EQ(state.config.head, nn::HeadKind::causal_lm);
  nn::set_head(state, nn::HeadKind::embedding, {}, "auto");
  EXPECT_EQ(state.config.pooling, "lasttoken");
}

TEST_F(GgufModel, CutsJoinedMatricesAndDoesWithoutSegments) {
  nn::ModelState state = load(bert(true, false));
  torch::Tensor matrix = counted({3 * hidden, hidden}), bias = counted({3 * hidden}, 0.1);
  const std::string self = "encoder.layer.0.attention.self.";
  int64_t first = 0;
  for (const char* part : {"query", "key", "value"}) {
    EXPECT_TRUE(
        torch::equal(state.tensors.at(self + part + ".weight"), matrix.narrow(0, first, hidden)));
    EXPECT_TRUE(
        torch::equal(state.tensors.at(self + part + ".bias"), bias.narrow(0, first, hidden)));
    first += hidden;
  }
  EXPECT_EQ(state.tensors.at("embeddings.token_type_embeddings.weight").abs().max().item<double>(),
            0);
}

TEST_F(GgufModel, ReadsGpt2) {
  Writer out;
  out.values.push_back(word("general.architecture", "gpt2"));
  for (auto [key, value] : {std::pair{"block_count", 1},
                            {"context_length", 16},
                            {"embedding_length", 8},
                            {"feed_forward_length", 32},
                            {"attention.head_count", 2}})
    out.integer(std::string("gpt2.") + key, static_cast<uint32_t>(value));
  out.real("gpt2.attention.layer_norm_epsilon", 1e-5f);
  out.put("token_embd.weight", counted({vocabulary, hidden}));
  out.put("position_embd.weight", counted({16, hidden}));
  auto both = [&](const std::string& name, std::vector<int64_t> shape) {
    out.put(name + ".weight", counted(shape));
    out.put(name + ".bias", counted({shape[0]}, 0.1));
  };
  for (const char* norm : {"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"})
    both(norm, {hidden});
  both("blk.0.attn_qkv", {3 * hidden, hidden});
  both("blk.0.attn_output", {hidden, hidden});
  both("blk.0.ffn_up", {32, hidden});
  both("blk.0.ffn_down", {hidden, 32});
  nn::ModelState state = load(out);
  EXPECT_TRUE(torch::equal(state.tensors.at("h.0.attn.c_attn.weight"), counted({24, hidden})));
  EXPECT_NO_THROW(nn::build(state, 0));
}

TEST_F(GgufModel, IsFoundInItsFolder) {
  llama().write(root_ / "weights.Q8_0.gguf");
  EXPECT_EQ(checkpoint::gguf_file(root_), root_ / "weights.Q8_0.gguf");
  EXPECT_EQ(load_model(root_).config.family, "llama");
  EXPECT_EQ(checkpoint::load_config(root_).layers, 1);
  EXPECT_EQ(checkpoint::tensor_shapes(root_).at("embed_tokens.weight"),
            (std::vector<int64_t>{vocabulary, hidden}));
  llama().write(root_ / "other.gguf");
  EXPECT_THAT(tiny::error_of(ErrorKind::model, [&] { load_model(root_); }),
              HasSubstr("several GGUF files: other.gguf, weights.Q8_0.gguf"));
  write_file(root_ / "config.json", "{}");  // a folder in Hugging Face's layout is one
  EXPECT_EQ(checkpoint::gguf_file(root_), fs::path());
}

TEST_F(GgufModel, WritesAFolderThatReadsTheSame) {
  const fs::path source = llama().write(root_ / "model.gguf");
  nn::ModelState state = load_model(source);
  checkpoint::save_model(*nn::build(state, 0), root_ / "out");
  nn::ModelState again = load_model(root_ / "out");
  EXPECT_EQ(again.config.rope_theta, 50000);
  EXPECT_EQ(again.config.head, nn::HeadKind::causal_lm);
  ASSERT_EQ(again.tensors.size(), state.tensors.size());
  for (const auto& [name, tensor] : state.tensors)
    EXPECT_TRUE(torch::equal(again.tensors.at(name), tensor)) << name;
}

TEST_F(GgufModel, SaysWhatDoesNotFit) {
  Writer file = llama();
  file.values[0] = word("general.architecture", "mamba");
  EXPECT_THAT(failure(file), HasSubstr("architecture 'mamba' is not supported"));
  file = llama();
  file.values.erase(file.values.begin());
  EXPECT_THAT(failure(file), HasSubstr("general.architecture' is missing"));
  file = llama();
  file.values.erase(file.values.begin() + 1);
  EXPECT_THAT(failure(file), HasSubstr("'llama.block_count' is missing"));
  file = llama();
  file.table.erase(file.table.begin());
  EXPECT_THAT(failure(file), HasSubstr("no table token_embd.weight"));
  file = llama();
  file.table.pop_back();
  EXPECT_THAT(failure(file), HasSubstr("layers.0.mlp.down_proj.weight is missing"));
  file = llama();
  file.put("blk.0.something.weight", torch::ones({2}));
  EXPECT_THAT(failure(file), HasSubstr("'blk.0.something.weight' is unexpected"));
  file = llama();
  file.put("blk.7.attn_v.weight", torch::ones({4, hidden}));
  EXPECT_THAT(failure(file), HasSubstr("'layers.7.self_attn.v_proj.weight' is unexpected"));
  file = llama();
  file.integer("llama.expert_count", 8);
  EXPECT_THAT(failure(file), HasSubstr("mixtures of experts"));
  file = llama();
  file.integer("split.count", 3);
  EXPECT_THAT(failure(file), HasSubstr("one of several files"));
}

TEST_F(GgufModel, RefusesSizesThatTheFileCannotHold) {
  for (auto [at, key] : {std::pair{1, "block_count"},
                         {3, "embedding_length"},
                         {4, "feed_forward_length"},
                         {5, "attention.head_count"},
                         {6, "attention.head_count_kv"}}) {
    for (uint32_t size : {uint32_t{0}, uint32_t{3}, uint32_t{0x7FFFFFFF}, uint32_t{0xFFFFFFFF}}) {
      Writer file = llama();
      file.values[static_cast<size_t>(at)] = number(std::string("llama.") + key, 4, size);
      EXPECT_FALSE(failure(file).empty()) << key << " " << size;
    }
  }
}

TEST_F(GgufModel, DamageIsRefusedOrHarmless) {
  const std::string good = file(llama().values, llama().table, llama().data);
  const size_t table = good.size() - llama().data.size();
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    constexpr char bytes[] = {0, 1, 2, 8, 64, 127, -1};
    for (int n = 0; n < 2; ++n) bad[random.below(table)] = bytes[random.below(sizeof bytes)];
    write_file(root_ / "bad.gguf", bad);
    try {
      nn::build(load_model(root_ / "bad.gguf"), 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model) << error.message();
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST_F(GgufModel, GivesItsTokenizer) {
  Writer file = bert();
  file.values.push_back(word("tokenizer.ggml.model", "bert"));
  file.words("tokenizer.ggml.tokens",
             {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581good", "\u2581film", "s",
              "\u2581bad", "\u2581.", "ing", "\u2581a"});
  std::string types;
  for (int i = 0; i < 12; ++i) types += raw(int32_t{i < 5 ? 3 : 1});
  file.values.push_back(list("tokenizer.ggml.token_type", 5, 12, types));
  file.integer("tokenizer.ggml.cls_token_id", 2);
  file.integer("tokenizer.ggml.seperator_token_id", 3);
  const fs::path path = file.write(root_ / "model.gguf");
  auto tokenizer = checkpoint::load_tokenizer(path);
  EXPECT_THAT(tokenizer->encode("Good films.").ids, ::testing::ElementsAre(2, 5, 6, 7, 9, 3));
  EXPECT_EQ(tokenizer->special_ids().mask, 4);
  checkpoint::copy_tokenizer(path, root_ / "out");
  EXPECT_EQ(checkpoint::load_tokenizer(root_ / "out")->hash(), tokenizer->hash());
  EXPECT_THAT(
      tiny::error_of(ErrorKind::model,
                     [&] { checkpoint::load_tokenizer(llama().write(root_ / "none.gguf")); }),
      HasSubstr("has no tokenizer"));
}

}  // namespace
}  // namespace compress
