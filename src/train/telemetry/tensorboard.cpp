#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/train/telemetry.h"

namespace compress {

namespace {

// One byte's effect on the reflected Castagnoli polynomial.
constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> crc_of_byte = crc_table();

// The few protobuf encodings that an Event needs.
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

template <class Unsigned>
void put_fixed(std::string& out, Unsigned value) {
  for (size_t i = 0; i < sizeof value; ++i)
    out.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

enum class WireType : uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_key(std::string& out, uint32_t field, WireType type) {
  put_varint(out, field << 3 | static_cast<uint32_t>(type));
}

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_key(out, field, WireType::bytes);
  put_varint(out, bytes.size());
  out.append(bytes);
}

void put_int(std::string& out, uint32_t field, int64_t value) {
  put_key(out, field, WireType::varint);
  put_varint(out, static_cast<uint64_t>(value));
}

void put_float(std::string& out, uint32_t field, float value) {
  put_key(out, field, WireType::fixed32);
  put_fixed(out, std::bit_cast<uint32_t>(value));
}

// Event: wall_time = 1, step = 2, and one of file_version = 3, summary = 5, session_log = 7.
std::string event(double wall_time, int64_t step, uint32_t field, std::string_view content) {
  std::string out;
  put_key(out, 1, WireType::fixed64);
  put_fixed(out, std::bit_cast<uint64_t>(wall_time));
  put_int(out, 2, step);
  put_bytes(out, field, content);
  return out;
}

float to_float(double value) {
  if (!std::isfinite(value)) return static_cast<float>(value);
  constexpr double limit = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -limit, limit));
}

// Summary: repeated value = 1 of { tag = 1, simple_value = 2 }.
std::string summary(std::span<const NamedValue> values) {
  std::string out, value;
  for (const auto& [tag, number] : values) {
    value.clear();
    put_bytes(value, 1, tag);
    put_float(value, 2, to_float(number));
    put_bytes(out, 1, value);
  }
  return out;
}

std::string frame(std::string_view data) {
  std::string out;
  out.reserve(data.size() + 16);
  put_fixed(out, static_cast<uint64_t>(data.size()));
  put_fixed(out, masked_crc32c(out));
  out.append(data);
  put_fixed(out, masked_crc32c(data));
  return out;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::filesystem::path events_file(const std::filesystem::path& folder) {
  static std::atomic<int> count{0};
  make_folder(folder);
  char host[256] = {};
  bool named = ::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0';
  std::replace(host, host + sizeof host, '/', '_');
  // Whole seconds in ten digits: TensorBoard reads the files of a folder in the order of their
  // names.
  std::string seconds = fixed(std::floor(now()), 0);
  return folder / str("events.out.tfevents.", seconds, ".", named ? host : "localhost", ".",
                      std::to_string(::getpid()), ".", std::to_string(count++));
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (char c : bytes) crc = (crc >> 8) ^ crc_of_byte[(crc ^ static_cast<uint8_t>(c)) & 0xFF];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, int64_t resume_step)
    : file_(events_file(folder)) {
  file_.append(frame(event(now(), 0, 3, "brain.Event:2")));
  if (resume_step < 0) return;
  std::string session;  // SessionLog: status = 1, of which START is 1; readers drop earlier points
                        // from this step on
  put_int(session, 1, 1);
  file_.append(frame(event(now(), resume_step + 1, 7, session)));
}

void TensorBoardWriter::write(int64_t step, std::span<const NamedValue> values) {
  write(step, now(), values);
}

void TensorBoardWriter::write(int64_t step, double wall_time, std::span<const NamedValue> values) {
  file_.append(frame(event(wall_time, step, 5, summary(values))));
}

}  // namespace compress
