#include "compress/nn/memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace compress::nn {

namespace {

constexpr size_t line = 64;         // alignment, and the room of a header
constexpr size_t small = 16 << 10;  // malloc is good at what is smaller
constexpr size_t page = 4 << 10;    // sizes are whole multiples

// Before the data of a block.
struct Header {
  size_t bytes;  // of the data; 0 = not kept when freed
};
static_assert(sizeof(Header) <= line);

class Keeper final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    void* data = bytes < small ? fresh(bytes, 0) : take((bytes + page - 1) / page * page);
    return {data, data, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  TensorMemory report() {
    std::lock_guard lock(mutex_);
    return {static_cast<int64_t>(used_), static_cast<int64_t>(peak_), static_cast<int64_t>(kept_)};
  }
  void give_back() {
    std::lock_guard lock(mutex_);
    for (const auto& [bytes, data] : blocks_) std::free(header(data));
    blocks_.clear();
    kept_ = 0;
  }
  static Keeper& instance() {
    static auto* keeper = new Keeper;  // tensors may outlive static objects
    return *keeper;
  }

 private:
  static void* fresh(size_t bytes, size_t known) {
    void* block = std::aligned_alloc(line, line + (bytes + line - 1) / line * line);
    TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "the machine has no memory for ", bytes,
                     " more bytes");
    static_cast<Header*>(block)->bytes = known;
    return static_cast<char*>(block) + line;
  }
  static Header* header(void* data) {
    return reinterpret_cast<Header*>(static_cast<char*>(data) - line);
  }

  // The smallest kept block that fits and is not far too large.
  void* take(size_t bytes) {
    std::lock_guard lock(mutex_);
    auto it = blocks_.lower_bound(bytes);
    if (it == blocks_.end() || it->first > 2 * bytes) {
      void* data = fresh(bytes, bytes);
      used_ += bytes;
      peak_ = std::max(peak_, used_);
      trim();
      return data;
    }
    void* data = it->second;
    kept_ -= it->first;
    used_ += it->first;
    peak_ = std::max(peak_, used_);
    blocks_.erase(it);
    return data;
  }

  void keep(void* data, size_t bytes) {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
    kept_ += bytes;
    blocks_.emplace(bytes, data);
    trim();
  }

  // Small blocks are the most and the least use: they go first.
  void trim() {
    while (!blocks_.empty() && used_ + kept_ > peak_ + peak_ / 4) {
      auto first = blocks_.begin();
      kept_ -= first->first;
      std::free(header(first->second));
      blocks_.erase(first);
    }
  }

  static void release(void* data) {
    if (data == nullptr) return;
    const size_t bytes = header(data)->bytes;
    if (bytes == 0)
      std::free(header(data));
    else
      instance().keep(data, bytes);
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> blocks_;
  size_t used_ = 0, peak_ = 0, kept_ = 0;
};

bool installed = false;

}  // namespace

void keep_tensor_memory() {
  installed = true;
  // Large blocks are mapped one by one: in malloc's heap what is freed between others would stay
  // the process's, and all of a buffer would be resident where its user (a compiler of products)
  // needs its beginning. Set, the limit does not grow either.
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  c10::SetCPUAllocator(&Keeper::instance(), /*priority=*/1);
}

void release_kept_memory() {
  if (installed) Keeper::instance().give_back();
}

TensorMemory tensor_memory() {
  return installed ? Keeper::instance().report() : TensorMemory{};
}

namespace {

// What stands in front of paged zeros: which of their pages may have been written since all were
// given back. It is memory of the same kind, so that a bit nobody sets takes none.
struct Written {
  size_t pages = 0;  // bits that are set

  uint8_t* bits() { return reinterpret_cast<uint8_t*>(this + 1); }  // one a page
  static size_t page() {
    static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
  }
  // Bytes of it for zeros of `bytes`, whole pages.
  static size_t room(size_t bytes) {
    const size_t own = sizeof(Written) + bytes / page() / 8 + 1;
    return (own + page() - 1) / page() * page();
  }
  static Written& of(const torch::Tensor& zeros) {
    return *reinterpret_cast<Written*>(static_cast<char*>(zeros.data_ptr()) - room(zeros.nbytes()));
  }
  void add(size_t first_byte, size_t bytes) {
    for (size_t i = first_byte / page(); i <= (first_byte + bytes - 1) / page(); ++i) {
      const auto bit = static_cast<uint8_t>(1u << (i % 8));
      pages += (bits()[i / 8] & bit) == 0;
      bits()[i / 8] |= bit;
    }
  }
};

// Pages of rows that were cleared stay the process's up to this many bytes.
size_t kept_pages(const torch::Tensor& zeros) {
  return std::max(size_t{64} << 20, zeros.nbytes() / 4);
}

}  // namespace

torch::Tensor paged_zeros(at::IntArrayRef sizes) {
  const size_t bytes =
      std::max<size_t>(1, static_cast<size_t>(c10::multiply_integers(sizes))) * sizeof(float);
  const size_t front = Written::room(bytes), all = front + bytes;
  void* block = mmap(nullptr, all, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK_WITH(OutOfMemoryError, block != MAP_FAILED, "the machine has no room for ", bytes,
                   " more bytes");
  // A huge page would take two million bytes for one row. Kernels without them refuse, rightly.
  madvise(block, all, MADV_NOHUGEPAGE);
  return torch::from_blob(
      static_cast<char*>(block) + front, sizes, [block, all](void*) { munmap(block, all); },
      torch::kFloat32);
}

void claim_pages(float* first, int64_t count) {
  if (count <= 0) return;
  // Adding nothing writes a page and keeps what other threads write there meanwhile.
  const auto claim = [](float* at) {
    __atomic_fetch_add(reinterpret_cast<uint32_t*>(at), 0u, __ATOMIC_RELAXED);
  };
  const auto page = static_cast<int64_t>(Written::page() / sizeof(float));
  for (int64_t i = 0; i < count; i += page) claim(first + i);
  claim(first + count - 1);
}

void clear_pages(const torch::Tensor& zeros) {
  // Anonymous pages that are given back read as zeros.
  if (madvise(zeros.data_ptr(), zeros.nbytes(), MADV_DONTNEED) != 0) zeros.zero_();
  Written& written = Written::of(zeros);
  if (written.pages == 0) return;
  std::fill_n(written.bits(), zeros.nbytes() / Written::page() / 8 + 1, uint8_t{0});
  written.pages = 0;
}

void clear_rows(const torch::Tensor& zeros, at::ArrayRef<torch::Tensor> rows) {
  Written& written = Written::of(zeros);
  const auto bytes = static_cast<size_t>(zeros.stride(0)) * sizeof(float);
  char* data = static_cast<char*>(zeros.data_ptr());
  for (const torch::Tensor& ids : rows) {
    const torch::Tensor list = ids.contiguous();
    const int64_t* id = list.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < list.numel(); ++i) {
      const size_t first = static_cast<size_t>(id[i]) * bytes;
      std::memset(data + first, 0, bytes);
      written.add(first, bytes);
    }
  }
  if (written.pages * Written::page() > kept_pages(zeros)) clear_pages(zeros);
}

}  // namespace compress::nn
