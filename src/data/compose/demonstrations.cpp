// Other rows with their answers in front of a row: what in-context learning shows a model.

#include "compose/components.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::data {

namespace {

struct DemonstrationOptions {
  int64_t count = 4;
  std::string separator = "\n\n";
  int64_t max_length = 1024;
  bool fixed = false;
  int64_t seed = 0;
  int64_t votes = 1;

  static const recipe::Options<DemonstrationOptions>& options() {
    static const auto description =
        recipe::Options<DemonstrationOptions>("demonstrations")
            .field("count", &DemonstrationOptions::count, "rows in front of each row")
            .range(1, 1000)
            .field("separator", &DemonstrationOptions::separator,
                   "text behind each of them; what stands between a text and its answer is part "
                   "of the texts")
            .field("max_length", &DemonstrationOptions::max_length,
                   "tokens of a row with its demonstrations: those that do not fit any more are "
                   "left out, a row itself is never cut for them")
            .range(3, 100000)
            .field("fixed", &DemonstrationOptions::fixed,
                   "the same ones in every epoch and run, drawn by `seed` and the row's number "
                   "alone, as they are in every scoring")
            .field("seed", &DemonstrationOptions::seed,
                   "of those that a row has when it is scored, or with `fixed`")
            .at_least(0)
            .field("votes", &DemonstrationOptions::votes,
                   "how often a row of `task: prompted` is scored, each time behind other "
                   "demonstrations; the answer of most of them counts")
            .range(1, 1000);
    return description;
  }
};

using Tokens = std::span<const int32_t>;

Tokens part(const Split& split, int64_t begin, int64_t end) {
  return {split.ids.data() + begin, static_cast<size_t>(end - begin)};
}

class Demonstrations final : public Composer {
 public:
  Demonstrations(const DemonstrationOptions& options, const ComposedPart& of)
      : options_(options), train_(of.train), end_(of.tokenizer.special_ids().eos) {
    // The special tokens that begin a text, which stand once in a row.
    front_ = of.tokenizer.encode("").ids;
    if (end_ >= 0 && !front_.empty() && front_.back() == end_) front_.pop_back();
    separator_ = of.tokenizer.encode(options.separator, {.add_special_tokens = false}).ids;
  }

  std::vector<Tokens> compose(const Split& split, int64_t row, uint64_t draw) const override {
    const Split& pool = train_ != nullptr ? *train_ : split;
    const bool same = draw == 0 || (options_.fixed && options_.votes == 1);
    const uint64_t seed = same ? static_cast<uint64_t>(options_.seed) : draw;
    Random random(stream_seed(seed, "demonstrations", static_cast<uint64_t>(row)));
    const Parts own = parts_of(split, row);
    std::vector<Tokens> runs = {own.front};
    // Whatever the answer that is tried, it has the same demonstrations.
    int64_t answer = split.length(row) - split.first_lengths[row];
    for (const std::vector<int32_t>& option : split.options)
      answer = std::max(answer, static_cast<int64_t>(option.size()));
    auto left = options_.max_length - split.first_lengths[row] - answer;
    for (int64_t other : draw_rows(pool, split, row, random)) {
      const Parts shown = parts_of(pool, other);
      const auto tokens =
          static_cast<int64_t>(shown.text.size() + shown.answer.size() + separator_.size());
      if (tokens > left) continue;
      left -= tokens;
      for (const Tokens& run : {shown.text, shown.answer, Tokens(separator_)}) runs.push_back(run);
    }
    runs.push_back(own.text);
    runs.push_back(own.target);
    return runs;
  }

  const Split* source() const override { return train_.get(); }
  int64_t most_tokens() const override { return options_.max_length; }
  bool fixed() const override { return options_.fixed; }
  int64_t votes() const override { return options_.votes; }

