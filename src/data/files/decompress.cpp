// gzip by zlib, zstd by libzstd, as far as the build found them.

#ifdef COMPRESS_ZLIB
#define compress zlib_compress  // zlib has a function of this namespace's name
#include <zlib.h>
#undef compress
#endif
#ifdef COMPRESS_ZSTD
#include <zstd.h>
#endif

#include <memory>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/contents.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr size_t room = size_t{1} << 20;

[[noreturn]] [[maybe_unused]] void damaged(const fs::path& file, const char* format,
                                           uint64_t written, const std::string& why) {
  throw Error(ErrorKind::data,
              str("the ", format, " file is damaged: ", why, " after ", with_commas(written),
                  " bytes of text"),
              file.string(), "fetch or compress it again");
}

[[noreturn]] [[maybe_unused]] void cut_off(const fs::path& file, const char* format,
                                           uint64_t written) {
  throw Error(
      ErrorKind::data,
      str("the ", format, " file is cut off after ", with_commas(written), " bytes of text"),
      file.string(), "fetch or compress it again; nothing of it was used");
}

[[noreturn]] [[maybe_unused]] void not_built_in(const fs::path& file, const char* format,
                                                const char* package, const char* tool) {
  throw Error(ErrorKind::data, str("this program was built without ", format), file.string(),
              str("install ", package, " and build again (scripts/setup does), or decompress it: ",
                  tool, " ", file.string()));
}

#ifdef COMPRESS_ZLIB
void gunzip(std::string_view bytes, const fs::path& file, Scratch& out) {
  z_stream stream{};
  // 15 bits of window, 16: gzip alone.
  if (inflateInit2(&stream, 15 + 16) != Z_OK)
    throw Error(ErrorKind::internal, "zlib could not be started");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  std::string buffer(room, '\0');
  const uint64_t before = out.size();
  bool whole = false;  // the last member came to its end
  Passing passing(bytes);
  while (!bytes.empty()) {
    if (whole) {
      // Bytes of zero behind the last member are padding of tapes, as gzip itself has it.
      if (bytes.find_first_not_of('\0') == std::string_view::npos) break;
      if (packed_as(bytes) != Packed::gzip)
        damaged(file, "gzip", out.size() - before, "other bytes follow");
      inflateReset(&stream);
      whole = false;
    }
    const size_t piece = std::min<size_t>(bytes.size(), room);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(piece);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream.avail_out = static_cast<uInt>(buffer.size());
      const int status = inflate(&stream, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        damaged(file, "gzip", out.size() - before, stream.msg != nullptr ? stream.msg : "no data");
      out.append(std::string_view(buffer).substr(0, buffer.size() - stream.avail_out));
      whole = status == Z_STREAM_END;
    } while (!whole && (stream.avail_in > 0 || stream.avail_out == 0));
    bytes.remove_prefix(piece - stream.avail_in);
    passing.to(bytes.data());
  }
  if (!whole) cut_off(file, "gzip", out.size() - before);
}
#endif

#ifdef COMPRESS_ZSTD
void unzstd(std::string_view bytes, const fs::path& file, Scratch& out) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                        ZSTD_freeDStream);
  if (stream == nullptr) throw Error(ErrorKind::internal, "libzstd could not be started");
  std::string buffer(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  const uint64_t before = out.size();
  size_t wanted = 1;  // 0: a frame came to its end
  bool full = false;  // there may be more behind what the buffer had room for
  Passing passing(bytes);
  while (in.pos < in.size || full) {
    ZSTD_outBuffer to{buffer.data(), buffer.size(), 0};
    wanted = ZSTD_decompressStream(stream.get(), &to, &in);
    if (ZSTD_isError(wanted) != 0)
      damaged(file, "zstd", out.size() - before, ZSTD_getErrorName(wanted));
    out.append(std::string_view(buffer).substr(0, to.pos));
    full = wanted != 0 && to.pos == to.size;
    passing.to(bytes.data() + in.pos);
  }
  if (wanted != 0) cut_off(file, "zstd", out.size() - before);
}
#endif

}  // namespace

Packed packed_as(std::string_view bytes) {
  if (bytes.starts_with("\x1F\x8B\x08")) return Packed::gzip;
  if (bytes.starts_with("\x28\xB5\x2F\xFD")) return Packed::zstd;
  return Packed::no;
}

void decompress(Packed how, std::string_view bytes, const fs::path& file, Scratch& out) {
  if (how == Packed::gzip) {
#ifdef COMPRESS_ZLIB
    return gunzip(bytes, file, out);
#else
    not_built_in(file, "gzip", "zlib1g-dev", "gunzip");
#endif
  }
#ifdef COMPRESS_ZSTD
  unzstd(bytes, file, out);
#else
  not_built_in(file, "zstd", "libzstd-dev", "unzstd");
#endif
}

}  // namespace compress::data
