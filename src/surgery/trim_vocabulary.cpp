// Fewer tokens: those that some texts use.

#include <algorithm>
#include <unordered_map>

#include "axes.h"
#include "components.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/nn/outline.h"
#include "compress/text/batch.h"

namespace compress::surgery {

namespace {

struct TrimVocabularyOptions {
  std::vector<recipe::DataReference> data;
  int64_t at_least = 1;

  static const recipe::Options<TrimVocabularyOptions>& options() {
    using O = TrimVocabularyOptions;
    static const auto description =
        recipe::Options<O>("trim_vocabulary")
            .field("data", &O::data, "data sets whose training texts count: a name, or several")
            .required()
            .field("at_least", &O::at_least, "a token stays that occurs so often in these texts")
            .at_least(1)
            .check([](const O& o, const recipe::Mark& mark, recipe::Problems& problems) {
              if (o.data.empty())
                problems.add(mark, "trim_vocabulary names no data set", "give at least one");
            })
            .shorthand("data");
    return description;
  }
};

// How often tokens and words occur in texts. Words are what lies between white space.
class Count {
 public:
  explicit Count(const text::Tokenizer& tokenizer)
      : tokenizer_(tokenizer), tokens_(static_cast<size_t>(tokenizer.vocabulary_size())) {}

  void add(std::string_view text) {
    texts_.emplace_back(text);
    bytes_ += text.size();
    if (bytes_ >= most_bytes) finish();
  }
  void finish() {
    for (int32_t id : encoded(tokenizer_, texts_).ids) ++tokens_[static_cast<size_t>(id)];
    for (const std::string& text : texts_) add_words(text);
    texts_.clear();
    bytes_ = 0;
  }
  const std::vector<int64_t>& tokens() const { return tokens_; }

  // How many words there are, how many of them have more tokens with `other`, and how many are
  // unknown with it and were not. Each is read by itself, with a space before it where it does not
  // begin its text.
  struct Changes {
    int64_t words = 0, split = 0, unknown = 0;
  };
  Changes changes(const text::Tokenizer& other) const {
    std::vector<std::string> words;
    std::vector<int64_t> counts;
    for (const auto& [word, count] : words_) {
      words.push_back(word);
      counts.push_back(count);
    }
    const text::PackedIds before = encoded(tokenizer_, words), after = encoded(other, words);
    Changes found;
    for (size_t i = 0; i < words.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      found.words += counts[i];
      const bool lost = !has(before.text(at), tokenizer_.special_ids().unk) &&
                        has(after.text(at), other.special_ids().unk);
      if (lost) found.unknown += counts[i];
      if (!lost && after.text(at).size() > before.text(at).size()) found.split += counts[i];
    }
    return found;
  }

 private:
  static constexpr size_t most_bytes = size_t{4} << 20;  // so much text is encoded at once

  static text::PackedIds encoded(const text::Tokenizer& tokenizer,
                                 const std::vector<std::string>& texts) {
    text::EncodeOptions how;
    how.add_special_tokens = false;
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    return text::encode_all(tokenizer, views, {}, how);
  }
  static bool has(std::span<const int32_t> ids, int32_t id) {
    return id >= 0 && std::find(ids.begin(), ids.end(), id) != ids.end();
  }
  void add_words(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n\f\v";
    for (size_t at = text.find_first_not_of(blanks); at != text.npos;) {
      const size_t end = std::min(text.find_first_of(blanks, at), text.size());
      ++words_[(at > 0 ? " " : "") + std::string(text.substr(at, end - at))];
      at = text.find_first_not_of(blanks, end);
    }
  }

