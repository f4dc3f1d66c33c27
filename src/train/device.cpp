#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <ATen/Context.h>

#include <cstdlib>

#include "compress/base/cpu.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/train/train.h"
#include "device.h"

namespace compress::train {

namespace {

// Whether the processor multiplies bf16 faster than float32. With AMX tiles it does. AVX-512's own
// bf16 products were measured at 2.3 times float32's speed on AMD's Zen 4, but at half of it on an
// Intel machine without AMX.
bool fast_bf16() {
#if defined(__x86_64__)
  if (cpu::has_amx()) return true;
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return cpu::has_bf16() && __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_AMD_ebx;
#else
  return false;
#endif
}

}  // namespace

bool is_device(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return true;
  const std::string number = starts_with(name, "cuda:") ? name.substr(5) : "";
  return !number.empty() && number.size() < 4 &&
         number.find_first_not_of("0123456789") == std::string::npos;
}

torch::Device resolve_device(const std::string& name, const parallel::Processes* processes,
                             const std::string& where) {
  if (!is_device(name))
    throw Error(ErrorKind::recipe, "unknown device '" + name + "'", where, device_names);
  if (name == "cpu" || (name == "auto" && !torch::cuda::is_available())) return torch::kCPU;
  int64_t index = processes != nullptr ? processes->local_rank() : 0;
  if (starts_with(name, "cuda:")) {
    if (processes != nullptr)
      throw Error(ErrorKind::recipe,
                  "`device: " + name + "` names one device for several processes", where,
                  "use `device: cuda`: each process takes the device of its number");
    index = std::stoll(name.substr(5));
  }
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  if (index >= count)
    throw Error(ErrorKind::device,
                str("device '", name, "' is not there: ", count, " CUDA devices were found"), where,
                processes != nullptr ? "start no more processes on a machine than it has devices"
                                     : "use `device: auto` or `cpu`");
  return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
}

void prepare_device(torch::Device device) {
  if (!device.is_cuda()) return;
  // Read when cuBLAS starts: with a workspace of its own a product does not depend on what ran
  // before.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::Context& context = at::globalContext();
  // Sums into rows of embeddings then have one order. Operators without such a kernel warn.
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  context.setDeterministicFillUninitializedMemory(false);
}

nn::Precision resolve_precision(const std::string& name, torch::Device device) {
  if (name == "float32") return nn::Precision::float32;
  if (name == "bf16") return nn::Precision::bf16;
  if (name == "fp16") return nn::Precision::fp16;
  if (device.is_cpu() && !fast_bf16()) return nn::Precision::float32;
  return nn::Precision::bf16;
}

}  // namespace compress::train
