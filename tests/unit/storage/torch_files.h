#pragma once
// Files of torch.save, made byte by byte, so that tests can make them wrong.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace compress::storage::torch_files {

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// ---- pickles: opcodes as texts ----

inline std::string text(std::string_view value) {
  return "X" + raw(static_cast<uint32_t>(value.size())) + std::string(value);
}
inline std::string integer(int32_t value) {
  return "J" + raw(value);
}
inline std::string long_integer(int64_t value) {
  return "\x8a\x08" + raw(value);
}
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
inline std::string numbers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (int64_t value : values) items.push_back(long_integer(value));
  return tuple(items);
}
inline std::string call(const std::string& function, const std::vector<std::string>& arguments) {
  return function + tuple(arguments) + "R";
}
inline std::string ordered_dict() {
  return global("collections", "OrderedDict") + ")R";
}
inline std::string storage(std::string_view key, int64_t elements,
                           std::string_view type = "FloatStorage") {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"),
                long_integer(elements)}) +
         "Q";
}
inline std::string tensor(const std::string& of, int64_t offset, const std::vector<int64_t>& shape,
                          const std::vector<int64_t>& strides) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {of, long_integer(offset), numbers(shape), numbers(strides), "\x89", ordered_dict()});
}
// Names and values, in turn.
inline std::string dict(const std::vector<std::string>& items) {
  std::string all = "}(";
  for (const std::string& item : items) all += item;
  return all + "u";
}
inline std::string pickle(const std::string& body) {
  return "\x80\x02" + body + ".";
}

// ---- zip archives ----

struct ZipFile {
  std::string name, data;
  uint16_t flags = 0, method = 0;
  std::string central_name{};  // empty: as `name`
};

// Where the directory is, as the 64-bit end record has it.
inline std::string end64(uint64_t count, uint64_t size, uint64_t offset) {
  return "PK\x06\x06" + raw(uint64_t{44}) + std::string(12, '\0') + raw(count) + raw(count) +
         raw(size) + raw(offset);
}
inline std::string locator64(uint64_t at) {
  return "PK\x06\x07" + raw(uint32_t{0}) + raw(at) + raw(uint32_t{1});
}

// With `wide`, the sizes and offsets of the directory are in 64-bit extensions.
inline std::string zip(const std::vector<ZipFile>& files, bool wide = false) {
  std::string out, directory;
  for (const ZipFile& file : files) {
    auto size = static_cast<uint32_t>(file.data.size()), at = static_cast<uint32_t>(out.size());
    auto head = [&](const std::string& name, uint32_t shown, uint16_t extra) {
      return raw(file.flags) + raw(file.method) + std::string(8, '\0') + raw(shown) + raw(shown) +
             raw(static_cast<uint16_t>(name.size())) + raw(extra);
    };
    const std::string& listed = file.central_name.empty() ? file.name : file.central_name;
    const uint32_t hidden = ~uint32_t{0};
    out += "PK\x03\x04" + raw(uint16_t{20}) + head(file.name, size, 0) + file.name + file.data;
    directory += "PK\x01\x02" + raw(uint32_t{20});
    directory += head(listed, wide ? hidden : size, wide ? 28 : 0) + std::string(10, '\0');
    directory += raw(wide ? hidden : at) + listed;
    if (wide)
      directory += raw(uint16_t{1}) + raw(uint16_t{24}) + raw(uint64_t{size}) +
                   raw(uint64_t{size}) + raw(uint64_t{at});
  }
  auto count = static_cast<uint16_t>(files.size());
  uint64_t size = directory.size(), at = out.size();
  out += directory;
  if (wide) out += end64(count, size, at) + locator64(at + size);
  std::string places = raw(static_cast<uint32_t>(size)) + raw(static_cast<uint32_t>(at));
  if (wide) places = std::string(8, '\xff');
  return out + "PK\x05\x06" + raw(uint32_t{0}) + raw(count) + raw(count) + places +
         raw(uint16_t{0});
}

// A zip file of torch.save with one storage "0".
inline std::string zip_of(const std::string& body, const std::string& data) {
  return zip({{"m/data.pkl", pickle(body)}, {"m/byteorder", "little"}, {"m/data/0", data}});
}

// ---- the format before PyTorch 1.6 ----

inline std::string magic() {
  return pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
}
inline std::string legacy_start(std::string_view little_endian = "\x88") {
  return magic() + pickle(integer(1001)) +
         pickle(dict({text("little_endian"), std::string(little_endian)}));
}
inline std::string legacy_of(const std::string& body, uint64_t elements, const std::string& data) {
  return legacy_start() + pickle(body) + pickle("](" + text("0") + "e") + raw(elements) + data;
}

}  // namespace compress::storage::torch_files
