// The kind of stage that measures a model over data: numbers for later stages.

#include "stages/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "compress/nn/architecture.h"
#include "compress/roles/row_store.h"
#include "compress/storage/safetensors.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/asking.h"
#include "stages/kinds.h"

namespace compress::pipeline {

using torch::Tensor;

Tensor contribution_sums(const std::vector<Tensor>& hidden, const Tensor& tokens) {
  std::vector<Tensor> sums;
  auto chosen = [&](const Tensor& states) {
    const Tensor rows = tokens.defined() ? states.index_select(0, tokens) : states;
    return rows.to(torch::kFloat64);
  };
  for (size_t layer = 0; layer + 1 < hidden.size(); ++layer)
    sums.push_back(
        at::cosine_similarity(chosen(hidden[layer]), chosen(hidden[layer + 1]), 1, 1e-12).sum());
  return torch::stack(sums).cpu();
}

Tensor token_losses(const Tensor& logits, const Tensor& labels) {
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::None).to(torch::kFloat32).cpu();
}

Joined join_rows(const Tensor& rows, const Tensor& counts, const Tensor& values) {
  const int64_t n = rows.size(0);
  Tensor ordered = torch::zeros({n}, torch::kInt64);
  ordered.index_copy_(0, rows, counts);
  Joined joined;
  joined.offsets = torch::cat({torch::zeros({1}, torch::kInt64), ordered.cumsum(0)});
  joined.values = torch::empty_like(values);
  const auto* row = rows.const_data_ptr<int64_t>();
  const auto* count = counts.const_data_ptr<int64_t>();
  const auto* offset = joined.offsets.const_data_ptr<int64_t>();
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    joined.values.narrow(0, offset[row[i]], count[i]).copy_(values.narrow(0, at, count[i]));
    at += count[i];
  }
  return joined;
}

Sets hard_tokens_of(const Tensor& logits, const data::Batch& batch, double above,
                    const std::vector<int32_t>& special) {
  const Tensor ids = batch.token_ids;
  Tensor hard = above < 0 ? logits.argmax(1).ne(ids)
                          : at::cross_entropy_loss(logits, ids, {}, at::Reduction::None).gt(above);
  Tensor ordinary = torch::ones_like(hard);
  for (int32_t id : special) ordinary = ordinary.logical_and(ids.ne(id));
  hard = hard.logical_and(ordinary).cpu();
  Sets sets;
  sets.ordinary = ordinary.sum().item<int64_t>();
  const Tensor places = hard.nonzero().squeeze(1);
  sets.positions = batch.positions.cpu().index_select(0, places).to(torch::kInt32);
  for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row)
    sets.counts.push_back(
        hard.slice(0, batch.row_offsets[row], batch.row_offsets[row + 1]).sum().item<int64_t>());
  return sets;
}

namespace {

struct MeasureOptions : AskOptions {
  recipe::DataReference data;
  std::string part = "validation";
  std::string what = "contribution";
  std::string token = "first";
  std::string rule = "wrong";
  double above = 0.1;

