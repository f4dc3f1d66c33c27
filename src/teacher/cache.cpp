// A teacher's answers on disk, shared by runs and jobs.

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/teacher/answers.h"
#include "files.h"

namespace compress::teacher {

namespace fs = std::filesystem;

std::string files::hidden(int64_t layer) {
  return str("hidden-", layer);
}

fs::path files::path(const fs::path& entry, const std::string& file) {
  return entry / (file + ".safetensors");
}

void files::refuse(const fs::path& entry, const std::string& file, const std::string& what) {
  if (entry.empty()) throw Error(ErrorKind::internal, "the teacher's answers hold " + what);
  throw Error(ErrorKind::model, "the teacher cache holds " + what, path(entry, file).string(),
              "remove the file, and its content is computed anew");
}

std::unique_ptr<storage::SafetensorsReader> files::open(const fs::path& entry,
                                                        const std::string& file,
                                                        const std::string& key) {
  auto reader = std::make_unique<storage::SafetensorsReader>(path(entry, file));
  const auto known = reader->metadata().find(key_name);
  if (known == reader->metadata().end() || known->second != key)
    refuse(entry, file, "answers of another teacher, about other data or for another tokenizer");
  return reader;
}

namespace {

using torch::Tensor;

constexpr const char* key_file = "key.json";
constexpr uint64_t longest_key = 1 << 20;

// A file that cannot be looked at counts as absent: opening or writing it tells why.
bool present(const fs::path& file) {
  std::error_code code;
  return fs::exists(file, code);
}

// Tokens a position that the entry's file keeps, 0 without one.
int64_t kept_tokens(const fs::path& entry, const std::string& key) {
  if (!present(files::path(entry, files::top_tokens))) return 0;
  const auto reader = files::open(entry, files::top_tokens, key);
  const storage::TensorView* ids = reader->find("ids");
  return ids != nullptr && ids->shape.size() == 2 ? ids->shape[1] : 0;
}

// The fields of two keys that differ.
std::vector<std::string> differences(const nn::Json& a, const nn::Json& b) {
  std::vector<std::string> names;
  for (const auto& [name, value] : a.items())
    if (!b.contains(name) || b[name] != value) names.push_back(name);
  for (const auto& [name, value] : b.items())
    if (!a.contains(name)) names.push_back(name);
  return names;
}

storage::TensorInfo info(const std::string& name, torch::ScalarType type,
                         std::vector<int64_t> shape) {
  return {name, checkpoint::stored_dtype(type), std::move(shape)};
}

// The fields of another entry's key; null where they cannot be read.
nn::Json fields_of(const fs::path& file) {
  try {
    return nn::Json::parse(read_file(file, longest_key), nullptr, false);
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

Cache::Cache(fs::path folder, nn::Json key, Questions questions)
    : folder_(std::move(folder)),
      fields_(std::move(key)),
      key_(fields_.dump()),
      questions_(std::move(questions)) {
  entry_ = folder_ / sha256(key_).substr(0, 16);
}

Wanted Cache::missing() const {
  auto absent = [&](const std::string& file) { return !present(files::path(entry_, file)); };
  const Wanted& wanted = questions_.wanted;
  Wanted lacking;
  lacking.logits = wanted.logits && absent(files::logits);
  lacking.pooled = wanted.pooled && absent(files::pooled);
  for (int64_t layer : wanted.hidden)
    if (absent(files::hidden(layer))) lacking.hidden.push_back(layer);
  if (wanted.top_k > 0 && kept_tokens(entry_, key_) < wanted.top_k) lacking.top_k = wanted.top_k;
  return lacking;
}

std::string Cache::nearest() const {
  std::string best;
  size_t fewest = 0;
  std::error_code code;
  for (const auto& other : fs::directory_iterator(folder_, code)) {
    const fs::path file = other.path() / key_file;
    if (other.path() == entry_ || !fs::is_regular_file(file, code)) continue;
    const nn::Json fields = fields_of(file);
    if (!fields.is_object()) continue;
    const std::vector<std::string> names = differences(fields_, fields);
    if (!best.empty() && names.size() >= fewest) continue;
    fewest = names.size();
    best = str("the nearest entry, ", other.path().filename().string(),
               ", differs in: ", join(names, ", "));
  }
  return best;
}

std::shared_ptr<const Answers> Cache::read() const {
  return std::make_shared<const Answers>(questions_, entry_, key_);
}

CacheWriter::CacheWriter(const Cache& cache, const Questions& questions)
    : entry_(cache.entry()), wanted_(questions.wanted), split_(questions.split) {
  const int64_t rows = questions.split->rows(), tokens = questions.split->offsets.back();
  const std::string& key = cache.key();
  const Wanted& wanted = wanted_;
  if (wanted.logits)
    add(files::logits, {info(files::logits, torch::kFloat32, {rows, questions.classes})}, key);
  if (wanted.pooled)
    add(files::pooled, {info(files::pooled, torch::kFloat16, {rows, questions.width})}, key);
  for (int64_t layer : wanted.hidden)
    add(files::hidden(layer),
        {info(files::hidden(layer), torch::kFloat16, {tokens, questions.width})}, key);
  if (wanted.top_k > 0) {
    predicted_ = predicted_offsets(questions);
    const int64_t count = predicted_[rows].item<int64_t>(), k = wanted.top_k;
    add(files::top_tokens,
        {info("row_offsets", torch::kInt64, {rows + 1}), info("positions", torch::kInt32, {count}),
         info("ids", torch::kInt32, {count, k}), info("tail", torch::kFloat32, {count}),
         info("log_probs", torch::kFloat16, {count, k})},
        key);
    put(files::top_tokens, "row_offsets", 0, predicted_);
  }
  std::error_code code;
  const fs::space_info space = fs::space(entry_, code);
  if (!code && space.available < bytes_)
    throw Error(ErrorKind::disk,
                str("the teacher cache needs ", human_bytes(static_cast<double>(bytes_)),
                    ", and the disk has ", human_bytes(static_cast<double>(space.available))),
                entry_.string(), "name another folder, or keep less");
  key_text_ = cache.fields().dump(2) + "\n";
}

void CacheWriter::add(const std::string& file, std::vector<storage::TensorInfo> tensors,
                      const std::string& key) {
  for (const storage::TensorInfo& tensor : tensors)
    bytes_ += storage::byte_size(tensor.dtype, tensor.shape).value();
  remove_leftovers(files::path(entry_, file));
  files_.emplace(std::piecewise_construct, std::forward_as_tuple(file),
                 std::forward_as_tuple(files::path(entry_, file), std::move(tensors),
                                       std::map<std::string, std::string>{{files::key_name, key}}));
}

void CacheWriter::put(const std::string& file, const char* name, int64_t row, const Tensor& rows) {
  const Tensor bytes = rows.contiguous();
  if (bytes.numel() == 0) return;
  const auto width = static_cast<uint64_t>(bytes.nbytes()) / static_cast<uint64_t>(bytes.size(0));
  files_.at(file).write_part(
      name, static_cast<uint64_t>(row) * width,
      {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
}

void CacheWriter::append(const Piece& piece, Range range) {
  if (range.begin != rows_)
    throw Error(ErrorKind::internal, str("row ", range.begin, " comes after row ", rows_));
  if (wanted_.logits) put(files::logits, files::logits, rows_, piece.logits);
  if (wanted_.pooled) put(files::pooled, files::pooled, rows_, piece.pooled);
  for (int64_t layer : wanted_.hidden) {
    const std::string name = files::hidden(layer);
    put(name, name.c_str(), tokens_, piece.hidden.at(layer));
  }
  if (wanted_.top_k > 0) {
    const int64_t expected = predicted_[range.end].item<int64_t>() - positions_;
    if (piece.ids.size(0) != expected)
      throw Error(ErrorKind::internal, "a row's predicted positions changed between two looks");
    put(files::top_tokens, "positions", positions_, piece.positions);
    put(files::top_tokens, "ids", positions_, piece.ids);
    put(files::top_tokens, "tail", positions_, piece.tail);
    put(files::top_tokens, "log_probs", positions_, piece.log_probs);
    positions_ += expected;
  }
  rows_ = range.end;
  tokens_ = split_->offsets[range.end];
}

void CacheWriter::commit() {
  write_file(entry_ / key_file, key_text_);
  for (auto& [name, file] : files_) file.commit();
}

std::shared_ptr<const Answers> cached(const fs::path& folder, const nn::Json& key,
                                      const Questions& questions, Missing missing,
                                      const std::function<Piece(const Questions&, Range)>& compute,
                                      const std::function<void(const std::string&)>& told) {
  const Cache cache(folder, key, questions);
  const std::string rows = str(" of ", with_commas(questions.split->rows()), " rows");
  auto read = [&](const char* how) {
    std::shared_ptr<const Answers> answers = cache.read();
    told(str(questions.wanted.text(), rows, " read from ", cache.entry().string(), how));
    return answers;
  };
  if (cache.missing().nothing()) return read("");
  const std::string near = cache.nearest();
  if (missing == Missing::refuse)
    throw Error(ErrorKind::model,
                str("the teacher cache lacks ", cache.missing().text(), rows,
                    near.empty() ? "" : "; " + near),
                cache.entry().string(),
                "use the teacher, data and tokenizer that the cache was made with, or set "
                "`missing: compute`");
  make_folder(cache.entry());
  const FileLock lock(cache.entry() / "lock");
  Questions asked = questions;
  asked.wanted = cache.missing();
  if (asked.wanted.nothing()) return read(" (another process computed them meanwhile)");
  const bool extended = present(cache.entry() / key_file);
  CacheWriter writer(cache, asked);
  for (Range range : ranges(*questions.split)) writer.append(compute(asked, range), range);
  writer.commit();
  told(str(asked.wanted.text(), rows, extended ? " added to " : " kept in ", cache.entry().string(),
           ", ", human_bytes(static_cast<double>(writer.bytes())),
           extended || near.empty() ? "" : "; " + near));
  return cache.read();
}

}  // namespace compress::teacher
