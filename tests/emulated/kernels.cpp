// Checks the kernels that need no LibTorch on the processor that runs this: compiled for another
// one and started under emulation by tests/emulated/run.

#include <cstdio>

#include "compress/base/cpu.h"
#include "unit/nn/panels_check.h"

int main() {
  namespace panels = compress::nn::panels;
  compress::cpu::limit_from_environment();
  std::printf("set %s; products:", compress::cpu::name(compress::cpu::set()));
  for (const panels::Product& product : panels::products())
    std::printf(" %s", product.name.c_str());
  std::printf("\n");
  const std::vector<std::string> faults = panels::faults();
  for (const std::string& fault : faults) std::printf("wrong: %s\n", fault.c_str());
  return faults.empty() ? 0 : 1;
}
