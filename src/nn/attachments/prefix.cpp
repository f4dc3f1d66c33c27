// Trained keys and values in front of a row's own.

#include <algorithm>
#include <map>

#include "attachments/fitting.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::nn {

namespace {

using torch::Tensor;

// The words of `of`.
const char* group_of(const Site& site) {
  if (site.place.sublayer == Sublayer::cross_attention) return "cross_attention";
  return site.decoder ? "decoder" : "encoder";
}

class Prefix final : public Plugs {
 public:
  Prefix(const AttachmentSpec& spec, Fitting& fitting) {
    const PrefixOptions defaults;
    const ModelConfig& config = fitting.config();
    if (config.window > 0)
      throw Error(ErrorKind::model, str(spec.kind, " '", spec.name,
                                        "' would lie outside of what a query sees: the "
                                        "model's attention reaches ",
                                        config.window, " tokens"));
    length_ = whole_option(spec, "length", defaults.length, 1, 65536);
    hidden_ = whole_option(spec, "hidden", defaults.hidden, 0, 65536);
    const std::vector<std::string> of = list_option(spec, "of", defaults.of);
    check_words(spec, of);
    const double deviation = config.initializer_range;
    draw_ = [deviation](Tensor& value, at::Generator& generator) {
      value.normal_(0, deviation, generator);
    };
    for (const Site& site : fitting.sites()) {
      if (site.pairs == 0 || std::find(of.begin(), of.end(), group_of(site)) == of.end()) continue;
      if (hidden_ > 0)
        add_network(site, fitting);
      else
        add_vectors(site, fitting);
    }
    if (fronts_.empty())
      throw Error(ErrorKind::model,
                  str(spec.kind, " '", spec.name, "': the model has no ", join(of, ", ")));
  }

  std::pair<Tensor, Tensor> prefix(Place place, const RowInfo& rows) override {
    const auto found = fronts_.find({place.layer, place.sublayer});
    if (found == fronts_.end()) return {};
    const Front& front = found->second;
    if (hidden_ == 0) return {front.keys->effective, front.values->effective};
    const RowInfo all{rows.training};
    const Tensor both =
        front.out(torch::tanh(front.network->in(front.network->table->effective, all)), all);
    return {both.narrow(1, 0, front.pairs), both.narrow(1, front.pairs, front.pairs)};
  }

  std::string unrecordable() const override {
    return "keys in front of a row's own are put there row by row";
  }

 private:
  struct Network {
    Parameter* table = nullptr;
    Linear in;
  };
  struct Front {
    int64_t pairs = 0;
    Parameter *keys = nullptr, *values = nullptr;
    const Network* network = nullptr;
    Linear out;
  };

  static void check_words(const AttachmentSpec& spec, const std::vector<std::string>& of) {
    for (const std::string& word : of)
      if (word != "encoder" && word != "decoder" && word != "cross_attention")
        throw Error(ErrorKind::model, str(spec.kind, " '", spec.name, "' names '", word, "'"), {},
                    "an attention is the encoder's, the decoder's or cross_attention");
  }

  Front& front_of(const Site& site) {
    Front& front = fronts_[{site.place.layer, site.place.sublayer}];
    front.pairs = site.pairs;
    return front;
  }

  void add_vectors(const Site& site, Fitting& fitting) {
    Front& front = front_of(site);
    front.keys = fitting.take(site.name + ".keys", -1, {length_, site.pairs}, draw_);
    front.values = fitting.take(site.name + ".values", -1, {length_, site.pairs}, draw_);
  }

  void add_network(const Site& site, Fitting& fitting) {
    Network& network = networks_[group_of(site)];
    const int64_t width = fitting.config().hidden_size;
    if (network.table == nullptr) {
      const std::string name = group_of(site);
      network.table = fitting.take(name + ".table", -1, {length_, width}, draw_);
      network.in = fitting.linear(name + ".in", -1, hidden_, width, draw_);
    }
    Front& front = front_of(site);
    front.network = &network;
    front.out = fitting.linear(site.name + ".out", -1, 2 * site.pairs, hidden_, draw_);
  }

  int64_t length_ = 0, hidden_ = 0;
  Fitting::Draw draw_;
  std::map<std::string, Network> networks_;
  std::map<std::pair<int64_t, Sublayer>, Front> fronts_;
};

}  // namespace

AttachmentSpec spec_of(const std::string& name, const PrefixOptions& options) {
  return {PrefixOptions::kind,
          name,
          {{"length", options.length}, {"hidden", options.hidden}, {"of", options.of}}};
}

AttachmentKind prefix_kind() {
  return {PrefixOptions::kind,
          [](const AttachmentSpec& spec, Fitting& fitting) -> std::unique_ptr<Plugs> {
            return std::make_unique<Prefix>(spec, fitting);
          },
          nullptr, "it is further keys and values, and no weight has a place for them"};
}

}  // namespace compress::nn
