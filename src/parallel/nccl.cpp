// NCCL, for memory of CUDA devices.

#include "compress/base/error.h"
#include "group.h"

#ifdef COMPRESS_CUDA
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace compress::parallel {

#ifdef COMPRESS_CUDA

void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store,
              const Launch& launch, std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("nccl", store), launch.rank, launch.world, options);
  group.setBackend(torch::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
}

#else

void add_nccl(c10d::ProcessGroup&, const c10::intrusive_ptr<c10d::Store>&, const Launch&,
              std::chrono::milliseconds) {
  throw Error(ErrorKind::device, "this build cannot use CUDA devices in several processes", {},
              "build it with LibTorch's CUDA wheel, or use `device: cpu`");
}

#endif

}  // namespace compress::parallel
