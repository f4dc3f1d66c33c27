// Adapters.

#include "attachments/fitting.h"
#include "attachments/slots.h"

namespace compress::nn {

namespace {

using torch::Tensor;

class Adapter final : public Slots {
 public:
  Adapter(const AttachmentSpec& spec, Fitting& fitting)
      : activation_(activation_option(spec, AdapterOptions().activation)) {
    const AdapterOptions defaults;
    const int64_t hidden = fitting.config().hidden_size,
                  size = whole_option(spec, "size", defaults.size, 1, 65536);
    // Houlsby et al., section 3.6: a normal distribution of deviation 0.01 around zero.
    const auto draw = [](Tensor& weight, at::Generator& generator) {
      weight.normal_(0, 0.01, generator);
    };
    for (const Site& site : fitting.sites_of(list_option(spec, "after", defaults.after)))
      add(site.place, {fitting.linear(site.name + ".down", site.place.layer, size, hidden, draw),
                       fitting.linear(site.name + ".up", site.place.layer, hidden, size, nullptr)});
  }

 private:
  struct Bottleneck {
    Linear down, up;
  };

  void add(Place place, const Bottleneck& bottleneck) {
    number(place, static_cast<int64_t>(bottlenecks_.size()));
    bottlenecks_.push_back(bottleneck);
  }

  Tensor added(const Tensor& x, int64_t slot, const RowInfo& rows) override {
    const Bottleneck& bottleneck = bottlenecks_[static_cast<size_t>(slot)];
    return bottleneck.up(bottleneck.down.activated(x, rows, activation_), rows);
  }

  std::string activation_;
  std::vector<Bottleneck> bottlenecks_;
};

}  // namespace

AttachmentSpec spec_of(const std::string& name, const AdapterOptions& options) {
  return {AdapterOptions::kind,
          name,
          {{"size", options.size}, {"after", options.after}, {"activation", options.activation}}};
}

AttachmentKind adapter_kind() {
  return {AdapterOptions::kind,
          [](const AttachmentSpec& spec, Fitting& fitting) -> std::unique_ptr<Plugs> {
            return std::make_unique<Adapter>(spec, fitting);
          },
          nullptr, "its activation is no linear function of what it reads"};
}

}  // namespace compress::nn
