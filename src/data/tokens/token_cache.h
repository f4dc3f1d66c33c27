#pragma once
// Tokenised rows and class names that outlive a process, in a folder.

#include <functional>

#include "compress/data/token_file.h"
#include "files/fingerprint.h"

namespace compress::data {

// Fills the arrays of `split` (whose file, task, labels and content_hash are set) from its file in
// the folder, which is made when it is absent or damaged. One process makes it, others wait.
// Errors as load_split, and Error{disk}.
void load_cached(const std::filesystem::path& folder, const DatasetOptions& options,
                 const text::Tokenizer& tokenizer, const Fingerprint& source, int threads,
                 Split& split);

// The class names that `find` finds in the training file, kept in the folder by the file's content.
std::vector<std::string> cached_names(const std::filesystem::path& folder,
                                      const DatasetOptions& options, const std::string& sha256,
                                      const std::function<std::vector<std::string>()>& find);

}  // namespace compress::data
