#include "torch/zip.h"

#include <algorithm>
#include <utility>

#include "bytes.h"
#include "compress/storage/tensor.h"

namespace compress::storage {

namespace {

constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50,
                   end_signature = 0x06054b50, end64_signature = 0x06064b50,
                   locator64_signature = 0x07064b50;
constexpr uint64_t end_size = 22, locator_size = 20, local_size = 30, central_size = 46;
// Fields with all bits set say that the 64-bit extension has the value.
constexpr uint32_t max16 = 0xFFFF, max32 = 0xFFFFFFFF;

struct Directory {
  uint64_t count = 0, size = 0, offset = 0;
};

struct Listed {  // an entry as the central directory has it
  std::string_view name;
  uint16_t flags = 0;
  uint64_t size = 0, header = 0;
};

struct Span {
  uint64_t begin, end;
};

class Zip {
 public:
  Zip(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}
  std::vector<ZipEntry> entries();

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::model, "the zip archive " + what, file_,
                "the file is damaged or was not written by torch.save; fetch it again");
  }
  ByteReader reader(uint64_t at) const { return ByteReader(bytes_, file_, at); }
  uint64_t find_end() const;
  Directory directory() const;
  void widen(Directory& found, uint64_t end) const;
  Listed next_listed(ByteReader& in) const;
  void extend(Listed& entry, std::string_view extra, bool wide_size, bool wide_header,
              uint64_t unpacked) const;
  ZipEntry locate(const Listed& entry, uint64_t limit, Span& span) const;

  std::string_view bytes_;
  const std::string& file_;
};

// The end record is the last thing in the file but for a comment, whose length it gives.
uint64_t Zip::find_end() const {
  if (bytes_.size() < end_size) refuse("is too short");
  uint64_t last = bytes_.size() - end_size;
  for (uint64_t back = 0; back <= std::min<uint64_t>(last, max16); ++back) {
    ByteReader in = reader(last - back);
    if (in.number<uint32_t>() != end_signature) continue;
    in.take(end_size - 6);
    if (in.number<uint16_t>() == back) return last - back;
  }
  refuse("has no end record; the file is incomplete");
}

Directory Zip::directory() const {
  uint64_t end = find_end();
  ByteReader in = reader(end + 4);
  uint32_t disk = in.number<uint16_t>(), first_disk = in.number<uint16_t>();
  uint64_t here = in.number<uint16_t>();
  Directory found;
  found.count = in.number<uint16_t>();
  found.size = in.number<uint32_t>();
  found.offset = in.number<uint32_t>();
  if (here != found.count || disk != first_disk || (disk != 0 && disk != max16))
    refuse("is one part of several");
  uint64_t limit = end;
  if (end >= locator_size && reader(end - locator_size).number<uint32_t>() == locator64_signature) {
    widen(found, end);
    limit = end - locator_size;
  }
  if (found.offset > limit || found.size > limit - found.offset ||
      found.count > found.size / central_size)
    refuse("has its directory outside of the file");
  return found;
}

void Zip::widen(Directory& found, uint64_t end) const {
  ByteReader locator = reader(end - locator_size + 4);
  locator.take(4);
  uint64_t at = locator.number<uint64_t>();
  if (at > end - locator_size) refuse("has its 64-bit end record outside of the file");
  ByteReader in = reader(at);
  if (in.number<uint32_t>() != end64_signature)
    refuse("has no 64-bit end record where it should be");
  in.take(8 + 2 + 2 + 4 + 4 + 8);
  Directory wide;
  wide.count = in.number<uint64_t>();
  wide.size = in.number<uint64_t>();
  wide.offset = in.number<uint64_t>();
  if ((found.count != max16 && found.count != wide.count) ||
      (found.size != max32 && found.size != wide.size) ||
      (found.offset != max32 && found.offset != wide.offset))
    refuse("has two end records that differ");
  found = wide;
}

