#include "tokens.h"

#include <algorithm>
#include <numeric>

namespace compress::augment {

Vocabulary::Vocabulary(const roles::Scene& scene) {
  const int64_t all = scene.tokenizer->vocabulary_size();
  tokens = std::min(all, scene.embedded_tokens());
  special.assign(static_cast<size_t>(all), false);
  auto detects = [](nn::HeadKind head) { return head == nn::HeadKind::replaced_token; };
  detected = detects(scene.student.head) ||
             std::any_of(scene.student.more_heads.begin(), scene.student.more_heads.end(),
                         [&](const nn::HeadSpec& head) { return detects(head.kind); });
  for (int32_t id : scene.tokenizer->special_ids().markers())
    if (id < all) special[static_cast<size_t>(id)] = true;
}

Changed::Changed(const data::Batch& batch, bool told)
    : options_(batch.token_ids.options().pinned_memory(batch.token_ids.is_pinned())), told_(told) {
  ids_ = torch::empty(batch.token_ids.sizes(), options_).copy_(batch.token_ids);
  labels_ = torch::empty(ids_.sizes(), options_).fill_(-100);
}

void Changed::list(data::Targets& targets) const {
  const auto* label = labels_.const_data_ptr<int64_t>();
  targets.labelled.clear();
  for (int64_t t = 0; t < labels_.size(0); ++t)
    if (label[t] != -100) targets.labelled.push_back(t);
  const auto count = static_cast<int64_t>(targets.labelled.size());
  targets.token_index = torch::empty({count}, options_);
  std::copy(targets.labelled.begin(), targets.labelled.end(),
            targets.token_index.mutable_data_ptr<int64_t>());
}

void Changed::put(data::Batch& batch) const {
  data::Targets& targets = batch.targets;
  list(targets);
  if (told_) targets.changed = torch::empty(ids_.sizes(), options_).copy_(ids_.ne(batch.token_ids));
  batch.token_ids = ids_;
  targets.token_labels = labels_;
  targets.marks.clear();
  batch.part.labelled = -1;  // those of other processes are counted later
}

void Changed::put_all(data::Batch& batch, const char* name) const {
  const torch::Tensor originals = batch.token_ids;
  put(batch);
  data::Targets& targets = batch.targets;
  data::TokenMark chosen{name, torch::empty(labels_.sizes(), options_.dtype(torch::kFloat32)),
                         static_cast<int64_t>(targets.labelled.size())};
  chosen.among.copy_(labels_.ne(-100));
  targets.marks.push_back(std::move(chosen));
  targets.token_labels = torch::empty(originals.sizes(), options_).copy_(originals);
  targets.labelled.resize(static_cast<size_t>(originals.size(0)));
  std::iota(targets.labelled.begin(), targets.labelled.end(), 0);
  targets.token_index = torch::empty(originals.sizes(), options_);
  std::copy(targets.labelled.begin(), targets.labelled.end(),
            targets.token_index.mutable_data_ptr<int64_t>());
}

}  // namespace compress::augment
