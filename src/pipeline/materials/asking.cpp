#include "materials/asking.h"

#include <algorithm>
#include <cstring>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/data/batches.h"
#include "compress/eval/evaluate.h"
#include "compress/train/train.h"
#include "materials/workbench.h"

namespace compress::pipeline {

namespace {

// Logits over a vocabulary stay small enough, and so do states.
constexpr int64_t most_tokens_written = 2048, most_tokens_read = 16384;

}  // namespace

void check_asking(const AskOptions& options, recipe::Problems& problems) {
  if (!train::is_device(options.device))
    problems.add(options.device.mark, "unknown device '" + options.device.value + "'",
                 train::device_names);
}

void check_part(const RecipeOptions& recipe, const recipe::DataReference& name,
                const std::string& wanted, recipe::Problems& problems) {
  const data::DatasetOptions* data = recipe.dataset(name);
  if (data == nullptr) return;
  for (const auto& [part, origin] : data::parts_of(*data))
    if (part == wanted && origin->empty())
      problems.add(name.mark, "data set '" + name.name + "' has no " + wanted + " part",
                   "add it, or set `part`");
}

RowRange share_of(int64_t rows, const parallel::Processes* processes) {
  if (processes == nullptr) return {0, rows};
  const int64_t rank = processes->rank(), world = processes->world();
  return {rows * rank / world, rows * (rank + 1) / world};
}

Asked::Asked(Bench& bench, const AskOptions& options)
    : bench_(bench),
      options_(options),
      folder_(bench.work.folder(options.model)),
      loaded_(exports::load(folder_)),
      tokenizer_(bench.work.tokenizer(folder_)) {
  const torch::Device device =
      train::resolve_device(options.device, bench.processes, options.device.mark.text());
  precision_ = train::resolve_precision(options.precision, device);
  if (const std::string gap = checkpoint::missing_rows(tokenizer_, config()); !gap.empty())
    log::warn(bench.name() + ": " + gap);
  torch::NoGradGuard no_grad;
  loaded_.model->to(device);
  loaded_.model->params().refresh(precision_);
  packed_ = std::make_unique<nn::PackedWeights>(loaded_.model->params());
}

void Asked::each(const data::Split& split, RowRange range, const nn::Capture& capture,
                 const Visit& visit) {
  torch::NoGradGuard no_grad;
  eval::check_rows(split, config(), &tokenizer_);
  WorkLine line(bench_.name() + "  " + split.name, range.size());
  const nn::Pass pass{false, 0, precision_};
  int64_t done = 0;
  const int64_t most = nn::predicts_tokens(config().head) ? most_tokens_written : most_tokens_read;
  for (const std::vector<int64_t>& rows :
       data::batches_by_length(split, range.begin, range.end, options_.batch, most)) {
    check_stop();
    const data::Batch batch = data::pack(split, rows).to(model().device());
    // Rows of one token have nothing that a language model predicts.
    const bool nothing = batch.targets.token_labels.defined() && batch.targets.labelled.empty();
    visit(rows, batch,
          nothing && !capture.hidden ? nn::Outputs() : model().forward(batch, capture, pass));
    done += static_cast<int64_t>(rows.size());
    line.update(done);
  }
}

void Asked::check_stop() const {
  if (bench_.processes == nullptr) bench_.work.check_stop("stage '" + bench_.name() + "' was done");
}

std::string gather_text(std::string mine, parallel::Processes* processes) {
  if (processes == nullptr) return mine;
  torch::Tensor bytes = torch::empty({static_cast<int64_t>(mine.size())}, torch::kUInt8);
  if (!mine.empty()) std::memcpy(bytes.mutable_data_ptr<uint8_t>(), mine.data(), mine.size());
  const torch::Tensor all = processes->gather_rows(bytes).contiguous();
  return {reinterpret_cast<const char*>(all.const_data_ptr<uint8_t>()),
          static_cast<size_t>(all.numel())};
}

}  // namespace compress::pipeline
