#include "compress/parallel/processes.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstdlib>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "group.h"

namespace compress::parallel {

namespace {

using torch::Tensor;

// Messages of the engine carry a stack trace behind their first line, which may be long.
std::string short_cause(const std::exception& cause) {
  const std::string_view line = first_line(cause.what());
  return line.size() > 300 ? str(line.substr(0, 300), "...") : std::string(line);
}

[[noreturn]] void lost(const Launch& launch, const std::exception& cause) {
  throw Error(
      ErrorKind::process,
      str("process ", launch.rank, " of ", launch.world, " lost the others: ", short_cause(cause)),
      {},
      "look for the first process that failed: its message says why; then run the same "
      "command again, which goes on from the last saved state");
}

template <class Work>
auto guarded(const Launch& launch, const Work& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& cause) {
    lost(launch, cause);
  }
}

// Where this process can be reached. Processes of one machine meet on its loopback interface.
std::shared_ptr<::gloo::transport::Device> network(const Launch& launch) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name != nullptr && *name != 0)
    return c10d::ProcessGroupGloo::createDeviceForInterface(name);
  if (launch.local_world == launch.world)
    return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

c10::intrusive_ptr<c10d::Store> open_store(const Launch& launch,
                                           std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.port);
  // torchrun serves the store itself and says so.
  const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  options.isServer = launch.rank == 0 && (agent == nullptr || std::string(agent) != "True");
  options.numWorkers = static_cast<size_t>(launch.world);
  options.waitWorkers = false;
  options.timeout = timeout;
  // One launcher may start the program again: each attempt has keys of its own.
  const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
  return c10::make_intrusive<c10d::PrefixStore>(
      str("compress/", attempt == nullptr ? "0" : attempt),
      c10::make_intrusive<c10d::TCPStore>(launch.host, options));
}

}  // namespace

Processes::Processes(const Launch& launch, std::chrono::seconds timeout)
    : group_(std::make_unique<Group>()) {
  group_->launch = launch;
  group_->timeout = timeout;
  guarded(launch, [&] {
    group_->store = open_store(launch, group_->timeout);
    auto options = c10d::ProcessGroupGloo::Options::create(group_->timeout);
    options->devices.push_back(network(launch));
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("gloo", group_->store), launch.rank, launch.world,
        options);
    group_->processes =
        c10::make_intrusive<c10d::ProcessGroup>(group_->store, launch.rank, launch.world);
    group_->processes->setBackend(torch::kCPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
    group_->processes->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  });
}

Processes::~Processes() = default;

int Processes::rank() const {
  return group_->launch.rank;
}
int Processes::world() const {
  return group_->launch.world;
}
int Processes::local_rank() const {
  return group_->launch.local_rank;
}
const Launch& Processes::launch() const {
  return group_->launch;
}

c10::intrusive_ptr<c10d::ProcessGroup>& Processes::Group::on(torch::Device device) {
  if (device.is_cuda() && !nccl) {
    add_nccl(*processes, store, launch, timeout);
    nccl = true;
  }
  return processes;
}

namespace {

void reduce(c10d::ProcessGroup& group, const Launch& launch, const Tensor& values,
            c10d::ReduceOp::RedOpType operation) {
  if (!values.is_contiguous())
    throw Error(ErrorKind::internal, "a tensor to be reduced is not contiguous");
  guarded(launch, [&] {
    torch::NoGradGuard no_grad;
    std::vector<Tensor> list = {values};
    c10d::AllreduceOptions options;
    options.reduceOp = operation;
    group.allreduce(list, options)->wait();
  });
}

}  // namespace

void Processes::sum(Tensor values) {
  reduce(*group_->on(values.device()), launch(), values, c10d::ReduceOp::SUM);
}
void Processes::maximum(Tensor values) {
  reduce(*group_->on(values.device()), launch(), values, c10d::ReduceOp::MAX);
}
void Processes::minimum(Tensor values) {
  reduce(*group_->on(values.device()), launch(), values, c10d::ReduceOp::MIN);
}

void Processes::average(const std::vector<Tensor>& values) {
  constexpr int64_t bucket_bytes = 25 << 20;
  torch::NoGradGuard no_grad;
  std::vector<Tensor> bucket;
  int64_t bytes = 0;
  auto flush = [&] {
    if (bucket.empty()) return;
    std::vector<Tensor> flat;
    for (const Tensor& tensor : bucket) flat.push_back(tensor.reshape({-1}));
    Tensor joined = torch::cat(flat);
    sum(joined);
    joined.div_(world());
    int64_t at = 0;
    for (Tensor& tensor : bucket) {
      tensor.copy_(joined.narrow(0, at, tensor.numel()).view(tensor.sizes()));
      at += tensor.numel();
    }
    bucket.clear();
    bytes = 0;
  };
  for (const Tensor& tensor : values) {
    const bool fits =
        bucket.empty() || (bucket.front().scalar_type() == tensor.scalar_type() &&
                           bytes + static_cast<int64_t>(tensor.nbytes()) <= bucket_bytes);
    if (!fits) flush();
    bucket.push_back(tensor);
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  flush();
}

std::vector<int64_t> Processes::gather(int64_t mine) {
  std::vector<int64_t> all(static_cast<size_t>(world()), 0);
  all[static_cast<size_t>(rank())] = mine;
  sum(torch::from_blob(all.data(), {world()}, torch::kInt64));  // the others add zeros
  return all;
}

Tensor Processes::gather_rows(const Tensor& rows) {
  return gather_rows(rows, gather(rows.size(0)));
}

Tensor Processes::gather_rows(const Tensor& rows, const std::vector<int64_t>& counts) {
  torch::NoGradGuard no_grad;
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = *std::max_element(counts.begin(), counts.end());
  Tensor mine = torch::zeros(shape, rows.options().requires_grad(false));
  mine.narrow(0, 0, rows.size(0)).copy_(rows);
  std::vector<std::vector<Tensor>> all(1);
  for (int r = 0; r < world(); ++r) all[0].push_back(torch::empty_like(mine));
  guarded(launch(), [&] {
    std::vector<Tensor> list = {mine};
    group_->on(rows.device())->allgather(all, list)->wait();
  });
  for (size_t r = 0; r < counts.size(); ++r) all[0][r] = all[0][r].narrow(0, 0, counts[r]);
  return torch::cat(all[0]);
}

bool Processes::any(bool mine) {
  Tensor flag = torch::full({1}, mine ? 1 : 0, torch::kInt64);
  maximum(flag);
  return flag.item<int64_t>() != 0;
}

std::string Processes::from_first(const std::string& text) {
  Tensor length = torch::full({1}, first() ? static_cast<int64_t>(text.size()) : 0, torch::kInt64);
  sum(length);
  Tensor bytes = torch::zeros({length.item<int64_t>()}, torch::kUInt8);
  if (bytes.numel() == 0) return {};
  if (first()) std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<uint8_t>());
  sum(bytes);  // the others add zeros
  const auto* from = bytes.const_data_ptr<uint8_t>();
  return {from, from + bytes.numel()};
}

void Processes::barrier() {
  any(false);
}

void Processes::first_only(const std::function<void()>& work) {
  if (first()) work();
  barrier();
}

void first_only(Processes* processes, const std::function<void()>& work) {
  if (processes != nullptr)
    processes->first_only(work);
  else
    work();
}

bool as_first(Processes* processes, bool mine) {
  return processes == nullptr ? mine : !processes->from_first(mine ? "yes" : "").empty();
}

void translate(const Processes& processes, const std::function<void()>& work) {
  guarded(processes.launch(), work);
}

}  // namespace compress::parallel
