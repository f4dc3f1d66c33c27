// Compacter: adapters whose matrices are sums of Kronecker products with a common part.

#include <cmath>

#include "attachments/fitting.h"
#include "attachments/slots.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::nn {

namespace {

using torch::Tensor;

// x W + b with W = sum_i A_i (x) (s_i t_i), without W: row by row X = x as [n, in / n], and
// y = sum_i A_i^T X s_i t_i as [n, out / n].
struct PhmLinear {
  const Parameter* slow = nullptr;  // A [n, n, n]
  Parameter* s = nullptr;           // [n, in / n, rank]
  Parameter* t = nullptr;           // [n, rank, out / n]
  Parameter* bias = nullptr;        // [out]

  Tensor operator()(const Tensor& x) const {
    const Tensor &a = slow->effective, &in = s->effective, &out = t->effective;
    const int64_t rows = x.size(0), n = a.size(0);
    const Tensor blocks = x.to(in.scalar_type()).view({rows, n, x.size(1) / n});
    // z[row, i, block, r] = sum_c X[row, block, c] s[i, c, r]
    const Tensor z = at::einsum("bpc,icr->bipr", {blocks, in});
    const Tensor mixed = at::einsum("ipq,bipr->biqr", {a.to(in.scalar_type()), z});
    const Tensor y = at::einsum("biqr,ird->bqd", {mixed, out});
    return y.reshape({rows, n * out.size(2)}) + bias->effective;
  }
};

class PhmAdapter final : public Slots {
 public:
  PhmAdapter(const AttachmentSpec& spec, Fitting& fitting)
      : activation_(activation_option(spec, PhmAdapterOptions().activation)) {
    const PhmAdapterOptions defaults;
    n_ = whole_option(spec, "n", defaults.n, 1, 256);
    rank_ = whole_option(spec, "rank", defaults.rank, 1, 4096);
    const int64_t hidden = fitting.config().hidden_size,
                  reduction = whole_option(spec, "reduction", defaults.reduction, 1, 65536),
                  size = hidden / reduction;
    if (size < 1 || hidden % n_ != 0 || size % n_ != 0)
      throw Error(ErrorKind::model,
                  str(spec.kind, " '", spec.name, "': the widths ", hidden, " and ", size,
                      " do not divide by n ", n_),
                  {}, "take another `n` or `reduction`");
    // One set of slow weights for all; so small that the adapters begin next to the identity.
    slow_ = fitting.take("slow", -1, {n_, n_, n_}, [](Tensor& value, at::Generator& generator) {
      value.normal_(0, 1e-4, generator);
    });
    for (const Site& site : fitting.sites_of(list_option(spec, "after", defaults.after))) {
      number(site.place, static_cast<int64_t>(pairs_.size()));
      pairs_.push_back({linear(fitting, site, ".down", size, hidden),
                        linear(fitting, site, ".up", hidden, size)});
    }
  }

 private:
  PhmLinear linear(Fitting& fitting, const Site& site, const char* which, int64_t out,
                   int64_t in) const {
    const std::string name = site.name + which;
    const int64_t layer = site.place.layer;
    return {slow_, fitting.take(name + ".s", layer, {n_, in / n_, rank_}, glorot(in / n_, rank_)),
            fitting.take(name + ".t", layer, {n_, rank_, out / n_}, glorot(rank_, out / n_)),
            fitting.take(name + ".bias", layer, {out})};
  }

  // Uniform within gain * sqrt(6 / (rows + columns)) of each slice, the gain sqrt(2).
  static Fitting::Draw glorot(int64_t rows, int64_t columns) {
    const double bound = std::sqrt(12.0 / static_cast<double>(rows + columns));
    return [bound](Tensor& value, at::Generator& generator) {
      value.uniform_(-bound, bound, generator);
    };
  }

  Tensor added(const Tensor& x, int64_t slot, const RowInfo&) override {
    const auto& [down, up] = pairs_[static_cast<size_t>(slot)];
    return up(activation(down(x), activation_));
  }

  std::string activation_;
  int64_t n_ = 0, rank_ = 0;
  Parameter* slow_ = nullptr;
  std::vector<std::pair<PhmLinear, PhmLinear>> pairs_;
};

}  // namespace

AttachmentSpec spec_of(const std::string& name, const PhmAdapterOptions& options) {
  return {PhmAdapterOptions::kind,
          name,
          {{"n", options.n},
           {"reduction", options.reduction},
           {"rank", options.rank},
           {"after", options.after},
           {"activation", options.activation}}};
}

AttachmentKind phm_adapter_kind() {
  return {PhmAdapterOptions::kind,
          [](const AttachmentSpec& spec, Fitting& fitting) -> std::unique_ptr<Plugs> {
            return std::make_unique<PhmAdapter>(spec, fitting);
          },
          nullptr, "its activation is no linear function of what it reads"};
}

}  // namespace compress::nn
