#pragma once
// Columns made of others: "{premise} because {choice1}".

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "files/reader.h"

namespace compress::data {

// A column's name as a template: texts and the columns between them. A name is a template where it
// has a "{" with a "}" behind it; "{{" and "}}" stand for the characters, "{=TEXT}" for TEXT
// itself, so that "{=0}" is a column that holds 0 in every row.
struct Template {
  struct Part {
    bool column = false;
    std::string text;  // or the column's name
  };
  std::vector<Part> parts;
};
bool is_template(std::string_view column);
// Error{recipe}: a brace that is not closed, an empty name.
Template parse_template(std::string_view column);

// The columns that one names: itself, or those of its template.
std::vector<std::string> columns_in(const std::string& column);

// Whether one of the columns is a template; a reader for them makes them of those of `open`, which
// is given the plain columns.
bool any_template(const std::vector<Column>& columns);
std::unique_ptr<Reader> open_templates(
    Source& source, const std::vector<Column>& columns,
    const std::function<std::unique_ptr<Reader>(std::vector<Column>)>& open);

}  // namespace compress::data
