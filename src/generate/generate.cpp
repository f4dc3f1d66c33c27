#include "compress/generate/generate.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "beams.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "continuations.h"
#include "scores.h"

namespace compress::generate {

namespace {

// Tokens that count for what may be repeated: the prompt of a decoder alone, else its start token.
Tokens beginning(const nn::Model& model, const Tokens& prompt, const Options& options) {
  return model.config().encoder_decoder() ? Tokens{options.decoder_start} : prompt;
}

Limits limits_of(const nn::Model& model, const Tokens& prompt, const Options& options) {
  return limits(options, model.config(), static_cast<int64_t>(prompt.size()));
}

Scores row_of(torch::Tensor& scores, int64_t row) {
  const auto width = static_cast<size_t>(scores.size(1));
  return {scores.data_ptr<float>() + row * scores.size(1), width};
}

template <class Work>
void each_row(int64_t rows, const Work& work) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) work(row);
  });
}

// A row of greedy search or sampling.
struct Row {
  int64_t prompt = 0, sequence = 0;
  Tokens history;  // the beginning, then new tokens
  size_t begin = 0;
  Limits limits;
  double score = 0;

  std::span<const int64_t> fresh() const { return std::span(history).subspan(begin); }
  bool ended(const Options& options) const {
    if (static_cast<int64_t>(fresh().size()) >= limits.most) return true;
    const auto& eos = options.eos;
    return std::find(eos.begin(), eos.end(), history.back()) != eos.end() ||
           (options.stop && options.stop(fresh()));
  }
};

void choose(Row& row, Scores scores, const Options& options) {
  const auto fresh = static_cast<int64_t>(row.fresh().size());
  process(scores, row.history, fresh, row.limits, options);
  const int64_t token =
      options.sample
          ? draw(scores, uniform(options, options.first_row + row.prompt, row.sequence, fresh))
          : best(scores);
  row.history.push_back(token);
}

// Chooses each row's next token and adds its log-probability to the row's score.
void step(std::vector<Row>& rows, torch::Tensor& scores, const Options& options) {
  each_row(static_cast<int64_t>(rows.size()),
           [&](int64_t i) { choose(rows[static_cast<size_t>(i)], row_of(scores, i), options); });
  const torch::Tensor totals = at::logsumexp(scores, 1);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const float chosen = row_of(scores, row)[static_cast<size_t>(rows[i].history.back())];
    rows[i].score += chosen - totals.data_ptr<float>()[row];
  }
}

std::vector<Row> beginnings(const nn::Model& model, const std::vector<Tokens>& prompts,
                            const Options& options) {
  std::vector<Row> rows;
  for (size_t prompt = 0; prompt < prompts.size(); ++prompt)
    for (int64_t sequence = 0; sequence < options.sequences; ++sequence) {
      Tokens begin = beginning(model, prompts[prompt], options);
      const size_t length = begin.size();
      rows.push_back({static_cast<int64_t>(prompt), sequence, std::move(begin), length,
                      limits_of(model, prompts[prompt], options)});
    }
  return rows;
}

// Moves the rows that ended into `all`, and says which ones, by number, are left.
std::vector<int64_t> take_ended(std::vector<Row>& rows, std::vector<Sequence>& all,
                                const Options& options) {
  std::vector<Row> left;
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    if (row.ended(options)) {
      all[static_cast<size_t>(row.prompt * options.sequences + row.sequence)] = {
          {row.fresh().begin(), row.fresh().end()}, row.score};
      continue;
    }
    numbers.push_back(static_cast<int64_t>(i));
    left.push_back(std::move(row));
  }
  rows = std::move(left);
  return numbers;
}

// Greedy search and sampling.
std::vector<Sequence> row_by_row(nn::Model& model, const std::vector<Tokens>& prompts,
                                 const Options& options) {
  std::vector<Sequence> all(prompts.size() * static_cast<size_t>(options.sequences));
  Continuations continuations(model, prompts, options);
  std::vector<Row> rows = beginnings(model, prompts, options);
  torch::Tensor scores = continuations.first();
  if (options.sequences > 1) {
    std::vector<int64_t> parents;
    for (const Row& row : rows) parents.push_back(row.prompt);
    continuations.select(parents);
    scores = scores.index_select(0, torch::tensor(parents));
  }
  for (;;) {
    step(rows, scores, options);
    const std::vector<int64_t> left = take_ended(rows, all, options);
    if (rows.empty()) return all;
    continuations.select(left);
    Tokens last;
    for (const Row& row : rows) last.push_back(row.history.back());
    scores = continuations.read(last);
  }
}