  static const recipe::Options<MeasureOptions>& options() {
    static const auto description = [] {
      recipe::Options<MeasureOptions> o("measure");
      add_model(o);
      o.field("data", &MeasureOptions::data, "name of a data set").required();
      o.field("part", &MeasureOptions::part, "of the data set")
          .one_of({"train", "validation", "test"});
      o.field(
           "what", &MeasureOptions::what,
           "how much each layer changes its input, the loss of each token of a language model, or "
           "which tokens a masked language model has not learnt, or how often each of its "
           "tokenizer's tokens is in the data, special ones included (the model is not asked)")
          .one_of({"contribution", "token_losses", augment::hard_tokens, augment::token_counts});
      o.field("token", &MeasureOptions::token,
              "contribution: of each row's first token ([CLS]), of its last (of a decoder, whose "
              "first token sees itself alone), or of all tokens")
          .one_of({"first", "last", "all"});
      o.field("rule", &MeasureOptions::rule,
              "hard_tokens: those that the model reads and takes for another (wrong), or whose "
              "loss is above `above` (loss)")
          .one_of({"wrong", "loss"});
      o.field("above", &MeasureOptions::above, "hard_tokens: loss in nats").at_least(0);
      add_asking(o);
      return o;
    }();
    return description;
  }
};

bool writes(nn::HeadKind head) {
  return head == nn::HeadKind::causal_lm || head == nn::HeadKind::seq2seq_lm;
}

// Packed positions of the first or last tokens of a batch's rows; undefined: all.
Tensor positions_of(const data::Batch& batch, const std::string& which) {
  if (which == "all") return {};
  const Tensor ends = torch::tensor(batch.row_offsets);
  const Tensor at = which == "first" ? ends.slice(0, 0, -1) : ends.slice(0, 1) - 1;
  return at.to(batch.token_ids.device());
}

// Sums over tokens of how alike the states before and behind each layer are.
struct Similarities {
  Tensor sums, tokens = torch::zeros({1}, torch::kFloat64);

  void add(const std::vector<Tensor>& hidden, const data::Batch& batch, const std::string& which) {
    const Tensor at = positions_of(batch, which);
    const Tensor found = contribution_sums(hidden, at);
    sums = sums.defined() ? sums + found : found;
    tokens += at.defined() ? at.size(0) : batch.tokens();
  }
};

class MeasureStage : public StageKind {
 public:
  explicit MeasureStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<MeasureOptions>()) {}

