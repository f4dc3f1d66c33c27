#pragma once
// A model that says what a function of a row's tokens says. The tokens are its keys and values.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/generate/generate.h"
#include "compress/nn/decoding.h"

namespace compress::generate {

// The logits behind `read` (with an encoder: of `source`), one a token of the vocabulary.
using Speech = std::function<std::vector<float>(const Tokens& source, const Tokens& read)>;

class Script : public nn::Model {
 public:
  Script(int64_t vocabulary, bool encoder, Speech speech)
      : Model(configuration(vocabulary, encoder)), speech_(std::move(speech)) {
    params_.add("nothing", nn::Role::other, -1, torch::zeros({1}));
  }

  nn::Outputs forward(const data::Batch&, const nn::Capture&, const nn::Pass&) override {
    return {};
  }

  nn::Decoding begin_decoding(const data::Batch& batch, int64_t copies, int64_t capacity,
                              const nn::Pass&) override {
    nn::Decoding decoding;
    decoding.capacity = capacity;
    decoding.lengths.assign(static_cast<size_t>(batch.rows() * copies), 0);
    decoding.layers.emplace_back().self =
        torch::zeros({batch.rows() * copies * capacity, 1}, torch::kInt64);
    source_ = batch.token_ids;
    for (int64_t row = 0; config_.encoder_decoder() && row < batch.rows(); ++row)
      for (int64_t copy = 0; copy < copies; ++copy) {
        const auto r = static_cast<size_t>(row);
        decoding.encoder.begin.push_back(batch.row_offsets[r]);
        decoding.encoder.length.push_back(batch.row_offsets[r + 1] - batch.row_offsets[r]);
      }
    return decoding;
  }

  torch::Tensor decode(nn::Decoding& decoding, const data::Batch& tokens,
                       const nn::Pass&) override {
    rows_read.push_back(decoding.rows());
    torch::Tensor logits = torch::empty({decoding.rows(), config_.vocab_size});
    for (int64_t row = 0; row < decoding.rows(); ++row) {
      const auto r = static_cast<size_t>(row);
      auto* places = decoding.layers[0].self.data_ptr<int64_t>() + row * decoding.capacity;
      for (int64_t i = tokens.row_offsets[r]; i < tokens.row_offsets[r + 1]; ++i) {
        EXPECT_LT(decoding.lengths[r], decoding.capacity);
        places[decoding.lengths[r]++] = tokens.token_ids[i].item<int64_t>();
      }
      const std::vector<float> said =
          speech_(source(decoding, r), Tokens(places, places + decoding.lengths[r]));
      std::copy(said.begin(), said.end(), logits[row].data_ptr<float>());
    }
    return logits;
  }

  std::vector<int64_t> rows_read;  // of each call of decode()

 private:
  static nn::ModelConfig configuration(int64_t vocabulary, bool encoder) {
    nn::ModelConfig config;
    config.family = "script";
    config.vocab_size = vocabulary;
    config.layers = 1;
    config.decoder_layers = encoder ? 1 : 0;
    config.max_positions = 64;
    config.head = encoder ? nn::HeadKind::seq2seq_lm : nn::HeadKind::causal_lm;
    return config;
  }
  Tokens source(const nn::Decoding& decoding, size_t row) const {
    if (!config_.encoder_decoder()) return {};
    const auto* from = source_.data_ptr<int64_t>() + decoding.encoder.begin[row];
    return {from, from + decoding.encoder.length[row]};
  }
  Speech speech_;
  torch::Tensor source_;
};

// Logits in -3 to 3 that are a function of all tokens.
inline Speech noise(int64_t vocabulary, uint64_t seed = 1) {
  return [=](const Tokens& source, const Tokens& read) {
    uint64_t hash = mix64(seed);
    for (int64_t token : source) hash = mix64(hash ^ static_cast<uint64_t>(token + 1));
    for (int64_t token : read) hash = mix64(hash * 31 ^ static_cast<uint64_t>(token + 1));
    Random random(hash);
    std::vector<float> logits;
    for (int64_t i = 0; i < vocabulary; ++i)
      logits.push_back(static_cast<float>(6 * random.uniform() - 3));
    return logits;
  };
}

// Logarithms of the probabilities that `table` has for the last token; 0 elsewhere is e^-30.
inline Speech chain(std::vector<std::vector<double>> table) {
  return [table = std::move(table)](const Tokens&, const Tokens& read) {
    std::vector<float> logits;
    for (double p : table[static_cast<size_t>(read.back())])
      logits.push_back(p > 0 ? static_cast<float>(std::log(p)) : -30.F);
    return logits;
  };
}

inline std::vector<Tokens> ids(const std::vector<Sequence>& sequences) {
  std::vector<Tokens> all;
  for (const Sequence& sequence : sequences) all.push_back(sequence.ids);
  return all;
}

}  // namespace compress::generate
