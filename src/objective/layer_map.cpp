#include "layer_map.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::recipe {

using objective::LayerMap;

std::string Type<LayerMap>::name() {
  return "list of whole number, or map of layers to whole number";
}

Json Type<LayerMap>::schema() {
  return Json{{"anyOf", Json::array({Type<std::vector<int64_t>>::schema(),
                                     Type<std::vector<Named<int64_t>>>::schema()})}};
}

bool Type<LayerMap>::read(const Node& node, LayerMap& value, Problems& problems) {
  value = {};
  if (node.kind != Node::Kind::map)
    return Type<std::vector<int64_t>>::read(node, value.all, problems);
  const size_t before = problems.list().size();
  for (const Node::Entry& entry : node.entries) {
    Node key = Node::of(entry.key);
    key.mark = entry.mark;
    auto& [student, teacher] = value.some.emplace_back();
    if (Type<int64_t>::read(key, student, problems) && student < 0)
      problems.add(entry.mark, "a layer of the student is 0 or more");
    Type<int64_t>::read(entry.value, teacher, problems);
  }
  return problems.list().size() == before;
}

void Type<LayerMap>::numbers(const LayerMap& value, const Node& node, const VisitNumber& visit) {
  Type<std::vector<int64_t>>::numbers(value.all, node, visit);
  for (size_t i = 0; i < value.some.size(); ++i)
    visit(static_cast<double>(value.some[i].second), node.entries[i].value);
}

Node Type<LayerMap>::write(const LayerMap& value) {
  if (value.some.empty()) return Type<std::vector<int64_t>>::write(value.all);
  Node map = Node::map();
  for (const auto& [student, teacher] : value.some)
    map.add(std::to_string(student), Type<int64_t>::write(teacher));
  return map;
}

}  // namespace compress::recipe

namespace compress::objective {

namespace {

// Some heads of encoder-decoders use the encoder alone.
bool has_two_stacks(const nn::ModelConfig& config) {
  return config.encoder_decoder() && config.head != nn::HeadKind::embedding &&
         config.head != nn::HeadKind::token_classification;
}

// The pairs of one stack with `ours` and `theirs` layers.
class Stack {
 public:
  Stack(const Pairing& pairing, int64_t ours, int64_t theirs, const Objective& term)
      : pairing_(pairing), ours_(ours), theirs_(theirs), term_(term) {}

  std::vector<Pair> pairs() {
    if (pairing_.include_embeddings) pairs_.push_back({0, 0});
    if (pairing_.map.empty())
      by_name();
    else if (pairing_.map.some.empty())
      all();
    else
      for (const auto& [layer, source] : pairing_.map.some) add(layer, source);
    return std::move(pairs_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::recipe, what, term_.mark().text(), hint);
  }

  void by_name() {
    if (ours_ > theirs_)
      refuse(str("layers: ", pairing_.layers,
                 " needs a teacher at least as deep as the student, but the student has ", ours_,
                 " layers and the teacher ", theirs_),
             "give the teacher layers with map");
    // PKD leaves the last layer to the logits' term.
    const int64_t last = pairing_.layers == "skip" ? ours_ - 1 : ours_;
    if (pairing_.layers == "even" && theirs_ % ours_ != 0)
      refuse(str("layers: even needs a teacher with a multiple of the student's layers, but the "
                 "student has ",
                 ours_, " and the teacher ", theirs_),
             "use layers: uniform, or map");
    for (int64_t layer = 1; layer <= last; ++layer) {
      int64_t source = layer * theirs_ / ours_;
      if (pairing_.layers == "first") source = layer;
      if (pairing_.layers == "last") source = theirs_ - ours_ + layer;
      if (pairing_.layers == "skip") source = layer * (theirs_ / ours_);
      pairs_.push_back({layer, source});
    }
    if (last == 0 && !pairing_.include_embeddings)
      refuse("layers: skip leaves out the last layer, and the student has no other",
             "use layers: uniform or last");
  }

  void all() {
    const auto given = static_cast<int64_t>(pairing_.map.all.size());
    if (given != ours_)
      refuse(str("map names ", given, " teacher layers, but the student has ", ours_, " layers"),
             "give one teacher layer for each layer of the student, or name some: {" + str(ours_) +
                 ": " + str(theirs_) + "}");
    for (int64_t layer = 1; layer <= ours_; ++layer)
      add(layer, pairing_.map.all[static_cast<size_t>(layer - 1)]);
  }

  void add(int64_t layer, int64_t source) {
    auto check = [&](const char* whose, int64_t wanted, int64_t there) {
      if (wanted >= 0 && wanted <= there) return;
      refuse(str("map names the ", whose, "'s layer ", wanted, ", but it has layers 1 to ", there),
             str("0 is the ", whose, "'s embedding output"));
    };
    check("student", layer, ours_);
    check("teacher", source, theirs_);
    pairs_.push_back({layer, source});
  }

  const Pairing& pairing_;
  int64_t ours_, theirs_;
  const Objective& term_;
  std::vector<Pair> pairs_;
};

}  // namespace

std::vector<Pair> pair_layers(const Pairing& pairing, const nn::ModelConfig& student,
                              const nn::ModelConfig& teacher, const Objective& term) {
  const bool two_stacks = has_two_stacks(student);
  if (two_stacks != has_two_stacks(teacher))
    throw Error(
        ErrorKind::recipe,
        str("objective '", term.name(), "' compares layer by layer, but the ",
            two_stacks ? "student" : "teacher", " is an encoder-decoder and the other is not"),
        term.mark().text(), "use a teacher of the student's kind");
  if (!two_stacks && pairing.stack != "both")
    throw Error(ErrorKind::recipe, "`stack` is for encoder-decoders, and the student is none",
                term.mark().text(), "remove it");
  for (const auto& [model, whose] : {std::pair{&student, "student"}, {&teacher, "teacher"}})
    if (model->layers + model->decoder_layers == 0)
      throw Error(ErrorKind::recipe,
                  str("objective '", term.name(), "' compares layer by layer, but the ", whose,
                      " has no layers"),
                  term.mark().text(), "compare what the models predict, with soft_labels");
  std::vector<Pair> pairs;
  if (!two_stacks || pairing.stack != "decoder")
    pairs = Stack(pairing, student.layers, teacher.layers, term).pairs();
  if (!two_stacks || pairing.stack == "encoder") return pairs;
  for (Pair pair : Stack(pairing, student.decoder_layers, teacher.decoder_layers, term).pairs()) {
    pair.decoder = true;
    pairs.push_back(pair);
  }
  return pairs;
}

std::string in_words(const std::vector<Pair>& pairs) {
  std::vector<std::string> parts, others;
  for (const Pair& pair : pairs)
    (pair.decoder ? others : parts).push_back(str(pair.student, "<-", pair.teacher));
  std::string text = parts.empty() ? "" : "student " + join(parts, ", ");
  if (!others.empty())
    text += str(text.empty() ? "" : "; ", "student's decoder ", join(others, ", "));
  return text;
}

}  // namespace compress::objective