  Leaves leaves() const override {
    return {.store = losses() || sets() || counts(), .numbers = true};
  }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"batch"}, {"device"}};
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    check_part(recipe, options_.data, options_.part, problems);
  }

  void check_models(Configs& configs) const override {
    const nn::ModelConfig& config = configs.model(options_.model).config;
    const data::Task task = data::task_of(configs.recipe().dataset(options_.data));
    if (sets() && (config.head != nn::HeadKind::masked_lm || task != data::Task::unlabelled))
      throw Error(ErrorKind::recipe,
                  str("a model with the head '", nn::head_name(config.head),
                      "' does not say which tokens of data set '", options_.data, "' are hard"),
                  options_.model.mark.text(),
                  "hard_tokens needs a masked_lm and data with `task: unlabelled`");
    if (!losses() || (writes(config.head) && eval::can_score(config.head, task))) return;
    throw Error(ErrorKind::recipe,
                str("a model with the head '", nn::head_name(config.head),
                    "' has no losses of tokens on data set '", options_.data, "'"),
                options_.model.mark.text(),
                "token_losses needs a causal_lm and data with `task: language_model`, or a "
                "seq2seq_lm and `task: sequence_to_sequence`");
  }

  void plan(Planning& planning) const override {
    const nn::ModelConfig& config = planning.model(options_.model).config;
    planning.line(str("measure ", options_.what, " of ", options_.model, " on ", options_.data,
                      " (", options_.part, ")"));
    planning.promise(stage_.name, {.metrics = {}, .numbers = number_shapes(planning, config)});
    if (losses() || sets() || counts()) return;
    const nn::Architecture stacks = nn::architecture(config);
    if (options_.token == "first" && stacks.encoder.layers == 0 && stacks.decoder.layers > 0)
      planning.line("note          the first token of a row sees itself alone: `token: last`");
    if (!planning.is_open(options_.model))
      planning.line(str("leaves        ", numbers_name, ": layers.0 to layers.",
                        std::max<int64_t>(config.layers, 1) - 1));
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    Asked asked(bench, options_);
    StageResult result;
    result.census = nn::census(asked.model());
    const data::Split& split = bench.work.split(options_.data, options_.part, asked.folder());
    result.numbers = losses()   ? measure_losses(bench, asked, split, result)
                     : sets()   ? measure_sets(bench, asked, split, result)
                     : counts() ? measure_counts(bench, asked, split, result)
                                : measure_layers(bench, asked, split);
    result.numbers["rows"] = split.rows();
    parallel::first_only(bench.processes, [&] {
      write_file(bench.folder / numbers_name, result.numbers.dump(2) + "\n");
    });
    result.made.push_back(numbers_name);
    log::info(bench.name() + ": " + summary(result.numbers));
    result.notes.push_back(summary(result.numbers));
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  bool losses() const { return options_.what == "token_losses"; }
  bool sets() const { return options_.what == augment::hard_tokens; }
  bool counts() const { return options_.what == augment::token_counts; }

  // numbers.json with zeros; nothing where the number of layers is not known yet.
  std::optional<nn::Json> number_shapes(Planning& planning, const nn::ModelConfig& config) const {
    nn::Json numbers = {{"tokens", 0}, {"rows", 0}};
    auto add = [&](std::initializer_list<const char*> names) {
      for (const char* name : names) numbers[name] = 0;
    };
    if (losses()) add({"loss", "perplexity"});
    if (sets()) add({"hard", "share"});
    if (counts()) add({"seen"});
    if (losses() || sets() || counts()) return numbers;
    if (planning.is_open(options_.model)) return std::nullopt;
    numbers["layers"] =
        std::vector<double>(static_cast<size_t>(std::max<int64_t>(1, config.layers)));
    const data::DatasetOptions& data = planning.recipe().dataset(options_.data);
    if (data::task_of(data) == data::Task::sequence_to_sequence && config.decoder_layers > 0)
      numbers["decoder_layers"] = std::vector<double>(static_cast<size_t>(config.decoder_layers));
    return numbers;
  }

  nn::Json measure_counts(Bench& bench, Asked& asked, const data::Split& split,
                          StageResult& result) const {
    std::vector<int64_t> counts(static_cast<size_t>(asked.tokenizer().vocabulary_size()));
    int64_t tokens = 0, seen = 0;
    for (const int32_t id : split.ids) {
      ++tokens;
      if (counts.at(static_cast<size_t>(id))++ == 0) ++seen;
    }
    parallel::first_only(bench.processes, [&] {
      const std::filesystem::path folder = bench.folder / store_name;
      make_folder(folder);
      storage::SafetensorsWriter writer(
          folder / str(augment::token_counts, ".safetensors"),
          {{"counts", storage::Dtype::i64, {static_cast<int64_t>(counts.size())}}});
      writer.write("counts", std::as_bytes(std::span(counts)));
      writer.commit();
    });
    result.made.push_back(store_name);
    return {{"tokens", tokens}, {"seen", seen}};
  }

  // The layers of the model's one stack or of its encoder, and those of a decoder behind it where
  // rows have a text for it.
  nn::Json measure_layers(Bench& bench, Asked& asked, const data::Split& split) const {
    Similarities first, second;
    asked.each(split, share_of(split.rows(), bench.processes),
               {.hidden = true, .decoder_hidden = true},
               [&](const std::vector<int64_t>&, const data::Batch& batch, const nn::Outputs& out) {
                 first.add(out.hidden, batch, options_.token);
                 if (!out.decoder_hidden.empty() && batch.decoder)
                   second.add(out.decoder_hidden, *batch.decoder, options_.token);
               });
    const nn::ModelConfig& config = asked.config();
    nn::Json numbers = {{"layers", means(bench, first, config.layers)},
                        {"tokens", static_cast<int64_t>(first.tokens.item<double>())}};
    if (split.task == data::Task::sequence_to_sequence && config.decoder_layers > 0)
      numbers["decoder_layers"] = means(bench, second, config.decoder_layers);
    return numbers;
  }

  std::vector<double> means(Bench& bench, Similarities& found, int64_t layers) const {
    if (!found.sums.defined()) found.sums = torch::zeros({layers}, torch::kFloat64);
    if (bench.processes != nullptr) {
      bench.processes->sum(found.sums);
      bench.processes->sum(found.tokens);
    }
    const Tensor mean = (found.sums / found.tokens).contiguous();
    if (!torch::isfinite(mean).all().item<bool>())
      throw Error(ErrorKind::diverged, "the model's states are not finite",
                  options_.model.mark.text());
    const auto* values = mean.const_data_ptr<double>();
    return {values, values + mean.numel()};
  }

  nn::Json measure_losses(Bench& bench, Asked& asked, const data::Split& split,
                          StageResult& result) const {
    std::vector<int64_t> rows, counts;
    std::vector<Tensor> parts = {torch::empty({0})};
    asked.each(
        split, share_of(split.rows(), bench.processes), {},
        [&](const std::vector<int64_t>& asked_rows, const data::Batch& batch,
            const nn::Outputs& out) {
          if (out.token_index.defined())
            parts.push_back(token_losses(
                out.token_logits, batch.targets.token_labels.index_select(0, out.token_index)));
          add_counts(batch.predicted(), batch.targets.labelled, counts);
          rows.insert(rows.end(), asked_rows.begin(), asked_rows.end());
        });
    Tensor all_rows = torch::tensor(rows, torch::kInt64),
           all_counts = torch::tensor(counts, torch::kInt64), values = torch::cat(parts);
    if (bench.processes != nullptr) {
      all_rows = bench.processes->gather_rows(all_rows);
      all_counts = bench.processes->gather_rows(all_counts);
      values = bench.processes->gather_rows(values);
    }
    const Joined joined = join_rows(all_rows, all_counts, values);
    const double mean = joined.values.to(torch::kFloat64).mean().item<double>();
    if (!std::isfinite(mean))
      throw Error(ErrorKind::diverged, "the losses of tokens are not finite, or there are none",
                  options_.model.mark.text());
    parallel::first_only(bench.processes, [&] { write_store(bench.folder / store_name, joined); });
    result.made.push_back(store_name);
    return {{"loss", mean}, {"perplexity", std::exp(mean)}, {"tokens", joined.values.numel()}};
  }

  // The model reads the rows as they are; its special tokens are never hard.
  nn::Json measure_sets(Bench& bench, Asked& asked, const data::Split& split,
                        StageResult& result) const {
    roles::RowStore store(split.rows());
    store.add(augment::hard_tokens, torch::kInt32);
    Tensor counted = torch::zeros({2}, torch::kInt64);  // ordinary tokens, and the hard ones
    const std::vector<int32_t> special = asked.tokenizer().special_ids().markers();
    asked.each(
        split, share_of(split.rows(), bench.processes), {},
        [&](const std::vector<int64_t>& rows, const data::Batch& batch, const nn::Outputs& out) {
          Sets found = hard_tokens_of(out.token_logits, batch,
                                      options_.rule == "wrong" ? -1 : options_.above, special);
          store.put(augment::hard_tokens, rows, found.positions, found.counts);
          counted[0] += found.ordinary;
          counted[1] += found.positions.numel();
        });
    if (bench.processes != nullptr) bench.processes->sum(counted);
    store.settle(bench.processes);
    parallel::first_only(bench.processes, [&] { store.save(bench.folder / store_name); });
    result.made.push_back(store_name);
    const auto ordinary = counted[0].item<int64_t>(), hard = counted[1].item<int64_t>();
    if (hard == 0)
      throw Error(ErrorKind::diverged, "the model finds no token of the data hard",
                  options_.model.mark.text(), "use `rule: loss` with a lower `above`");
    return {{"tokens", ordinary},
            {"hard", hard},
            {"share", static_cast<double>(hard) / static_cast<double>(ordinary)}};
  }

  // Predicted tokens of each row of a batch.
  static void add_counts(const data::Batch& batch, const std::vector<int64_t>& labelled,
                         std::vector<int64_t>& counts) {
    for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row) {
      const auto first = std::lower_bound(labelled.begin(), labelled.end(), batch.row_offsets[row]);
      const auto last = std::lower_bound(first, labelled.end(), batch.row_offsets[row + 1]);
      counts.push_back(last - first);
    }
  }

  static void write_store(const std::filesystem::path& folder, const Joined& joined) {
    make_folder(folder);
    auto bytes = [](const Tensor& tensor) {
      return std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
    };
    storage::SafetensorsWriter writer(folder / "token_losses.safetensors",
                                      {{"losses", storage::Dtype::f32, {joined.values.size(0)}},
                                       {"offsets", storage::Dtype::i64, {joined.offsets.size(0)}}});
    writer.write("losses", bytes(joined.values));
    writer.write("offsets", bytes(joined.offsets));
    writer.commit();
  }

  std::string summary(const nn::Json& numbers) const {
    if (losses())
      return str("loss of a token ", fixed(numbers.at("loss").get<double>(), 4), ", of ",
                 with_commas(numbers.at("tokens").get<int64_t>()), " tokens");
    if (counts())
      return str(with_commas(numbers.at("tokens").get<int64_t>()), " tokens, ",
                 with_commas(numbers.at("seen").get<int64_t>()), " different ones");
    if (sets())
      return str(with_commas(numbers.at("hard").get<int64_t>()), " of ",
                 with_commas(numbers.at("tokens").get<int64_t>()), " tokens are hard");
    std::vector<std::string> parts;
    for (const nn::Json& number : numbers.at("layers"))
      parts.push_back(fixed(number.get<double>(), 4));
    return "cosine of a layer's input and output, from the first layer: " + join(parts, ", ");
  }

  const MeasureOptions& options_;
};

}  // namespace

