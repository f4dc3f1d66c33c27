#include "graphs/graph_step.h"

#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/device.h"
#include "compress/nn/plugs.h"

namespace compress::train {

namespace {

GraphFacts facts_of(const Job& job, const Binding& binding) {
  GraphFacts facts;
  facts.device = job.device;
  facts.library = StepGraphs::available();
  facts.precision = job.precision;
  facts.flash = nn::has_flash_attention(job.device);
  facts.accumulate = job.options->accumulate;
  facts.processes = job.processes != nullptr;
  facts.captures = binding.needs().student;
  facts.head = job.student->config().head;
  facts.decoder = nn::architecture(job.student->config()).decoder.layers > 0;
  if (!nn::family(job.student->config().family).has_layers())
    facts.parts = "the model's averages over tokens would see the padding";
  facts.pooling = job.student->config().pooling;
  for (const Keyed& keyed : binding.parts())
    if (facts.parts.empty()) facts.parts = keyed.part->unrecordable();
  for (const nn::Plugs* plugs : job.student->plugs())
    if (facts.parts.empty()) facts.parts = plugs->unrecordable();
  if (binding.needs().teachers.size() > 1) facts.parts = "several teachers are asked";
  for (const Given& given : job.given) {
    if (given.view != teacher::View::student) facts.parts = "a teacher reads rows of its own";
    if (given.teacher != nullptr && facts.parts.empty())
      facts.parts = given.teacher->unrecordable();
  }
  return facts;
}

}  // namespace

std::unique_ptr<GraphStep> GraphStep::make(const Job& job, const Binding& binding) {
  if (!job.options->graphs || !job.device.is_cuda()) return nullptr;
  const std::string reason = graph_refusal(facts_of(job, binding));
  if (reason.empty()) return std::make_unique<GraphStep>(job, binding);
  log::info(str(job.stage, ": without CUDA graphs, as ", reason));
  return nullptr;
}

GraphStep::GraphStep(const Job& job, const Binding& binding)
    : job_(job), graphs_(job.device, binding.trained()) {}

data::Batch GraphStep::place(const data::Batch& batch, const objective::Numbers& numbers,
                             const Progress& progress) {
  staged_ = false;
  Progress after = progress;
  ++after.step;
  const std::vector<double> now = numbers.at(progress);
  const std::string reason = step_refusal(batch, job_.options->batch, now, numbers.at(after));
  if (!reason.empty()) {
    if (told_.insert(reason).second)
      log::info(str(job_.stage, ": steps without a CUDA graph, as ", reason));
    return batch.to(job_.device);
  }
  if (now != recorded_) graphs_.forget();
  recorded_ = now;
  staged_ = true;
  return graphs_.stage(batch);
}

}  // namespace compress::train
