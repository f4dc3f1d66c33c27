#include "optimizer/late_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::optim {

namespace {

constexpr size_t longest_wait = 2048;  // updates; bounds the memory of steps_

}  // namespace

LateRows::LateRows(nn::Parameter& parameter, torch::Tensor mean, torch::Tensor square,
                   const kernels::AdamConstants& constants)
    : parameter_(parameter),
      mean_(std::move(mean)),
      square_(std::move(square)),
      constants_(constants),
      rows_(parameter.latent.size(0)),
      width_(parameter.latent.size(1)),
      done_(static_cast<size_t>(rows_), 0),
      moved_(static_cast<size_t>(rows_), 0) {
  parameter_.late = this;
}

LateRows::~LateRows() {
  settle();
  parameter_.late = nullptr;
}

float* LateRows::average() {
  return snapshots_ == nullptr ? nullptr
                               : snapshots_->average(parameter_).mutable_data_ptr<float>();
}

void LateRows::update(const kernels::AdamStep& step, const torch::Tensor& touched,
                      const torch::Tensor& gradient) {
  if (steps_.size() >= longest_wait) settle();
  settle(touched);
  steps_.push_back(step);
  const int64_t* id = touched.const_data_ptr<int64_t>();
  float* w = parameter_.latent.detach().mutable_data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  float* m = mean_.mutable_data_ptr<float>();
  float* v = square_.mutable_data_ptr<float>();
  float* a = average();
  at::parallel_for(0, touched.numel(), 32, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = id[i] * width_;
      kernels::adam_update(constants_, step, w + from, g + from, m + from, v + from,
                           a == nullptr ? nullptr : a + from, width_);
      done_[static_cast<size_t>(id[i])] = static_cast<int32_t>(steps_.size());
      moved_[static_cast<size_t>(id[i])] = 1;
    }
  });
}

void LateRows::settle(const torch::Tensor& ids) {
  if (steps_.empty()) return;
  std::vector<Waiting> waiting;
  const int64_t* id = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i)
    if (id[i] < 0 || id[i] >= rows_)
      throw Error(ErrorKind::data,
                  str("the batch asks for row ", id[i], " of ", parameter_.name, ", which has ",
                      rows_, " rows"),
                  {}, "check max_length against the model's positions, and the tokenizer");
  const auto now = static_cast<int32_t>(steps_.size());
  for (int64_t i = 0; i < ids.numel(); ++i) {
    int32_t& done = done_[static_cast<size_t>(id[i])];
    if (done == now) continue;
    waiting.push_back({id[i], done});
    done = now;
  }
  replay(waiting);
}

void LateRows::settle() {
  if (steps_.empty()) return;
  std::vector<Waiting> waiting;
  const auto now = static_cast<int32_t>(steps_.size());
  for (int64_t row = 0; row < rows_; ++row)
    if (done_[static_cast<size_t>(row)] != now)
      waiting.push_back({row, done_[static_cast<size_t>(row)]});
  replay(waiting);
  steps_.clear();
  std::fill(done_.begin(), done_.end(), 0);
}

void LateRows::replay(const std::vector<Waiting>& rows) {
  float* w = parameter_.latent.detach().mutable_data_ptr<float>();
  float* m = mean_.mutable_data_ptr<float>();
  float* v = square_.mutable_data_ptr<float>();
  float* a = average();
  at::parallel_for(0, static_cast<int64_t>(rows.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto [row, done] = rows[static_cast<size_t>(i)];
      const int64_t from = row * width_, missed = static_cast<int64_t>(steps_.size()) - done;
      float* average = a == nullptr ? nullptr : a + from;
      if (moved_[static_cast<size_t>(row)] != 0)
        kernels::adam_replay(constants_, steps_.data() + done, missed, w + from, m + from, v + from,
                             average, width_);
      else
        kernels::adam_replay_still(steps_.data() + done, missed, w + from, average, width_);
    }
  });
}

void LateRows::reset() {
  steps_.clear();
  std::fill(done_.begin(), done_.end(), 0);
  torch::Tensor moved = mean_.ne(0).logical_or_(square_.ne(0)).any(1).contiguous();
  std::copy_n(moved.const_data_ptr<bool>(), rows_, moved_.begin());
}

}  // namespace compress::optim
