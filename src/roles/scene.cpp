#include "compress/roles/scene.h"

#include <algorithm>

namespace compress::roles {

const nn::ModelConfig* Scene::teacher(const std::string& name) const {
  for (const Voice& voice : teachers)
    if (voice.name == name) return voice.config;
  return nullptr;
}

int64_t Scene::embedded_tokens() const {
  int64_t tokens = student.vocab_size;
  for (const Voice& voice : teachers)
    if (!voice.own_tokens) tokens = std::min(tokens, voice.config->vocab_size);
  return tokens;
}

std::vector<nn::Parameter*> Scene::trained() const {
  std::vector<nn::Parameter*> list = weights.trainable();
  for (nn::Parameter& parameter : helpers.list()) list.push_back(&parameter);
  return list;
}

}  // namespace compress::roles
