#pragma once
// The engine behind Processes.

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "compress/parallel/processes.h"

namespace compress::parallel {

struct Processes::Group {
  Launch launch;
  std::chrono::milliseconds timeout{};
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroup> processes;
  bool nccl = false;  // its backend was added

  // The group, able to work on memory of `device`.
  c10::intrusive_ptr<c10d::ProcessGroup>& on(torch::Device device);
};

// Adds NCCL for CUDA memory (nccl.cpp). Error{device} in a build without it.
void add_nccl(c10d::ProcessGroup& group, const c10::intrusive_ptr<c10d::Store>& store,
              const Launch& launch, std::chrono::milliseconds timeout);

}  // namespace compress::parallel
