#pragma once
// A model folder as it lies on disk, resolved to canonical names but not yet read.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compress/checkpoint/checkpoint.h"
#include "compress/nn/architecture.h"
#include "gguf.h"

namespace compress::checkpoint {

struct ConfigFile {
  nn::ModelConfig config;  // `raw` without the keys below
  std::vector<std::string> history;
  nn::Json quantization;        // the block quantization_config, null when there is none
  std::filesystem::path dense;  // folder of the embedding head's projection, empty: there is none
};
// Error{model} whose place is the file.
ConfigFile read_config(const std::filesystem::path& model);
// The same for a GGUF file that is open.
ConfigFile read_config(const storage::GgufReader& reader, const std::filesystem::path& file);

// Pooling, projection and normalisation out of the layout of sentence-transformers, where a folder
// has it. A Dense module makes the model one with the embedding head.
void read_sentence_modules(const std::filesystem::path& folder, ConfigFile& file);

// A weight in a file; quantised ones have a scale.
struct Source {
  const storage::TensorView* values = nullptr;  // null: `part` counts
  const storage::TensorView* scale = nullptr;
  bool transposed = false;  // lies on disk as [in, out]
  GgufPart part = {};
  int64_t width = 0;  // of a row of integers of four bits, eight a word of `values`; 0: other types
  // The weight's shape in the model.
  std::vector<int64_t> shape() const;
};

struct Folder {
  ConfigFile config;
  std::unique_ptr<storage::TensorReader> reader;
  std::string wrapper;  // before all names of the reader's tensors, empty: nothing
  std::unique_ptr<storage::GgufReader> gguf;     // instead of `reader`
  std::unique_ptr<storage::TensorReader> own;    // a delta's, over those of `reader`
  std::unique_ptr<storage::TensorReader> dense;  // of the projection, null: none
  std::map<std::string, Source> weights;         // by canonical name: exactly the model's
  std::map<std::string, const storage::TensorView*>
      input_scales;  // by the canonical name of the weight
};
// A line of the log that is said once in a process, however often a folder is opened: `say` is
// log::warn or log::info.
void log_once(void (*say)(std::string_view), const std::string& line);

class Findings;
// Puts the tensors of `folder.reader` into `folder.weights`: names and types; what a quantised
// weight needs goes to its weight.
void collect(Folder& folder, const nn::Family& family, const std::filesystem::path& place,
             Findings& findings);
// Opens a folder and checks that its tensors are the model's. All problems are in one Error{model}.
Folder open_folder(const std::filesystem::path& model);

// Problems found in a folder, thrown together.
class Findings {
 public:
  void add(std::string problem) { list_.push_back(std::move(problem)); }
  bool empty() const { return list_.empty(); }
  // Throws Error{model} with the first of them and their number.
  [[noreturn]] void fail(const std::filesystem::path& folder) const;

 private:
  std::vector<std::string> list_;
};

}  // namespace compress::checkpoint