// A prompt whose beams run, and the model's rows that they read.
struct Search {
  size_t prompt = 0;
  Tokens beginning;
  Limits limits;
  Beams beams;
  std::vector<int64_t> rows;
};

void advance(Search& search, torch::Tensor& scores, int64_t fresh, const Options& options) {
  std::vector<std::span<const float>> rows;
  int64_t before = -1;
  for (size_t beam = 0; beam < search.rows.size(); ++beam) {
    const int64_t row = search.rows[beam];
    if (row != before) {  // all beams share the first step's row
      Tokens history = search.beginning;
      const Tokens& tokens = search.beams.tokens(static_cast<int64_t>(beam));
      history.insert(history.end(), tokens.begin(), tokens.end());
      process(row_of(scores, row), history, fresh, search.limits, options);
    }
    rows.push_back(row_of(scores, row));
    before = row;
  }
  search.beams.advance(rows);
}

// Moves what was found by searches that are done into `found`.
void take_done(std::vector<Search>& searches, std::vector<std::vector<Sequence>>& found,
               const Options& options) {
  std::vector<Search> left;
  for (Search& search : searches) {
    if (search.beams.done())
      found[search.prompt] = search.beams.finished(options.sequences);
    else
      left.push_back(std::move(search));
  }
  searches = std::move(left);
}

// Lets the model read each beam's last token.
torch::Tensor read_on(Continuations& continuations, std::vector<Search>& searches) {
  std::vector<int64_t> parents;
  Tokens last;
  for (Search& search : searches) {
    std::vector<int64_t> rows;
    for (size_t beam = 0; beam < search.rows.size(); ++beam) {
      rows.push_back(static_cast<int64_t>(parents.size()));
      parents.push_back(search.rows[static_cast<size_t>(search.beams.parents()[beam])]);
      last.push_back(search.beams.tokens(static_cast<int64_t>(beam)).back());
    }
    search.rows = std::move(rows);
  }
  continuations.select(parents);
  return continuations.read(last);
}

std::vector<Sequence> by_beams(nn::Model& model, const std::vector<Tokens>& prompts,
                               const Options& options) {
  std::vector<std::vector<Sequence>> found(prompts.size());
  Continuations continuations(model, prompts, options);
  std::vector<Search> searches;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Limits row = limits_of(model, prompts[i], options);
    Beams beams(options, row.most);
    searches.push_back(
        {i, beginning(model, prompts[i], options), std::move(row), std::move(beams),
         std::vector<int64_t>(static_cast<size_t>(options.num_beams), static_cast<int64_t>(i))});
  }
  torch::Tensor scores = continuations.first();
  for (int64_t fresh = 0;; ++fresh) {
    scores = at::log_softmax(scores, 1);
    each_row(static_cast<int64_t>(searches.size()),
             [&](int64_t i) { advance(searches[static_cast<size_t>(i)], scores, fresh, options); });
    take_done(searches, found, options);
    if (searches.empty()) break;
    scores = read_on(continuations, searches);
  }
  std::vector<Sequence> all;
  for (std::vector<Sequence>& sequences : found)
    std::move(sequences.begin(), sequences.end(), std::back_inserter(all));
  return all;
}

}  // namespace

std::vector<Sequence> generate(nn::Model& model, const std::vector<Tokens>& prompts,
                               const Options& options) {
  check(options);
  check(model.config());
  for (size_t i = 0; i < prompts.size(); ++i)
    if (const std::string what = problem(model.config(), options, prompts[i]); !what.empty())
      throw Error(ErrorKind::data,
                  str("prompt ", options.first_row + static_cast<int64_t>(i) + 1, " ", what));
  if (prompts.empty()) return {};
  torch::NoGradGuard no_grad;
  return options.num_beams > 1 ? by_beams(model, prompts, options)
                               : row_by_row(model, prompts, options);
}

}  // namespace compress::generate
