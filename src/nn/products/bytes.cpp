// Which instructions multiply bytes.

#include "products/bytes.h"

#include "compress/base/cpu.h"

namespace compress::nn::panels {

#if defined(__x86_64__)

namespace {

// From so many rows on, tiles of 16 rows are faster than AVX-512 VNNI, with 312 to 1536 inputs:
// measured (bench/sparse_kernels.cpp, dense, held to avx512 and to amx).
constexpr int64_t rows_for_tiles = 12;

}  // namespace

bool has_bytes() {
  return cpu::has_vnni() || cpu::set() == cpu::Set::avxvnni;
}

Tiles::Tiles(int64_t rows) : in_use_(rows >= rows_for_tiles && cpu::set() == cpu::Set::amx) {
  if (in_use_) begin_tiles();
}
Tiles::~Tiles() {
  if (in_use_) end_tiles();
}

void multiply_bytes(const Task& task) {
  if (task.tiles)
    bytes_by_tiles(task);
  else if (cpu::has_vnni())
    bytes_by_vnni(task);
  else
    bytes_by_avxvnni(task);
}

std::string bytes_by() {
  if (cpu::set() == cpu::Set::amx)
    return "AMX from " + std::to_string(rows_for_tiles) + " rows on, else AVX-512 VNNI";
  return cpu::has_vnni() ? "AVX-512 VNNI" : "AVX-VNNI";
}

#else

Tiles::Tiles(int64_t) {}
Tiles::~Tiles() {}

#if defined(__aarch64__)

bool has_bytes() {
  return true;
}
void multiply_bytes(const Task& task) {
  if (cpu::set() == cpu::Set::dotprod)
    bytes_by_dotprod(task);
  else
    bytes_by_neon(task);
}
std::string bytes_by() {
  return cpu::set() == cpu::Set::dotprod ? "dot products" : "NEON";
}

#else

bool has_bytes() {
  return false;
}
void multiply_bytes(const Task&) {}
std::string bytes_by() {
  return "";
}

#endif
#endif

}  // namespace compress::nn::panels