void add_measure(StageRegistry& registry) {
  add_kind<MeasureStage, MeasureOptions>(
      registry, "measure", "measures a model over data, for later stages",
      "contribution: c_l = mean over tokens of cos(state before layer l, state after layer l)\n"
      "token_losses: -log p(token | those before it), of each predicted token\n"
      "hard_tokens: the t with argmax z_t != x_t (wrong), or -log softmax(z_t)[x_t] > above "
      "(loss), "
      "z = f(x) of rows that hide nothing\n"
      "token_counts: count(v) = how often token v is in the rows",
      "Sajjad et al. 2023, arXiv 2004.03844, section 3 (contribution); Zhong et al. 2022, arXiv "
      "2212.01853 (hard_tokens)",
      "It leaves `numbers.json`: of `contribution` \"layers\", a list with a number for each layer "
      "of "
      "the encoder (or of the one stack), the first one first; a number near 1 says that the layer "
      "changes little. Of an encoder-decoder on `task: sequence_to_sequence` there is "
      "\"decoder_layers\" beside it, of the target's tokens. Sajjad et al. take the first token "
      "([CLS]) on the development set. Where a "
      "family has a norm behind its last layer, the last number is of the state behind that norm. "
      "Of "
      "`token_losses`: \"loss\", \"perplexity\", and in `store/token_losses.safetensors` "
      "\"losses\" "
      "[M] and \"offsets\" [rows + 1]: those of row r are offsets[r] to offsets[r + 1]. Of "
      "`hard_tokens`: \"tokens\" (without special ones), \"hard\", \"share\", and in "
      "`store/hard_tokens.safetensors` \"values\" [M] int32, positions in the row, with "
      "\"offsets\"; `masking: {sets: STAGE}` hides them. Of `token_counts`: \"tokens\", \"seen\", "
      "and in "
      "`store/token_counts.safetensors` \"counts\" [tokens of the tokenizer] int64; `masking: "
      "{draw: update, counts: STAGE}` draws by them. `expect:` "
      "reads numbers by `number: layers.0`.");
}

}  // namespace compress::pipeline
