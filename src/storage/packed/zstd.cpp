#include "packed/zstd.h"

#ifdef COMPRESS_ZSTD
#include <zstd.h>
#endif

#include <memory>

#include "compress/base/error.h"

namespace compress::storage {

#ifdef COMPRESS_ZSTD

namespace {

// What weights have is entropy: higher levels look for repetitions, which there are few of.
constexpr int level = 9;

}  // namespace

bool has_zstd() {
  return true;
}

std::string zstd_packed(std::string_view bytes) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  if (context == nullptr) throw Error(ErrorKind::internal, "libzstd could not be started");
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size =
      ZSTD_compress2(context.get(), frame.data(), frame.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(size) != 0)
    throw Error(ErrorKind::internal, std::string("libzstd: ") + ZSTD_getErrorName(size));
  frame.resize(size);
  return frame;
}

unsigned long long zstd_claim(std::string_view frame, unsigned long long otherwise) {
  const unsigned long long claim = ZSTD_getFrameContentSize(frame.data(), frame.size());
  return claim == ZSTD_CONTENTSIZE_UNKNOWN || claim == ZSTD_CONTENTSIZE_ERROR ? otherwise : claim;
}

bool zstd_unpack(std::string_view frame, char* out, size_t size) {
  if (zstd_claim(frame, ZSTD_CONTENTSIZE_ERROR) != size ||
      ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size())
    return false;
  return ZSTD_decompress(out, size, frame.data(), frame.size()) == size;
}

#else

bool has_zstd() {
  return false;
}
std::string zstd_packed(std::string_view) {
  throw Error(ErrorKind::internal, "this build has no libzstd");
}
unsigned long long zstd_claim(std::string_view, unsigned long long otherwise) {
  return otherwise;
}
bool zstd_unpack(std::string_view, char*, size_t) {
  return false;
}

#endif

}  // namespace compress::storage
