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
    outputs.logits = logits_on(batch.token_ids.device()).index_select(0, row_numbers(batch));
    return outputs;
  }
  bool by_example() const override { return true; }
  const nn::ModelConfig& config() const override { return teacher_->config(); }
  nn::Model& model() override { return teacher_->model(); }

 private:
  // All logits move once: they are small beside a model, and rows are then chosen on the device.
  const torch::Tensor& logits_on(torch::Device device) {
    if (logits_.device() != device) logits_ = logits_.to(device);
    return logits_;
  }

  // From pinned memory where there is a device: the copy then waits for nothing.
  static torch::Tensor row_numbers(const data::Batch& batch) {
    const torch::Device device = batch.token_ids.device();
    torch::Tensor rows =
        torch::empty({batch.rows()}, torch::dtype(torch::kInt64).pinned_memory(device.is_cuda()));
    std::copy(batch.example_ids.begin(), batch.example_ids.end(), rows.mutable_data_ptr<int64_t>());
    return rows.to(device, /*non_blocking=*/device.is_cuda());
  }

  std::unique_ptr<Teacher> teacher_;
  torch::Tensor logits_;
};

}  // namespace

torch::Tensor all_logits(Teacher& teacher, const data::Split& split, int64_t batch) {
  torch::Tensor logits;
  for (const std::vector<int64_t>& rows : data::evaluation_batches(split, batch)) {
    torch::Tensor part =
        teacher.signals(data::pack(split, rows).to(teacher.model().device()), {}).logits.cpu();
    if (!logits.defined()) logits = torch::empty({split.rows(), part.size(1)});
    logits.index_copy_(0, torch::tensor(rows), part);
  }
  return logits;
}

std::unique_ptr<Teacher> remembered(std::unique_ptr<Teacher> teacher, torch::Tensor logits) {
  return std::make_unique<Remembered>(std::move(teacher), std::move(logits));
}

}  // namespace compress::teacher
