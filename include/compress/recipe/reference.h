#pragma once
// Options that name something outside themselves, each with the place where it is named: a model, a
// data set, a metric, an earlier stage or what that leaves. They read as plain text; what they
// refer to is their type, so that whoever runs a recipe finds all of them without knowing the
// options (references_of) and judges them alike, with their places.

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "compress/recipe/node.h"

namespace compress::recipe {

struct Component;
struct StructInfo;

enum class Refers {
  model,    // an earlier stage that leaves a model, a folder or a file
  data,     // a data set of the recipe
  metric,   // a metric by its name
  stage,    // any stage
  rows,     // an earlier stage that leaves rows
  numbers,  // an earlier stage that leaves numbers
  store     // an earlier stage that leaves a store of tensors
};

// A value and its place.
template <class T>
struct Placed {
  T value{};
  Mark mark;
  Placed() = default;
  Placed(T v) : value(std::move(v)) {}         // NOLINT: a plain value has no place
  operator const T&() const { return value; }  // NOLINT
  friend std::ostream& operator<<(std::ostream& out, const Placed& p) { return out << p.value; }
};

// A name and its place. Two are equal where their names are.
struct Reference {
  std::string name;
  Mark mark;
  Reference() = default;
  Reference(std::string text) : name(std::move(text)) {}  // NOLINT: a plain name has no place
  Reference(const char* text) : name(text) {}             // NOLINT
  operator const std::string&() const { return name; }    // NOLINT
  bool empty() const { return name.empty(); }
  bool operator==(const Reference& other) const { return name == other.name; }
  friend std::ostream& operator<<(std::ostream& out, const Reference& r) { return out << r.name; }
};

template <Refers kind>
struct ReferenceTo : Reference {
  static constexpr Refers to = kind;
  using Reference::Reference;
};
using ModelReference = ReferenceTo<Refers::model>;
using DataReference = ReferenceTo<Refers::data>;
using MetricReference = ReferenceTo<Refers::metric>;
using StageReference = ReferenceTo<Refers::stage>;
using RowsReference = ReferenceTo<Refers::rows>;
using NumbersReference = ReferenceTo<Refers::numbers>;
using StoreReference = ReferenceTo<Refers::store>;

template <class R>
std::vector<std::string> names_of(const std::vector<R>& references) {
  std::vector<std::string> names;
  for (const Reference& reference : references) names.push_back(reference.name);
  return names;
}

// A reference that options hold: what it refers to and its keys ("model.from").
struct Referred {
  Refers to = Refers::model;
  std::string path;
  Reference reference;
};

// The references in the options of a struct or a component that are not empty, in the order of the
// keys; those of components inside are among them. `path` is put before their keys.
void find_references(const StructInfo& info, const void* object, const std::string& path,
                     std::vector<Referred>& found);
std::vector<Referred> references_of(const Component& component);

}  // namespace compress::recipe
