#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "compress/base/log.h"
#include "group.h"

namespace compress::parallel {

struct GradientAverage::State {
  std::vector<torch::Tensor> leaves;
  std::unique_ptr<c10d::Reducer> reducer;
};

GradientAverage::GradientAverage(Processes& processes, std::vector<torch::Tensor> leaves)
    : state_(std::make_unique<State>()) {
  state_->leaves = std::move(leaves);
  translate(processes, [&] {
    const std::vector<size_t> limits = {c10d::kDefaultFirstBucketBytes,
                                        c10d::kDefaultBucketBytesCap};
    auto [buckets, sizes] = c10d::compute_bucket_assignment_by_size(state_->leaves, limits);
    // Gradients come from the last layer first: so do the buckets.
    std::reverse(buckets.begin(), buckets.end());
    state_->reducer = std::make_unique<c10d::Reducer>(
        state_->leaves, buckets, processes.group_->on(state_->leaves.front().device()),
        std::vector<bool>(state_->leaves.size(), false), c10d::kDefaultBucketBytesCap,
        /*find_unused_parameters=*/true, /*gradient_as_bucket_view=*/false,
        std::unordered_map<size_t, std::string>{}, c10d::kDefaultFirstBucketBytes,
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
        std::vector<int64_t>{});
  });
}

GradientAverage::~GradientAverage() = default;

namespace {

// The reducer warns that its search for unused leaves found none: a term of the loss may come in
// later, so it searches each time.
class Quiet final : public c10::WarningHandler {
  void process(const c10::Warning& warning) override { log::debug(warning.msg()); }
};

}  // namespace

void GradientAverage::expect(const torch::Tensor& loss) {
  static Quiet quiet;
  const c10::WarningUtils::WarningHandlerGuard guard(&quiet);
  state_->reducer->prepare_for_forward();
  state_->reducer->prepare_for_backward({loss});
}

bool GradientAverage::fits(const std::vector<torch::Tensor>& leaves) const {
  if (leaves.size() != state_->leaves.size()) return false;
  for (size_t i = 0; i < leaves.size(); ++i)
    if (!leaves[i].is_same(state_->leaves[i])) return false;
  return true;
}

}  // namespace compress::parallel
