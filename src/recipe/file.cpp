#include <algorithm>
#include <system_error>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe {

namespace fs = std::filesystem;

namespace {

// The names in a folder, the recipes among them only if there are any.
std::vector<std::string> names_in(const fs::path& folder) {
  constexpr size_t limit = 2000;
  std::vector<std::string> names, recipes;
  std::error_code failure;
  fs::directory_iterator it(folder, failure), end;
  for (; !failure && it != end && names.size() < limit; it.increment(failure)) {
    names.push_back(it->path().filename().string());
    std::string extension = it->path().extension().string();
    if (extension == ".yaml" || extension == ".yml") recipes.push_back(names.back());
  }
  std::vector<std::string>& best = recipes.empty() ? names : recipes;
  std::sort(best.begin(), best.end());
  return best;
}

[[noreturn]] void refuse_missing(const fs::path& file) {
  fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code failure;
  std::string hint;
  if (!fs::is_directory(folder, failure)) {
    hint = "there is no folder " + folder.string();
  } else {
    std::string near = nearest(file.filename().string(), names_in(folder));
    if (!near.empty()) hint = "did you mean " + (file.parent_path() / near).string() + "?";
  }
  throw Error(ErrorKind::recipe, "there is no such recipe", file.string(), hint);
}

[[noreturn]] void refuse_folder(const fs::path& file) {
  std::string hint = "name a .yaml file";
  for (const std::string& name : names_in(file))
    if (name.ends_with(".yaml") || name.ends_with(".yml")) {
      hint += ", for example " + (file / name).string();
      break;
    }
  throw Error(ErrorKind::recipe, "this is a folder, not a recipe", file.string(), hint);
}

}  // namespace

Node parse_file(const fs::path& file) {
  std::error_code failure;
  fs::file_status status = fs::status(file, failure);
  if (status.type() == fs::file_type::not_found) refuse_missing(file);
  if (fs::is_directory(status)) refuse_folder(file);
  if (!fs::is_regular_file(status))
    throw Error(
        ErrorKind::recipe,
        failure ? "cannot open the recipe: " + failure.message() : "this is not a regular file",
        file.string());
  uintmax_t size = fs::file_size(file, failure);
  if (!failure && size > internal::max_bytes)
    throw Error(ErrorKind::recipe,
                str("the file has ", human_bytes(static_cast<double>(size)), ", a recipe at most ",
                    human_bytes(static_cast<double>(internal::max_bytes))),
                file.string(), "is this really a recipe?");
  std::string text;
  try {
    text = read_file(file, internal::max_bytes);
  } catch (const Error& error) {
    throw Error(ErrorKind::recipe, error.message(), file.string(), error.hint());
  }
  return parse_text(text, file.string());
}

}  // namespace compress::recipe
