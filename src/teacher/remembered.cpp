#include "compress/base/error.h"
#include "compress/data/loader.h"
#include "compress/teacher/teacher.h"

namespace compress::teacher {

namespace {

class Remembered : public Teacher {
 public:
  Remembered(std::unique_ptr<Teacher> teacher, torch::Tensor logits)
      : teacher_(std::move(teacher)), logits_(std::move(logits)) {}

  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    if (capture.hidden || capture.attention || capture.pooled)
      throw Error(ErrorKind::internal, "remembered logits cannot answer for hidden states");
    nn::Outputs outputs;
    torch::Tensor rows = torch::tensor(batch.example_ids);
    outputs.logits =
        logits_.index_select(0, rows).to(batch.token_ids.device(), /*non_blocking=*/true);
    return outputs;
  }
  const nn::ModelConfig& config() const override { return teacher_->config(); }
  nn::Model& model() override { return teacher_->model(); }

 private:
  std::unique_ptr<Teacher> teacher_;
  torch::Tensor logits_;
};

}  // namespace

torch::Tensor all_logits(Teacher& teacher, const data::Split& split, int64_t batch,
                         parallel::Processes* processes) {
  torch::Tensor logits;
  const std::vector<std::vector<int64_t>> batches = data::evaluation_batches(split, batch);
  const size_t rank = processes != nullptr ? static_cast<size_t>(processes->rank()) : 0;
  const size_t world = processes != nullptr ? static_cast<size_t>(processes->world()) : 1;
  for (size_t i = rank; i < batches.size(); i += world) {
    const std::vector<int64_t>& rows = batches[i];
    torch::Tensor part =
        teacher.signals(data::pack(split, rows).to(teacher.model().device()), {}).logits.cpu();
    if (!logits.defined()) logits = torch::zeros({split.rows(), part.size(1)});
    logits.index_copy_(0, torch::tensor(rows), part);
  }
  if (processes != nullptr) {
    if (!logits.defined())  // fewer batches than processes
      logits = torch::zeros({split.rows(), teacher.config().outputs()});
    processes->sum(logits);  // of each row all but one are zeros
  }
  return logits;
}

std::unique_ptr<Teacher> remembered(std::unique_ptr<Teacher> teacher, torch::Tensor logits) {
  return std::make_unique<Remembered>(std::move(teacher), std::move(logits));
}

}  // namespace compress::teacher
