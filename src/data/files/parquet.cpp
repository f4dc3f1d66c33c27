// Parquet through a library beside the executable, which is loaded when the first such file is
// read.

#include <dlfcn.h>

#include <exception>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/contents.h"
#include "parquet/plugin.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* library_name = "libcompress_parquet.so";
constexpr std::string_view mark = "PAR1";  // begins and ends such a file

// Beside the executable, in the lib of a bundle, or where this build made it; "" where none is.
std::string library() {
  std::error_code failed;
  const fs::path own = fs::read_symlink("/proc/self/exe", failed).parent_path();
  std::vector<fs::path> places = {own / library_name, own / ".." / "lib" / library_name};
#ifdef COMPRESS_PARQUET_LIBRARY
  places.emplace_back(COMPRESS_PARQUET_LIBRARY);
#endif
  for (const fs::path& place : places)
    if (fs::exists(place, failed)) return place.string();
  return {};
}

using Rows = decltype(&compress_parquet_rows);

// The function, found once. Its library stays loaded.
Rows rows_function() {
  static const Rows found = [] {
    void* handle = ::dlopen(library().c_str(), RTLD_NOW | RTLD_LOCAL);
    void* symbol = handle == nullptr ? nullptr : ::dlsym(handle, "compress_parquet_rows");
    if (symbol == nullptr) {
      const char* why = ::dlerror();
      throw Error(ErrorKind::data,
                  str("the library that reads Parquet cannot be loaded: ",
                      why == nullptr ? "no reason is told" : why),
                  library(), parquet_hint);
    }
    return reinterpret_cast<Rows>(symbol);
  }();
  return found;
}

struct Writing {
  Scratch* out;
  std::exception_ptr failure;
};

int write(void* to, const char* bytes, size_t count) {
  auto& writing = *static_cast<Writing*>(to);
  try {
    writing.out->append({bytes, count});
    return 0;
  } catch (...) {  // must not pass through another library
    writing.failure = std::current_exception();
    return 1;
  }
}

}  // namespace

bool reads_parquet() {
  static const bool found = !library().empty();
  return found;
}

bool is_parquet(std::string_view bytes, const fs::path& file) {
  return bytes.starts_with(mark) &&
         (bytes.ends_with(mark) || lower_ascii(file.extension().string()) == ".parquet");
}

void parquet_rows(const std::string& path, const fs::path& file, Scratch& out) {
  if (!reads_parquet()) refuse_parquet(file);
  Writing writing{&out, nullptr};
  char why[512];
  const int failed = rows_function()(path.c_str(), write, &writing, why, sizeof why);
  if (writing.failure) std::rethrow_exception(writing.failure);
  if (failed != 0)
    throw Error(ErrorKind::data, str("the Parquet file cannot be read: ", why), file.string(),
                "fetch it again, or see what pyarrow says of it");
}

}  // namespace compress::data