  std::string summary(const Split& split) const override {
    constexpr int64_t most = 1000;  // rows that are looked at
    const int64_t rows = std::min(split.rows(), most);
    int64_t shown = 0;
    for (int64_t row = 0; row < rows; ++row)
      shown += (static_cast<int64_t>(compose(split, row, 0).size()) - 3) / 3;
    return str(
        "of ", options_.count, " demonstrations a row has ",
        fixed_text(static_cast<double>(shown) / static_cast<double>(std::max<int64_t>(rows, 1))),
        " in the mean (of ", with_commas(rows), " rows)",
        shown < rows * options_.count
            ? str("; the others do not fit into ", options_.max_length, " tokens")
            : "");
  }

 private:
  // A row as the tokens that begin it, those of its text and of its answer; `answer` without the
  // end of the text.
  struct Parts {
    Tokens front, text, target, answer;
  };

  static std::string fixed_text(double value) { return compress::fixed(value, 1); }

  Parts parts_of(const Split& split, int64_t row) const {
    const int64_t begin = split.offsets[row], end = split.offsets[row + 1],
                  middle = begin + split.first_lengths[row];
    Parts parts;
    const Tokens text = part(split, begin, middle);
    const size_t common = static_cast<size_t>(
        std::mismatch(front_.begin(), front_.end(), text.begin(), text.end()).first -
        front_.begin());
    parts.front = text.first(common);
    parts.text = text.subspan(common);
    parts.target = parts.answer = part(split, middle, end);
    if (end_ >= 0 && !parts.answer.empty() && parts.answer.back() == end_)
      parts.answer = parts.answer.first(parts.answer.size() - 1);
    return parts;
  }

  // Different rows of the pool, none of them the row itself nor one with its text.
  std::vector<int64_t> draw_rows(const Split& pool, const Split& split, int64_t row,
                                 Random& random) const {
    const Tokens text = parts_of(split, row).text;
    std::vector<int64_t> drawn;
    const auto rows = static_cast<uint64_t>(pool.rows());
    // Few tries fail where the pool is large; a small one may not have as many.
    for (int64_t tries = 10 * options_.count + 100;
         tries > 0 && static_cast<int64_t>(drawn.size()) < options_.count; --tries) {
      const auto other = static_cast<int64_t>(random.below(rows));
      if (&pool == &split && other == row) continue;
      if (std::find(drawn.begin(), drawn.end(), other) != drawn.end()) continue;
      const Tokens its = parts_of(pool, other).text;
      if (std::equal(its.begin(), its.end(), text.begin(), text.end())) continue;
      drawn.push_back(other);
    }
    return drawn;
  }

  DemonstrationOptions options_;
  std::shared_ptr<const Split> train_;  // null: the split itself
  int32_t end_;
  std::vector<int32_t> front_, separator_;
};

}  // namespace

void add_demonstrations(ComposerRegistry& registry) {
  registry.add(
      recipe::describe<DemonstrationOptions>(
          "composition", "demonstrations",
          "rows of the training part, with their answers, in front of each row",
          "front, (text_j, answer_j, separator) for j = 1 .. count, text, answer, end",
          "in-context tuning: Chen et al. 2022, arXiv 2110.07814; distillation: Huang et al. 2022, "
          "arXiv 2212.10670",
          "For `task: language_model` with a `target`. Demonstrations are drawn from the training "
          "part, in the stream \"demonstrations\", by the stage's seed, the epoch and the row's "
          "number; never the row itself nor one with the same text, in a mixture of the row's own "
          "data set. Whatever scores or annotates draws by `seed` and the row's number alone. They "
          "are tried in the order in which they are drawn, and one that does not fit into "
          "`max_length` is left out; a later, shorter one may fit. Texts are tokenised by "
          "themselves. The mark `answer` is on the row's own answer; `labels` over all tokens is "
          "the language model's loss of the demonstrations as well."),
      {[](const recipe::Component& component) {
         return component.as<DemonstrationOptions>().fixed;
       },
       [](const recipe::Component& component) {
         return component.as<DemonstrationOptions>().max_length;
       },
       [](const recipe::Component& component,
          const ComposedPart& part) -> std::shared_ptr<const Composer> {
         return std::make_shared<const Demonstrations>(component.as<DemonstrationOptions>(), part);
       }});
}

}  // namespace compress::data
