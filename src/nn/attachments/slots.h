#pragma once
// What kinds that stand behind sub-layers share: which place has which of their modules.

#include <map>
#include <utility>

#include "compress/nn/plugs.h"

namespace compress::nn {

class Slots : public Plugs {
 public:
  torch::Tensor sublayer_output(const torch::Tensor& x, Place place, const RowInfo& rows) final {
    const auto slot = slots_.find({place.layer, place.sublayer});
    return slot == slots_.end() ? x : x + added(x, slot->second, rows);
  }

 protected:
  void number(Place place, int64_t slot) { slots_[{place.layer, place.sublayer}] = slot; }
  // What the module `slot` adds to a sub-layer's output x.
  virtual torch::Tensor added(const torch::Tensor& x, int64_t slot, const RowInfo& rows) = 0;

 private:
  std::map<std::pair<int64_t, Sublayer>, int64_t> slots_;
};

}  // namespace compress::nn
