// The passes of an update through CUDA graphs.

#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/device.h"
#include "trainer.h"

namespace compress::train {

namespace {

// What the objectives take from the progress.
std::vector<double> numbers(const std::vector<std::unique_ptr<objective::Objective>>& objectives,
                            const Progress& progress) {
  std::vector<double> all;
  for (const auto& objective : objectives) {
    all.push_back(objective->weight(progress));
    for (double value : objective->constants(progress)) all.push_back(value);
  }
  return all;
}

}  // namespace

void Trainer::bind_graphs() {
  if (!options_.graphs || job_.data == nullptr || !job_.device.is_cuda()) return;
  GraphFacts facts;
  facts.device = job_.device;
  facts.library = StepGraphs::available();
  facts.precision = job_.precision;
  facts.flash = nn::has_flash_attention(job_.device);
  facts.accumulate = options_.accumulate;
  facts.processes = processes_ != nullptr;
  facts.micro_batch_ascent = sharpness_ && sharpness_->per_micro_batch();
  facts.captures = captures_;
  facts.head = job_.student->config().head;
  facts.decoder = nn::architecture(job_.student->config()).decoder.layers > 0;
  facts.pooling = job_.student->config().pooling;
  facts.static_observers = options_.quantization && options_.quantization->activations != "none" &&
                           options_.quantization->activation_scale == "static";
  const std::string reason = graph_refusal(facts);
  if (reason.empty())
    graphs_ = std::make_unique<StepGraphs>(job_.device, trained_);
  else
    log::info(compress::str(job_.stage, ": without CUDA graphs, as ", reason));
}

data::Batch Trainer::place(const data::Batch& batch) {
  staged_ = false;
  if (!graphs_) return batch.to(job_.device);
  Progress after = progress_;
  ++after.step;
  const std::vector<double> now = numbers(objectives_, progress_);
  const std::string reason = step_refusal(batch, options_.batch, now, numbers(objectives_, after));
  if (!reason.empty()) {
    if (told_.insert(reason).second)
      log::info(compress::str(job_.stage, ": steps without a CUDA graph, as ", reason));
    return batch.to(job_.device);
  }
  if (now != recorded_numbers_) graphs_->forget();
  recorded_numbers_ = now;
  staged_ = true;
  return graphs_->stage(batch);
}

void Trainer::play(const data::Batch& batch, bool record) {
  nn::Outputs teacher;
  if (needs_teacher_ && job_.teacher->by_example()) {
    teacher = job_.teacher->signals(batch, teacher_captures_);
    teacher.logits = graphs_->stage(teacher.logits, "teacher logits");
    given_ = &teacher;
  }
  auto kept = std::make_pair(std::move(terms_), total_);
  PassLosses losses = graphs_->run(dropout_seed(), [&] {
    terms_.clear();
    total_ = torch::Tensor();
    backward_part(batch, false, true, false);
    return PassLosses{terms_, total_};
  });
  given_ = nullptr;
  // A replay after an ascent is not what the stage reports.
  std::tie(terms_, total_) =
      record ? std::make_pair(std::move(losses.terms), losses.total) : std::move(kept);
}

}  // namespace compress::train
