// A component's story, from the same description that reads it.

#include "compress/base/strings.h"
#include "compress/recipe/options.h"

namespace compress::recipe {

namespace {

std::string indented(const std::string& text, const std::string& indent) {
  std::string out;
  for (const std::string& line : split(text, '\n'))
    out += (line.empty() ? "" : indent + line) + "\n";
  return out;
}

std::string default_of(const Field& field) {
  if (field.required) return "required";
  if (field.default_text.empty()) return "-";
  std::string out;  // in one line
  for (char c : field.default_text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
  return out;
}

// `|` would end a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string out;
  for (char c : text) (out += c == '|' ? "\\" : "") += c;
  return out;
}

}  // namespace

std::string explain_text(const ComponentInfo& info) {
  std::string out = info.name + " (" + info.role + "): " + info.summary + "\n";
  if (!info.equation.empty()) out += "\n" + indented(info.equation, "    ");
  if (!info.paper.empty()) out += "\nPaper: " + info.paper + "\n";
  if (!info.notes.empty()) out += "\n" + info.notes + "\n";
  Table table({"option", "type", "default", "meaning"});
  for (const Field& field : info.options().fields)
    table.row({field.key, field.type, default_of(field), field.doc});
  return out + (table.empty() ? "\nIt has no options.\n" : "\n" + table.text());
}

std::string explain_markdown(const ComponentInfo& info) {
  std::string out = "### `" + info.name + "`\n\n" + info.summary + "\n";
  if (!info.equation.empty()) out += "\n" + indented(info.equation, "    ");
  if (!info.paper.empty()) out += "\nPaper: " + info.paper + "\n";
  if (!info.notes.empty()) out += "\n" + info.notes + "\n";
  Table table({"option", "type", "default", "meaning"});
  for (const Field& field : info.options().fields)
    table.row({"`" + field.key + "`", cell(field.type), cell(default_of(field)), cell(field.doc)});
  return out + (table.empty() ? "\nIt has no options.\n" : "\n" + table.markdown());
}

}  // namespace compress::recipe