Listed Zip::next_listed(ByteReader& in) const {
  if (in.number<uint32_t>() != central_signature) refuse("has a damaged directory");
  in.take(4);
  Listed entry;
  entry.flags = in.number<uint16_t>();
  auto method = in.number<uint16_t>();
  in.take(8);
  entry.size = in.number<uint32_t>();
  uint64_t unpacked = in.number<uint32_t>();
  auto name_size = in.number<uint16_t>(), extra_size = in.number<uint16_t>(),
       comment_size = in.number<uint16_t>();
  in.take(8);
  entry.header = in.number<uint32_t>();
  entry.name = in.take(name_size);
  if (method != 0) refuse("has the compressed entry " + shown_name(entry.name));
  if ((entry.flags & 0x2041) != 0) refuse("has the encrypted entry " + shown_name(entry.name));
  extend(entry, in.take(extra_size), entry.size == max32, entry.header == max32, unpacked);
  in.take(comment_size);
  return entry;
}

// The 64-bit extension (id 1) has the fields that did not fit, in a fixed order.
void Zip::extend(Listed& entry, std::string_view extra, bool wide_size, bool wide_header,
                 uint64_t unpacked) const {
  ByteReader in(extra, file_);
  while (in.left() >= 4) {
    auto id = in.number<uint16_t>(), length = in.number<uint16_t>();
    ByteReader field(in.take(length), file_);
    if (id != 1) continue;
    if (unpacked == max32) unpacked = field.number<uint64_t>();
    if (std::exchange(wide_size, false)) entry.size = field.number<uint64_t>();
    if (std::exchange(wide_header, false)) entry.header = field.number<uint64_t>();
    break;
  }
  if (wide_size || wide_header) refuse("lacks the 64-bit sizes of " + shown_name(entry.name));
  if (unpacked != entry.size)
    refuse("gives two sizes for the stored entry " + shown_name(entry.name));
}

ZipEntry Zip::locate(const Listed& entry, uint64_t limit, Span& span) const {
  if (entry.header > limit || limit - entry.header < local_size)
    refuse("has the entry " + shown_name(entry.name) + " outside of the file");
  ByteReader in(bytes_.substr(0, limit), file_, entry.header);
  bool agrees = in.number<uint32_t>() == local_signature;
  in.take(2);
  auto flags = in.number<uint16_t>(), method = in.number<uint16_t>();
  in.take(8);
  uint64_t packed = in.number<uint32_t>();
  in.take(4);
  auto name_size = in.number<uint16_t>(), extra_size = in.number<uint16_t>();
  // Bit 3: the sizes follow the data; then those here mean nothing.
  bool later = (flags & 8) != 0 || packed == max32;
  agrees =
      agrees && method == 0 && (later || packed == entry.size) && in.take(name_size) == entry.name;
  if (!agrees) refuse("has two different headers for " + shown_name(entry.name));
  in.take(extra_size);
  if (entry.size > in.left())
    refuse("has the entry " + shown_name(entry.name) + " outside of the file");
  span = {entry.header, in.at() + entry.size};
  return {entry.name, in.take(entry.size)};
}

std::vector<ZipEntry> Zip::entries() {
  Directory where = directory();
  ByteReader in(bytes_.substr(0, where.offset + where.size), file_, where.offset);
  std::vector<ZipEntry> entries;
  std::vector<Span> spans;
  for (uint64_t i = 0; i < where.count; ++i) {
    Span span{};
    entries.push_back(locate(next_listed(in), where.offset, span));
    spans.push_back(span);
  }
  if (in.left() != 0) refuse("has a directory of another length than it says");
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < spans.size(); ++i)
    if (spans[i].begin < spans[i - 1].end) refuse("has entries that overlap");
  std::sort(entries.begin(), entries.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
  for (size_t i = 1; i < entries.size(); ++i)
    if (entries[i].name == entries[i - 1].name)
      refuse("has the entry " + shown_name(entries[i].name) + " twice");
  return entries;
}

}  // namespace

std::vector<ZipEntry> zip_entries(std::string_view bytes, const std::string& file) {
  return Zip(bytes, file).entries();
}

const ZipEntry* find_entry(const std::vector<ZipEntry>& entries, std::string_view name) {
  auto at = std::lower_bound(
      entries.begin(), entries.end(), name,
      [](const ZipEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return at != entries.end() && at->name == name ? &*at : nullptr;
}

}  // namespace compress::storage
