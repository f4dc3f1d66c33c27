#include "graphs/graph.h"

#include <algorithm>
#include <map>
#include <optional>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"

#ifdef COMPRESS_CUDA
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace compress::train {

namespace {

using torch::Tensor;

constexpr size_t most_graphs = 64;

PassLosses copied(const PassLosses& losses) {
  PassLosses copy;
  for (const auto& [name, value] : losses.terms) copy.terms.emplace_back(name, value.clone());
  if (losses.total.defined()) copy.total = losses.total.clone();
  return copy;
}

// Tensors of the batch, in a fixed order; undefined ones included.
std::vector<Tensor*> tensors_of(data::Batch& batch) {
  return {&batch.token_ids,      &batch.segment_ids,
          &batch.positions,      &batch.offsets,
          &batch.slots,          &batch.ends,
          &batch.present,        &batch.targets.distribution,
          &batch.targets.values, &batch.targets.token_labels,
          &batch.targets.weights};
}

// `from` is on the host. The copy goes through pinned memory, which its allocator keeps until the
// device has read it.
void copy_over(Tensor& to, const Tensor& from, torch::Device device) {
  if (!from.defined()) return;
  const Tensor source =
      device.is_cuda() && from.is_cpu() && !from.is_pinned() ? from.pin_memory() : from;
  if (!to.defined())
    to = torch::empty_like(from, from.options().device(device).pinned_memory(false));
  to.copy_(source, /*non_blocking=*/true);
}

}  // namespace

struct StepGraphs::Impl {
  // What one bucket's graph reads and writes.
  struct Entry {
    data::Batch batch;
    std::map<std::string, Tensor> staged;
    int64_t passes = 0;
    PassLosses losses;                           // in the graph's memory
    std::vector<nn::Parameter*> with_gradients;  // in their gradient_buffer
#ifdef COMPRESS_CUDA
    std::unique_ptr<at::cuda::CUDAGraph> graph;
#endif
  };

  torch::Device device;
  std::vector<nn::Parameter*> parameters;
  std::map<Bucket, Entry> entries;
  Entry* current = nullptr;
  bool failed = false;  // nothing more is recorded
  int64_t graphs = 0;

  // Moves every gradient to the memory that its parameter keeps, so that all graphs leave them at
  // one place and none of them holds memory for its own.
  void keep_gradients(Entry& entry) {
    torch::NoGradGuard no_grad;
    std::vector<Tensor> to, from;
    entry.with_gradients.clear();
    for (nn::Parameter* parameter : parameters) {
      Tensor& gradient = parameter->latent.mutable_grad();
      if (!gradient.defined()) continue;
      entry.with_gradients.push_back(parameter);
      if (!parameter->gradient_buffer.defined())
        parameter->gradient_buffer =
            torch::empty_like(parameter->latent, parameter->latent.options().requires_grad(false));
      if (gradient.is_same(parameter->gradient_buffer)) continue;
      to.push_back(parameter->gradient_buffer);
      from.push_back(gradient);
      gradient = parameter->gradient_buffer;
    }
    if (!to.empty()) at::_foreach_copy_(to, from);
  }

  PassLosses compute(Entry& entry, const std::function<PassLosses()>& pass) {
    PassLosses losses = pass();
    keep_gradients(entry);
    return losses;
  }

  void drop_gradients() {
    for (nn::Parameter* parameter : parameters) parameter->latent.mutable_grad().reset();
  }

#ifdef COMPRESS_CUDA
  // Recording computes nothing. What it allocates comes from a pool that all graphs share: they are
  // played one at a time, and nothing but `losses` outlives a play.
  c10::MempoolId_t pool{0, 0};
  std::optional<c10::Stream> stream;

  bool record(Entry& entry, uint64_t seed, const std::function<PassLosses()>& pass) {
    if (pool == c10::MempoolId_t{0, 0}) pool = at::cuda::graph_pool_handle();
    c10::cuda::device_synchronize();
    nn::begin_draws(device, seed);
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Always the same stream: cuBLAS keeps a workspace for each.
    if (!stream)
      stream = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    try {
      c10::StreamGuard guard(*stream);
      nn::Recording recording;
      // Captures this thread alone: the loader's thread pins memory meanwhile.
      graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
      try {
        entry.losses = compute(entry, pass);
      } catch (...) {
        end_quietly(*graph);
        throw;
      }
      graph->capture_end();
    } catch (const c10::Error& error) {
      log::warn(str("CUDA graphs are given up, the pass could not be recorded: ",
                    error.what_without_backtrace()));
      give_up();
      drop_gradients();
      return false;
    }
    entry.graph = std::move(graph);
    ++graphs;
    return true;
  }

  // Ends a capture that went wrong; that this fails, too, says nothing new.
  static void end_quietly(at::cuda::CUDAGraph& graph) {
    try {
      graph.capture_end();
    } catch (const c10::Error&) {
    }
  }

  // A capture that broke off leaves the generator in its capturing state, where every later draw
  // fails. The device gets a fresh state; graphs that were recorded before read the old one.
  void give_up() {
    failed = true;
    for (auto& [bucket, entry] : entries) {
      entry.graph.reset();
      entry.losses = {};
    }
    graphs = 0;
    at::Generator generator = at::globalContext().defaultGenerator(device);
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.graphsafe_set_state(at::cuda::detail::createCUDAGenerator(device.index()));
  }

  PassLosses play(Entry& entry, uint64_t seed) {
    nn::begin_draws(device, seed);
    entry.graph->replay();
    for (nn::Parameter* parameter : entry.with_gradients)
      parameter->latent.mutable_grad() = parameter->gradient_buffer;
    return copied(entry.losses);
  }

  static bool has(const Entry& entry) {
    return entry.graph != nullptr;
  }
  void forget() {
    c10::cuda::device_synchronize();  // for graphs that still play
    entries.clear();
    pool = {0, 0};  // the allocator has done with a pool whose last graph is gone
  }
#else
  bool record(Entry&, uint64_t, const std::function<PassLosses()>&) {
    return false;
  }
  PassLosses play(Entry&, uint64_t) {
    return {};
  }
  static bool has(const Entry&) {
    return false;
  }
  void forget() {
    entries.clear();
  }
#endif
};

StepGraphs::StepGraphs(torch::Device device, std::vector<nn::Parameter*> parameters)
    : impl_(new Impl{.device = device, .parameters = std::move(parameters)}) {}

StepGraphs::~StepGraphs() = default;

bool StepGraphs::available() {
#ifdef COMPRESS_CUDA
  return true;
#else
  return false;
#endif
}

const data::Batch& StepGraphs::stage(const data::Batch& batch) {
  const Bucket bucket = bucket_of(batch);
  Impl::Entry& entry = impl_->entries[bucket];
  impl_->current = &entry;
  data::Batch source = data::padded(batch, bucket.tokens, bucket.longest);
  const std::vector<Tensor*> to = tensors_of(entry.batch), from = tensors_of(source);
  for (size_t i = 0; i < to.size(); ++i) copy_over(*to[i], *from[i], impl_->device);
  entry.batch.row_offsets = source.row_offsets;
  entry.batch.longest = source.longest;
  entry.batch.example_ids = source.example_ids;
  return entry.batch;
}

Tensor StepGraphs::stage(const Tensor& value, const std::string& name) {
  Tensor& place = impl_->current->staged[name];
  if (!place.defined()) place = torch::empty_like(value);
  return place.copy_(value, /*non_blocking=*/true);
}

PassLosses StepGraphs::run(uint64_t seed, const std::function<PassLosses()>& pass) {
  Impl& impl = *impl_;
  if (impl.current == nullptr) throw Error(ErrorKind::internal, "a pass without a staged batch");
  Impl::Entry& entry = *impl.current;
  const bool full = static_cast<size_t>(impl.graphs) >= most_graphs;
  const bool may_record = impl.device.is_cuda() && available() && !impl.failed && !full;
  if (!Impl::has(entry) && entry.passes > 0 && may_record) impl.record(entry, seed, pass);
  ++entry.passes;
  if (Impl::has(entry)) return impl.play(entry, seed);
  return copied(impl.compute(entry, pass));
}

void StepGraphs::forget() {
  if (impl_->graphs == 0) return;
  impl_->forget();
  impl_->current = nullptr;
  impl_->graphs = 0;
}

int64_t StepGraphs::recorded() const {
  return impl_->graphs;
}

}  // namespace compress::train
