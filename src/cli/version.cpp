// `compress --version`.

#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>
#include "compress/data/torch.h"

#include "compress/base/cpu.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"
#include "compress/nn/packed.h"
#include "compress/pipeline/run.h"

namespace compress::cli {

namespace {

// Names of the GPUs, from the driver: LibTorch tells them only through headers of the CUDA toolkit.
std::vector<std::string> gpu_names(int count) {
  std::vector<std::string> names;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return names;
  using Init = int (*)(unsigned);
  using Name = int (*)(char*, int, int);
  auto init = reinterpret_cast<Init>(dlsym(driver, "cuInit"));
  auto name_of = reinterpret_cast<Name>(dlsym(driver, "cuDeviceGetName"));
  if (init != nullptr && name_of != nullptr && init(0) == 0) {
    for (int device = 0; device < count; ++device) {
      char name[256] = {};
      if (name_of(name, sizeof(name) - 1, device) == 0) names.emplace_back(name);
    }
  }
  return names;  // the driver stays loaded: LibTorch uses it too
}

std::string gpu_text() {
  if (!torch::cuda::is_available()) return "none";
  const auto count = static_cast<int>(torch::cuda::device_count());
  return str(count, " (", join(gpu_names(count), ", "), ")");
}

// The instruction sets that the processor has, and what kernels and LibTorch use of them.
std::string processor_text() {
  std::vector<std::string> has;
  for (cpu::Set set : cpu::available())
    has.emplace_back(str(cpu::name(set), cpu::was_run(set) ? "" : " (never run)"));
  if (cpu::has_bf16()) has.emplace_back("bf16");
  if (cpu::has_vnni()) has.emplace_back("vnni");
  return str(join(has, " "), " (float32 uses ", cpu::name(cpu::float_set()), ", int8 ",
             nn::instructions(nn::integer_products()), "; LibTorch ", at::get_cpu_capability(),
             ")");
}

}  // namespace

std::string version_text() {
  return str(pipeline::program_version(), "\n", "LibTorch   ", TORCH_VERSION, "\n", "CUDA GPUs  ",
             gpu_text(), "\n", "processor  ", processor_text(), "\n", "threads    ",
             at::get_num_threads(), "\n");
}

}  // namespace compress::cli
