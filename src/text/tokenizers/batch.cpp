#include "compress/text/batch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::text {
namespace {

constexpr int64_t chunk_texts = 256;  // texts that a thread takes at a time

// The ids of up to `chunk_texts` neighbouring texts.
struct Chunk {
  std::vector<int32_t> ids;
  std::exception_ptr error;
};

}  // namespace

PackedIds encode_all(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                     std::span<const std::string_view> pairs, const EncodeOptions& options,
                     int threads) {
  if (!pairs.empty() && pairs.size() != texts.size())
    throw Error(ErrorKind::data, str(texts.size(), " first texts but ", pairs.size(),
                                     " second texts: each needs the other"));
  const int64_t count = static_cast<int64_t>(texts.size());
  const int64_t chunk_count = (count + chunk_texts - 1) / chunk_texts;
  EncodeOptions plain = options;
  plain.offsets = false;

  PackedIds packed;
  packed.offsets.assign(static_cast<size_t>(count) + 1, 0);
  packed.first_lengths.assign(static_cast<size_t>(count), 0);
  std::vector<Chunk> chunks(static_cast<size_t>(chunk_count));

  auto encode_chunk = [&](int64_t index, Encoding& encoding) {
    Chunk& chunk = chunks[static_cast<size_t>(index)];
    int64_t text = index * chunk_texts;
    try {
      for (int64_t last = std::min(text + chunk_texts, count); text < last; ++text) {
        size_t i = static_cast<size_t>(text);
        std::optional<std::string_view> pair;
        if (!pairs.empty()) pair = pairs[i];
        tokenizer.encode(texts[i], pair, plain, encoding);
        chunk.ids.insert(chunk.ids.end(), encoding.ids.begin(), encoding.ids.end());
        packed.offsets[i + 1] = static_cast<int64_t>(encoding.ids.size());
        packed.first_lengths[i] = encoding.first_length;
      }
    } catch (const Error& e) {
      chunk.error = std::make_exception_ptr(
          Error(e.kind(), e.message(), str("text ", text, " (counted from 0)"), e.hint()));
    } catch (...) {
      chunk.error = std::current_exception();
    }
  };

  std::atomic<int64_t> next{0};
  auto work = [&] {
    Encoding encoding;
    for (int64_t i = next++; i < chunk_count; i = next++) encode_chunk(i, encoding);
  };
  int64_t workers = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  {
    std::vector<std::jthread> pool;
    for (int64_t i = 1; i < std::min(workers, chunk_count); ++i) pool.emplace_back(work);
    work();
  }

  int64_t total = 0;
  for (const Chunk& chunk : chunks) {
    if (chunk.error) std::rethrow_exception(chunk.error);
    total += static_cast<int64_t>(chunk.ids.size());
  }
  packed.ids.reserve(static_cast<size_t>(total));
  for (const Chunk& chunk : chunks)
    packed.ids.insert(packed.ids.end(), chunk.ids.begin(), chunk.ids.end());
  for (size_t i = 0; i < texts.size(); ++i) packed.offsets[i + 1] += packed.offsets[i];
  return packed;
}

}  // namespace compress::text
