#include "compress/optim/optim.h"

namespace compress::optim {

namespace {

class Plain final : public Mover {
 public:
  void bind(const roles::Scene&) override {}
  void gradients(const Progress&, Passes& passes) override { (void)passes.pass({}); }
};

}  // namespace

std::unique_ptr<Mover> plain_mover() {
  return std::make_unique<Plain>();
}

}  // namespace compress::optim
