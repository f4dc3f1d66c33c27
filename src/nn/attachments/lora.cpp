// Low-rank additions to weights.

#include <cmath>
#include <deque>
#include <set>

#include "attachments/fitting.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::nn {

namespace {

using torch::Tensor;

constexpr const char* down_end = ".down.weight";
constexpr const char* up_end = ".up.weight";

class Branch final : public LinearBranch {
 public:
  Branch(Linear down, Linear up, double scale, double dropout)
      : down_(down), up_(up), scale_(scale), dropout_(dropout) {}
  Tensor apply(const Tensor& input, const RowInfo& rows) override {
    Tensor x = input;
    if (rows.training && dropout_ > 0)
      x = dropout(x, dropout_, stream_seed(rows.seed, down_.weight->name), rows.first * x.size(1));
    const Tensor y = up_(down_(x, rows), rows);
    return scale_ == 1 ? y : y * scale_;
  }

 private:
  Linear down_, up_;
  double scale_, dropout_;
};

std::string module_of(const Parameter& weight) {
  return weight.name.substr(0, weight.name.size() - std::string(".weight").size());
}

class Lora final : public Plugs {
 public:
  Lora(const AttachmentSpec& spec, Fitting& fitting) {
    const LoraOptions defaults;
    const int64_t rank = whole_option(spec, "rank", defaults.rank, 1, 65536);
    const double alpha = real_option(spec, "alpha", defaults.alpha, 0, 1e6),
                 dropped = real_option(spec, "dropout", defaults.dropout, 0, 0.99);
    for (Parameter* weight : targets(spec, fitting)) {
      const int64_t out = weight->latent.size(0), in = weight->latent.size(1);
      const std::string module = module_of(*weight);
      const double bound = 1 / std::sqrt(static_cast<double>(in));
      const Linear down{fitting.take(module + down_end, weight->layer, {rank, in},
                                     [bound](Tensor& value, at::Generator& generator) {
                                       value.uniform_(-bound, bound, generator);
                                     }),
                        nullptr};
      const Linear up{fitting.take(module + up_end, weight->layer, {out, rank}), nullptr};
      branches_.emplace_back(down, up, alpha / static_cast<double>(rank), dropped);
      weight->branches.push_back(&branches_.back());
    }
  }

 private:
  // Matrices inside of layers.
  static std::vector<Parameter*> targets(const AttachmentSpec& spec, Fitting& fitting) {
    std::vector<std::string> unmatched, near;
    std::vector<Parameter*> chosen =
        fitting.params().select(list_option(spec, "targets", LoraOptions().targets), &unmatched);
    for (const Parameter& parameter : fitting.params().list())
      if (parameter.is_matrix() && parameter.layer >= 0)
        near.emplace_back(role_name(parameter.role));
    if (!unmatched.empty()) {
      const std::set<std::string> roles(near.begin(), near.end());
      throw Error(
          ErrorKind::model,
          str(spec.kind, " '", spec.name, "': target '", unmatched.front(),
              "' matches no matrix of the model"),
          {},
          did_you_mean(unmatched.front(), near,
                       "roles of its matrices: " + join({roles.begin(), roles.end()}, ", ")));
    }
    for (const Parameter* weight : chosen)
      if (weight->layer < 0 || weight->role == Role::attachment)
        throw Error(ErrorKind::model, str(spec.kind, " '", spec.name,
                                          "' stands beside matrices inside of layers, "
                                          "and ",
                                          weight->name, " is none"));
    return chosen;
  }

  std::deque<Branch> branches_;
};

// W <- W + alpha / rank * up down, of every pair of matrices that it has.
void merge_lora(ModelState& state, const AttachmentSpec& spec) {
  torch::NoGradGuard no_grad;
  const LoraOptions defaults;
  const double scale = spec.options.value("alpha", defaults.alpha) /
                       static_cast<double>(spec.options.value("rank", defaults.rank));
  const std::string front = attachments_prefix + spec.name + ".";
  for (const auto& [name, down] : state.tensors) {
    if (!starts_with(name, front) || !ends_with(name, down_end)) continue;
    const std::string module =
        name.substr(front.size(), name.size() - front.size() - std::string(down_end).size());
    if (state.weight_scales.contains(module + ".weight"))
      throw Error(ErrorKind::recipe, str(module, " has int8 weights, whose grid a sum would leave"),
                  {}, "merge before the model is quantised");
    Tensor& weight = state.tensors.at(module + ".weight");
    weight = weight + at::mm(state.tensors.at(front + module + up_end), down) * scale;
  }
}

}  // namespace

AttachmentSpec spec_of(const std::string& name, const LoraOptions& options) {
  return {LoraOptions::kind,
          name,
          {{"rank", options.rank},
           {"alpha", options.alpha},
           {"dropout", options.dropout},
           {"targets", options.targets}}};
}

AttachmentKind lora_kind() {
  return {LoraOptions::kind,
          [](const AttachmentSpec& spec, Fitting& fitting) -> std::unique_ptr<Plugs> {
            return std::make_unique<Lora>(spec, fitting);
          },
          merge_lora, ""};
}

}  // namespace compress::nn
