#pragma once
// Memory of tensors on the CPU.

#include "compress/data/torch.h"

#include <cstdint>

namespace compress::nn {

// From here on, memory that CPU tensors free is kept for the next ones of about its size. Training
// frees and allocates the same large tensors in every step: given back to the system, every step
// would pay for page faults and zeroed pages; kept by malloc, for searches through its lists. What
// is used and what is kept are together at most one and a quarter times what was in use at the
// peak. Call once, before the first tensor is made; tensors of other allocators are unaffected.
void keep_tensor_memory();

// Bytes that live tensors hold now and held at most, and bytes kept for later; 0 before
// keep_tensor_memory().
struct TensorMemory {
  int64_t used = 0, peak = 0, kept = 0;
};
TensorMemory tensor_memory();

// Gives back what is kept: after a model was made, whose tensors were there more than once.
void release_kept_memory();

// Zeros [sizes] float32 on the CPU whose memory the system gives page by page, when a page is first
// written: a table of which few rows are used takes little more than these. Reading takes none.
torch::Tensor paged_zeros(at::IntArrayRef sizes);
// The pages of `count` floats from `first` on are there to be written. Whoever reads a page of
// paged_zeros() before writing it pays for two page faults, the second of which interrupts all
// other threads: call this first, where a row is read and then written.
void claim_pages(float* first, int64_t count);
// All of it zeros again, its memory given back; `zeros` is paged_zeros()'s.
void clear_pages(const torch::Tensor& zeros);
// Rows `ids` (int64, any number of times each) of paged_zeros() [rows, width] are zeros again,
// where no others were written. Their pages stay for what is written there next, which then waits
// for no page fault, until a quarter of all (at least 64 MiB) was touched; then all are given back.
void clear_rows(const torch::Tensor& zeros, at::ArrayRef<torch::Tensor> ids);

}  // namespace compress::nn
