#pragma once
// Whether a model's files hold a sparse model.

#include <filesystem>

namespace compress::checkpoint {

// Whether none of the matrices of a model's layers and heads has a zero. They are read up to the
// first one, without a copy. False as well where that is not looked at: without weights, of
// integers, of GGUF files, and of files whose first two gibibytes have none.
// Errors: as load_model().
bool is_dense(const std::filesystem::path& model);

}  // namespace compress::checkpoint
