#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "tokens/token_layout.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

// A file without a name that holds an array until its place in the file is known.
class Spill {
 public:
  explicit Spill(const fs::path& folder) : folder_(folder) {
    std::string name = (folder / ".tokens-XXXXXX").string();
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ < 0 || ::unlink(name.c_str()) != 0) fail("cannot write");
  }
  ~Spill() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;

  void append(const void* data, size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    while (bytes > 0) {
      ssize_t done = ::write(descriptor_, at, bytes);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail("cannot write");
      at += done;
      bytes -= static_cast<size_t>(done);
    }
  }
  void copy_to(AtomicFile& file) {
    std::vector<char> buffer(size_t{1} << 20);
    if (::lseek(descriptor_, 0, SEEK_SET) < 0) fail("cannot read");
    for (;;) {
      ssize_t got = ::read(descriptor_, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("cannot read");
      if (got == 0) return;
      file.append({buffer.data(), static_cast<size_t>(got)});
    }
  }

 private:
  [[noreturn]] void fail(const char* action) const {
    throw Error(ErrorKind::disk, str(action, " a temporary file: ", std::strerror(errno)),
                folder_.string(), "free some space or choose another folder");
  }

  fs::path folder_;
  int descriptor_ = -1;
};

}  // namespace

struct TokenWriter::State {
  TokenFileKey key;
  AtomicFile file;
  std::array<std::optional<Spill>, section_count> spills;
  std::array<WordSum, section_count> sums;
  int64_t rows = 0, tokens = 0;

  template <class T>
  void add(Section section, std::span<const T> items, size_t wanted) {
    if (items.size() != wanted)
      throw Error(ErrorKind::internal, str(items.size(), " entries for ", wanted, " in part ",
                                           static_cast<int>(section), " of a file of tokens"));
    if (items.empty()) return;
    auto index = static_cast<size_t>(section);
    sums[index].update(items.data(), items.size_bytes());
    if (section == Section::ids)
      file.append({reinterpret_cast<const char*>(items.data()), items.size_bytes()});
    else
      spills[index]->append(items.data(), items.size_bytes());
  }
};

TokenWriter::TokenWriter(const fs::path& path, TokenFileKey key)
    : state_(new State{std::move(key), AtomicFile(path), {}, {}}) {
  if (state_->key.content_hash.size() != sizeof TokenHeader::content_hash)
    throw Error(ErrorKind::internal, "a file of tokens without a content hash", path.string());
  fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  TokenLayout layout = token_layout(state_->key, 1, 1);
  for (size_t i = 1; i < section_count; ++i)
    if (layout.bytes[i] > 0) state_->spills[i].emplace(folder);
  state_->file.seek(token_page);
  const int64_t first = 0;
  state_->add(Section::offsets, std::span(&first, 1), 1);
}

TokenWriter::~TokenWriter() = default;
int64_t TokenWriter::rows() const {
  return state_->rows;
}
int64_t TokenWriter::tokens() const {
  return state_->tokens;
}

void TokenWriter::append(const Split& part) {
  State& s = *state_;
  const auto count = static_cast<size_t>(part.texts());
  std::vector<int64_t> offsets(part.offsets.begin() + 1, part.offsets.end());
  for (int64_t& offset : offsets) offset += s.tokens;
  auto wanted = [&](RowTargets targets, int64_t width) {
    return s.key.targets == targets ? count * static_cast<size_t>(width) : 0;
  };
  s.add<int32_t>(Section::ids, part.ids, static_cast<size_t>(part.offsets.back()));
  s.add<int64_t>(Section::offsets, offsets, count);
  s.add<int32_t>(Section::first_lengths, part.first_lengths, count);
  s.add<int64_t>(Section::lines, part.lines, count);
  if (s.key.targets == RowTargets::token_classes)
    s.add<int32_t>(Section::classes, part.token_classes, part.ids.size());
  else if (s.key.targets == RowTargets::spans)
    s.add<int32_t>(Section::classes, part.spans, 2 * count);
  else
    s.add<int32_t>(Section::classes, part.classes, wanted(RowTargets::classes, 1));
  s.add<float>(Section::values, part.values, wanted(RowTargets::values, 1));
  s.add<float>(Section::soft, part.soft, wanted(RowTargets::soft, s.key.classes));
  s.add<float>(Section::weights, part.weights, s.key.weights ? count : 0);
  s.add<int64_t>(Section::groups, part.groups, s.key.groups ? count : 0);
  s.rows += part.texts();
  s.tokens += part.offsets.back();
}

void TokenWriter::commit(int64_t blank_lines, int64_t empty_rows, int64_t skipped) {
  State& s = *state_;
  TokenHeader header{};
  std::copy(std::begin(token_magic), std::end(token_magic), header.magic);
  header.version = token_file_version;
  header.targets = static_cast<uint32_t>(s.key.targets);
  std::copy(s.key.content_hash.begin(), s.key.content_hash.end(), header.content_hash);
  header.rows = static_cast<uint64_t>(s.rows);
  header.tokens = static_cast<uint64_t>(s.tokens);
  header.classes = static_cast<uint64_t>(s.key.classes);
  header.vocabulary = static_cast<uint64_t>(s.key.vocabulary);
  header.blank_lines = static_cast<uint64_t>(blank_lines);
  header.empty_rows = static_cast<uint64_t>(empty_rows);
  header.skipped = static_cast<uint64_t>(skipped);
  header.columns = columns_of(s.key);
  for (size_t i = 0; i < first_sums; ++i) header.sums[i] = s.sums[i].value();
  for (size_t i = first_sums; i < section_count; ++i)
    if (s.spills[i]) header.column_sums[i - first_sums] = s.sums[i].value();
  header.sum = header_sum(header);
  TokenLayout layout = token_layout(s.key, header.rows, header.tokens);
  for (size_t i = 1; i < section_count; ++i) {
    if (layout.bytes[i] == 0) continue;
    s.file.seek(layout.begin[i]);
    s.spills[i]->copy_to(s.file);
  }
  s.file.seek(0);
  s.file.append({reinterpret_cast<const char*>(&header), sizeof header});
  s.file.commit();
}

}  // namespace compress::data
