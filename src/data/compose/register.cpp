#include "compose/components.h"

#include <algorithm>

#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/mixture.h"

namespace compress::data {

const ComposerRegistry& composers() {
  static const ComposerRegistry registry = [] {
    ComposerRegistry list("composition");
    add_demonstrations(list);
    return list;
  }();
  return registry;
}

uint64_t Composer::vote_draw(int64_t vote) {
  return vote == 0 ? 0 : stream_seed(0, "votes", static_cast<uint64_t>(vote));
}

bool redraws_rows(const DatasetOptions& options) {
  return options.compose && !composers().maker(options.compose).fixed(options.compose);
}

int64_t longest_row(const DatasetOptions& options, std::optional<int64_t> places) {
  auto at_most = [&](int64_t tokens) { return places ? std::min(tokens, *places) : tokens; };
  const Task task = task_of(options);
  if (task == Task::sequence_to_sequence)
    return at_most(options.max_length) + at_most(options.max_target_length);
  const bool answered = !options.target.empty() || task == Task::prompted;
  int64_t tokens = options.max_length + (answered ? options.max_target_length : 0);
  if (options.compose)
    tokens = std::max(tokens, composers().maker(options.compose).most_tokens(options.compose));
  return at_most(tokens);
}

const Composer* composer_of(const Split& split) {
  if (split.mixture == nullptr) return split.composer.get();
  for (const Mixture::Source& source : split.mixture->sources)
    if (source.split->composer != nullptr) return source.split->composer.get();
  return nullptr;
}

std::string composed_hash(const DatasetOptions& options, const std::string& part,
                          const std::string& rows, const std::string& train) {
  Sha256 hash;
  hash.part(rows);
  hash.part(recipe::to_yaml(recipe::Registry::write(options.compose)));
  if (part != "train") hash.part(train);
  return hash.hex();
}

void compose_rows(const DatasetOptions& options, const text::Tokenizer& tokenizer, int threads,
                  Split& split) {
  std::shared_ptr<const Split> train;
  if (split.name != "train") {
    DatasetOptions alone = options;
    alone.compose = {};
    train = std::make_shared<const Split>(load_split(alone, "train", tokenizer, {}, threads));
  }
  split.composer =
      composers().maker(options.compose).make(options.compose, {split, tokenizer, train});
  split.content_hash = composed_hash(options, split.name, split.content_hash,
                                     train != nullptr ? train->content_hash : "");
  log::info(str(split.file.string(), ": ", split.composer->summary(split)));
}

}  // namespace compress::data
