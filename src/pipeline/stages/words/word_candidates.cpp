#include "stages/words/word_candidates.h"

#include <algorithm>

#include "compress/base/strings.h"
#include "compress/nn/architecture.h"

namespace compress::pipeline {

using torch::Tensor;

namespace {

constexpr int64_t most_tokens = 16384;  // in one forward pass

}  // namespace

Fillers::Fillers(const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      texts_(static_cast<size_t>(tokenizer.vocabulary_size())),
      front_(encoded("a")) {}

const std::string& Fillers::text(int64_t id) {
  std::optional<std::string>& known = texts_[static_cast<size_t>(id)];
  if (!known) known = look(static_cast<int32_t>(id));
  return *known;
}

std::vector<int32_t> Fillers::encoded(const std::string& text) const {
  return tokenizer_.encode(text, {.add_special_tokens = false}).ids;
}

std::string Fillers::look(int32_t id) const {
  const std::vector<int32_t> markers = tokenizer_.special_ids().markers(), one = {id};
  if (std::find(markers.begin(), markers.end(), id) != markers.end()) return {};
  std::string text(trim(tokenizer_.decode(one)));
  if (text.empty()) return {};
  std::vector<int32_t> expected = front_;
  expected.push_back(id);
  return encoded("a " + text) == expected ? text : std::string();
}

Candidates::Candidates(Asked& asked, const CandidateOptions& options)
    : asked_(asked),
      options_(options),
      fillers_(asked.tokenizer()),
      mask_(asked.tokenizer().special_ids().mask),
      stop_words_(options.stop_words ? std::set<std::string>(options.stop_words->begin(),
                                                             options.stop_words->end())
                                     : english_stop_words()) {
  const nn::Architecture plan = nn::architecture(asked.config());
  how_ = {.max_length = 2 * options.max_length, .offsets = true};
  if (plan.positions == nn::Positions::learned)
    how_.max_length = std::min(how_.max_length, plan.position_rows - plan.position_offset);
  nn::Model& model = asked.model();
  table_ = model.params().find(plan.encoder.word + ".weight")->latent.detach().cpu();
  if (!options.vectors.empty()) near_ = read_vectors(options.vectors, options.vector_words);
}

std::vector<Choice> Candidates::of(const std::string& text) {
  asked_.tokenizer().encode(text, std::string_view(text), how_, pair_);
  std::vector<Choice> choices;
  std::vector<int64_t> masked;  // the token of a word that is one
  std::vector<size_t> whose;    // its place in `choices`
  for (const Word& word : words_in(text)) {
    const std::string_view spelled =
        std::string_view(text).substr(word.begin, word.end - word.begin);
    if (!is_replaceable(spelled, stop_words_)) continue;
    const std::vector<int64_t> tokens = tokens_of(word);
    if (tokens.empty()) continue;  // it was cut off
    Choice& choice = choices.emplace_back(Choice{word, {}});
    if (tokens.size() == 1) {
      masked.push_back(tokens[0]);
      whose.push_back(choices.size() - 1);
    } else {
      choice.candidates = near(lower_ascii(spelled), tokens);
      ++(choice.candidates.empty() ? counts_.without : counts_.near);
    }
  }
  const std::vector<std::vector<std::string>> found = fill(masked);
  for (size_t i = 0; i < found.size(); ++i) {
    choices[whose[i]].candidates = found[i];
    ++(found[i].empty() ? counts_.without : counts_.filled);
  }
  return choices;
}

std::vector<int64_t> Candidates::tokens_of(const Word& word) const {
  std::vector<int64_t> tokens;
  uint32_t end = 0;
  for (int64_t t = 0; t < pair_.first_length; ++t) {
    const auto at = static_cast<size_t>(t);
    if (pair_.special[at] != 0 || pair_.offsets[at].end <= word.begin ||
        pair_.offsets[at].begin >= word.end)
      continue;
    tokens.push_back(t);
    end = std::max(end, pair_.offsets[at].end);
  }
  return end >= word.end ? tokens : std::vector<int64_t>();
}

std::vector<std::vector<std::string>> Candidates::fill(const std::vector<int64_t>& masked) {
  std::vector<std::vector<std::string>> found;
  const auto length = static_cast<int64_t>(pair_.ids.size());
  const auto all = static_cast<int64_t>(masked.size());
  const int64_t step = std::max<int64_t>(1, most_tokens / std::max<int64_t>(1, length));
  for (int64_t begin = 0; begin < all; begin += step)
    fill_some({masked.begin() + begin, masked.begin() + std::min(all, begin + step)}, found);
  return found;
}

void Candidates::fill_some(const std::vector<int64_t>& masked,
                           std::vector<std::vector<std::string>>& found) {
  const data::Batch batch = with_masks(masked).to(asked_.model().device());
  const Tensor logits =
      asked_.model().forward(batch, {}, {false, 0, asked_.precision()}).token_logits.cpu();
  const int64_t words = std::min(logits.size(1), fillers_.size());
  const Tensor best = std::get<1>(
      logits.narrow(1, 0, words).topk(std::min(options_.candidates, words), 1, true, true));
  const auto* id = best.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < best.size(0); ++row) {
    std::vector<std::string>& list = found.emplace_back();
    for (int64_t k = 0; k < best.size(1); ++k) {
      const std::string& text = fillers_.text(id[row * best.size(1) + k]);
      if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end())
        list.push_back(text);
    }
  }
}

data::Batch Candidates::with_masks(const std::vector<int64_t>& masked) const {
  const auto length = static_cast<int64_t>(pair_.ids.size());
  data::Split split;
  split.task = data::Task::unlabelled;
  split.offsets = {0};
  std::vector<int64_t> rows, labels(masked.size() * pair_.ids.size(), -100);
  data::Targets targets;
  for (size_t i = 0; i < masked.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    rows.push_back(row);
    split.ids.append(pair_.ids);
    split.offsets.push_back(length * (row + 1));
    split.first_lengths.push_back(static_cast<int32_t>(pair_.first_length));
    split.lines.push_back(row + 1);
    targets.labelled.push_back(row * length + masked[i]);
    int32_t& token = split.ids.edit()[static_cast<size_t>(targets.labelled.back())];
    labels[static_cast<size_t>(targets.labelled.back())] = token;
    token = mask_;
  }
  data::Batch batch = data::pack(split, rows);
  targets.token_labels = torch::tensor(labels);
  targets.token_index = torch::tensor(targets.labelled);
  batch.targets = std::move(targets);
  return batch;
}

std::vector<std::string> Candidates::near(const std::string& word,
                                          const std::vector<int64_t>& tokens) {
  if (!options_.vectors.empty()) {
    const Tensor vector = near_.find(word);
    return vector.defined() ? near_.nearest(vector, word, options_.candidates)
                            : std::vector<std::string>();
  }
  if (near_.size() == 0) near_ = own_words();
  std::vector<int64_t> ids;
  for (int64_t token : tokens) ids.push_back(pair_.ids[static_cast<size_t>(token)]);
  return near_.nearest(table_.index_select(0, torch::tensor(ids)).mean(0), word,
                       options_.candidates);
}

NearWords Candidates::own_words() {
  std::vector<std::string> words;
  std::vector<int64_t> ids;
  std::set<std::string> seen;
  for (int64_t id = 0; id < std::min(fillers_.size(), table_.size(0)); ++id) {
    const std::string& text = fillers_.text(id);
    if (!only_letters(text) || !seen.insert(text).second) continue;
    words.push_back(text);
    ids.push_back(id);
  }
  return {words, table_.index_select(0, torch::tensor(ids, torch::kInt64))};
}

}  // namespace compress::pipeline