  const text::Tokenizer& tokenizer_;
  std::vector<int64_t> tokens_;
  std::unordered_map<std::string, int64_t> words_;
  std::vector<std::string> texts_;
  size_t bytes_ = 0;
};

// Tokens that config.json gives a role.
std::vector<int64_t> ids_of_roles(nn::ModelConfig config) {
  std::vector<int64_t> ids = config.eos_token_ids;
  for (int64_t id : {config.pad_token_id, config.bos_token_id, config.decoder_start_token_id,
                     config.forced_bos_token_id})
    ids.push_back(id);
  text::visit_token_ids(config.raw, [&](int64_t& id) { ids.push_back(id); });
  return ids;
}

std::vector<bool> wanted_tokens(const Count& count, int64_t at_least,
                                const nn::ModelConfig& config) {
  std::vector<bool> wanted;
  for (int64_t times : count.tokens()) wanted.push_back(times >= at_least);
  for (int64_t id : ids_of_roles(config)) {
    if (id < 0) continue;
    if (id >= static_cast<int64_t>(wanted.size()))
      throw Error(ErrorKind::model,
                  str("config.json gives token ", id, " a role, and the tokenizer has only ",
                      wanted.size(), " tokens"));
    wanted[static_cast<size_t>(id)] = true;
  }
  return wanted;
}

void renumber_config(nn::ModelConfig& config, const std::vector<int32_t>& kept) {
  std::unordered_map<int64_t, int64_t> now;
  for (size_t id = 0; id < kept.size(); ++id) now[kept[id]] = static_cast<int64_t>(id);
  auto renumber = [&](int64_t& id) {
    if (const auto found = now.find(id); found != now.end()) id = found->second;
  };
  const int64_t offset = nn::architecture(config).position_offset;
  for (int64_t* id : {&config.pad_token_id, &config.bos_token_id, &config.decoder_start_token_id,
                      &config.forced_bos_token_id})
    renumber(*id);
  for (int64_t& id : config.eos_token_ids) renumber(id);
  text::visit_token_ids(config.raw, renumber);
  config.vocab_size = static_cast<int64_t>(kept.size());
  if (nn::architecture(config).position_offset != offset)
    throw Error(ErrorKind::recipe,
                "the padding token would get another number, and with it every position", {},
                "the vocabulary of this model cannot be trimmed");
}

// The rows (or columns) that count tokens, at the kept ones.
void select_tokens(nn::ModelState& state, const std::vector<int32_t>& kept) {
  const torch::Tensor rows =
      torch::tensor(std::vector<int64_t>(kept.begin(), kept.end()), torch::kInt64);
  const int64_t old = state.config.vocab_size;
  std::unordered_map<std::string, int64_t> dimensions;
  for (const Sized& tensor : sized_tensors(state.config)) {
    if (tensor.rows == Axis::vocabulary) dimensions[tensor.name] = 0;
    if (tensor.columns == Axis::vocabulary) dimensions[tensor.name] = 1;
  }
  for (const auto& [name, dimension] : dimensions)
    for (nn::TensorMap* tensors : {&state.tensors, &state.weight_scales}) {
      const auto found = tensors->find(name);
      if (found == tensors->end() || found->second.dim() <= dimension) continue;
      const int64_t size = found->second.size(dimension);
      if (tensors == &state.weight_scales && size == 1) continue;  // one scale for all rows
      if (size != old)
        throw Error(ErrorKind::model,
                    str(name, " has ", size, " tokens, and config.json says ", old));
      found->second = nn::entries(found->second, dimension, rows);
    }
}

// The files say what they must: each token has the id that its row got.
void check_tokenizer(const text::Tokenizer& now, const std::vector<std::string>& tokens) {
  bool same = now.vocabulary_size() == static_cast<int64_t>(tokens.size());
  for (size_t id = 0; same && id < tokens.size(); ++id)
    same = now.token_to_id(tokens[id]) == static_cast<int32_t>(id);
  if (!same)
    throw Error(ErrorKind::internal, "the trimmed tokenizer numbers its tokens in another way");
}

std::string percent(int64_t part, int64_t whole) {
  const double share =
      whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return fixed(share, 2) + " %";
}

void plan(const TrimVocabularyOptions& options, nn::ModelState& state) {
  state.history.push_back(
      str("trim_vocabulary: keeps the tokens that ", join(recipe::names_of(options.data), ", "),
          " has ", with_commas(options.at_least), options.at_least == 1 ? " time" : " times",
          " or more; how many is known when the texts are read, at most ",
          with_commas(state.config.vocab_size)));
}

void edit(const TrimVocabularyOptions& options, const recipe::Mark& mark, nn::ModelState& state,
          Workshop& workshop) {
  if (workshop.planning()) return plan(options, state);
  const text::Tokenizer& before = workshop.tokenizer(mark);
  const int64_t rows = state.config.vocab_size;
  Count count(before);
  for (const recipe::DataReference& data : options.data)
    workshop.texts(data, mark, [&](std::string_view text) { count.add(text); });
  count.finish();
  const std::vector<bool> wanted = wanted_tokens(count, options.at_least, state.config);
  const text::TrimmedTokenizer trimmed =
      text::trim_tokenizer(workshop.tokenizer_folder(mark), before, wanted);
  std::vector<std::string> tokens;
  int64_t all = 0, covered = 0;
  for (int32_t id : trimmed.kept) {
    if (id >= rows)
      throw Error(ErrorKind::recipe,
                  str("the token '", before.id_to_token(id).value_or(""), "' has number ", id,
                      ", and the model's embedding has ", rows, " rows"),
                  {}, "give it a row with resize_vocabulary in a stage before");
    tokens.emplace_back(before.id_to_token(id).value_or(""));
    covered += count.tokens()[static_cast<size_t>(id)];
  }
  for (int64_t times : count.tokens()) all += times;
  select_tokens(state, trimmed.kept);
  renumber_config(state.config, trimmed.kept);
  workshop.replace_tokenizer(trimmed.files, mark);
  const text::Tokenizer& after = workshop.tokenizer(mark);
  check_tokenizer(after, tokens);
  const Count::Changes changes = count.changes(after);
  state.history.push_back(
      str("trim_vocabulary: ", with_commas(rows), " tokens to ",
          with_commas(state.config.vocab_size), "; of the ", with_commas(all), " tokens of ",
          join(recipe::names_of(options.data), ", "), " ", percent(covered, all), " stay, of its ",
          with_commas(changes.words), " words ", percent(changes.split, changes.words),
          " split further and ", percent(changes.unknown, changes.words), " become unknown"));
}

void trim_vocabulary(const recipe::Component& component, nn::ModelState& state,
                     Workshop& workshop) {
  torch::NoGradGuard no_grad;
  with_place(component.mark.text(),
             [&] { edit(component.as<TrimVocabularyOptions>(), component.mark, state, workshop); });
}

}  // namespace

void add_trim_vocabulary(EditRegistry& registry) {
  registry.add(
      recipe::describe<TrimVocabularyOptions>(
          "surgery", "trim_vocabulary",
          "keeps the tokens that some texts use, and the tokenizer and the tables with them",
          "V' = {v : count(v) >= at_least} + special tokens + single characters and bytes,\n"
          "closed under the parts of merges;  E'[i] = E[v_i], v_i the i-th token of V' in the old "
          "order",
          "Abdaoui et al. 2020, arXiv 2010.05609 (the tokens that a corpus uses)",
          "WordPiece, BPE and Unigram tokenizers; whichever files the folder has are rewritten. A "
          "text whose tokens all stay has the same tokens as before, with new numbers. Embeddings, "
          "output layers, tied or not, and their biases keep the rows of the kept tokens; rows "
          "without a token go. The stage says which share of the data's tokens stays and which "
          "share of its words splits further. A teacher must read the same tokens: trim the "
          "teacher in its own stage, and start the student from that stage. A plan shows the old "
          "size, as it reads no texts."),
      trim_vocabulary, {.new_tokenizer = true, .new_vocabulary = true});
}

}  // namespace compress::surgery
