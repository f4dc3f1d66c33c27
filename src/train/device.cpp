#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/train/train.h"

namespace compress::train {

namespace {

// CPUID leaf 7, EDX bit 22: AMX-BF16.
bool has_bf16_tiles() {
#if defined(__x86_64__)
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & (1u << 22)) != 0;
#else
  return false;
#endif
}

}  // namespace

torch::Device resolve_device(const std::string& name) {
  if (name == "auto")
    return torch::cuda::is_available() ? torch::Device(torch::kCUDA, 0)
                                       : torch::Device(torch::kCPU);
  if (name == "cpu") return torch::kCPU;
  if (name == "cuda" || starts_with(name, "cuda:")) {
    int64_t index = 0;
    if (name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos &&
        name.size() < 9)
      index = std::stoll(name.substr(5));
    else if (name != "cuda")
      throw Error(ErrorKind::recipe, "unknown device '" + name + "'", {},
                  "auto, cpu, cuda or cuda:<n>");
    auto count = static_cast<int64_t>(torch::cuda::device_count());
    if (index >= count)
      throw Error(
          ErrorKind::device,
          compress::str("device '", name, "' is not there: ", count, " CUDA devices were found"),
          {}, "use `device: auto` or `cpu`");
    return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  }
  throw Error(ErrorKind::recipe, "unknown device '" + name + "'", {},
              "auto, cpu, cuda or cuda:<n>");
}

nn::Precision resolve_precision(const std::string& name, torch::Device device) {
  if (name == "float32") return nn::Precision::float32;
  if (name == "bf16") return nn::Precision::bf16;
  // auto: bf16 where the hardware multiplies it faster. On a CPU that takes AMX tiles: AVX-512's
  // own bf16 products were measured at half the speed of float32 ones.
  if (device.is_cpu() && !has_bf16_tiles()) return nn::Precision::float32;
  return nn::Precision::bf16;
}

}  // namespace compress::train
