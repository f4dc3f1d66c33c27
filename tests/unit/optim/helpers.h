#pragma once
// Parameters by hand and components from recipe text.

#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"
#include "compress/optim/optim.h"
#include "support/failure.h"
#include "support/scene.h"

namespace compress::optim {

template <class Make>
auto made(const recipe::RegistryOf<Make>& registry, const std::string& text) {
  recipe::Component component;
  recipe::Problems problems;
  registry.read(recipe::parse_text(text), component, problems);
  problems.raise();
  return registry.maker(component)(component);
}

// A matrix, a bias, a norm and an embedding, filled from a fixed seed.
struct SmallModel {
  nn::ParamTable table;
  nn::Parameter *matrix, *bias, *norm, *embedding;
  explicit SmallModel(uint64_t seed = 1) {
    torch::manual_seed(seed);
    matrix = &table.add("layer.weight", nn::Role::query, 0, torch::randn({3, 4}));
    bias = &table.add("layer.bias", nn::Role::bias, 0, torch::randn({3}));
    norm = &table.add("norm.weight", nn::Role::norm, 0, torch::randn({4}));
    embedding = &table.add("words.weight", nn::Role::embedding, -1, torch::randn({6, 4}));
  }
  std::vector<nn::Parameter*> all() { return table.trainable(); }
  std::vector<torch::Tensor> copies() {
    std::vector<torch::Tensor> list;
    for (nn::Parameter* p : all()) list.push_back(p->latent.detach().clone());
    return list;
  }
  void random_gradients() {
    for (nn::Parameter* p : all()) p->latent.mutable_grad() = torch::randn_like(p->latent).detach();
  }
};

inline double furthest(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.detach() - b.detach()).abs().max().item<double>();
}

}  // namespace compress::optim
