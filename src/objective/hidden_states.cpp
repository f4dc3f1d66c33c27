#include <cmath>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::objective {

namespace {

// Pairs of layers as a recipe names them: a list, the teacher's for the student's layer 1, 2, ...,
// or a map of some of the student's layers to the teacher's.
struct LayerMap {
  std::vector<int64_t> all;
  std::vector<std::pair<int64_t, int64_t>> some;  // student, teacher
  bool empty() const { return all.empty() && some.empty(); }
};

}  // namespace

}  // namespace compress::objective

namespace compress::recipe {

template <>
struct Type<objective::LayerMap> {
  static std::string name() { return "list of whole number, or map of layers to whole number"; }
  static Json schema() {
    return Json{{"anyOf", Json::array({Type<std::vector<int64_t>>::schema(),
                                       Type<std::vector<Named<int64_t>>>::schema()})}};
  }
  static bool read(const Node& node, objective::LayerMap& value, Problems& problems) {
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
  static Node write(const objective::LayerMap& value) {
    if (value.some.empty()) return Type<std::vector<int64_t>>::write(value.all);
    Node map = Node::map();
    for (const auto& [student, teacher] : value.some)
      map.add(std::to_string(student), Type<int64_t>::write(teacher));
    return map;
  }
};

}  // namespace compress::recipe

namespace compress::objective {

namespace {

struct HiddenStatesOptions {
  std::string stack = "both";
  std::string layers = "uniform";
  LayerMap map;
  bool include_embeddings = false;
  std::string loss = "mse";
  std::string projection = "auto";
  recipe::Ramp weight = 1;

  static const recipe::Options<HiddenStatesOptions>& options() {
    static const auto description =
        recipe::Options<HiddenStatesOptions>("hidden_states")
            .field("stack", &HiddenStatesOptions::stack,
                   "of an encoder-decoder: whose states are compared")
            .one_of({"encoder", "decoder", "both"})
            .field("layers", &HiddenStatesOptions::layers,
                   "teacher layers that the student's layers follow (see the equation)")
            .one_of({"uniform", "last", "skip"})
            .field("map", &HiddenStatesOptions::map,
                   "instead of `layers`: the teacher's hidden state for the student's layer 1, 2, "
                   "..., or for some layers of the student alone ({6: 12}: the last of 6 and of "
                   "12); 0 is the embedding output, n the output of layer n; holds for each stack")
            .at_least(0)
            .field("include_embeddings", &HiddenStatesOptions::include_embeddings,
                   "also compares the embedding outputs (0 <- 0)")
            .field("loss", &HiddenStatesOptions::loss,
                   "mse: mean over tokens and width; cosine: 1 - cosine, mean over tokens")
            .one_of({"mse", "cosine"})
            .field("projection", &HiddenStatesOptions::projection,
                   "a trained linear map to the teacher's width; auto: where widths differ")
            .one_of({"auto", "always", "never"})
            .field("weight", &HiddenStatesOptions::weight, weight_doc)
            .at_least(0);
    return description;
  }
};

struct Pair {
  int64_t student, teacher;  // indices into Outputs::hidden, or decoder_hidden
  bool decoder = false;
};

class HiddenStates final : public Objective {
 public:
  explicit HiddenStates(const HiddenStatesOptions& options) : options_(options) {
    weight_ = options.weight;
  }

  nn::Capture captures() const override { return {.hidden = true}; }
  bool needs_teacher() const override { return true; }
  bool needs_teacher_logits() const override { return false; }

  void bind(const nn::ModelConfig& student, const nn::ModelConfig* teacher,
            nn::ParamTable& auxiliary, uint64_t seed) override {
    Objective::bind(student, teacher, auxiliary, seed);
    pairs_.clear();
    check_stacks(student, *teacher);
    if (!two_stacks_ || options_.stack != "decoder")
      map_stack(student.layers, teacher->layers, /*decoder=*/false);
    if (two_stacks_ && options_.stack != "encoder")
      map_stack(student.decoder_layers, teacher->decoder_layers, /*decoder=*/true);
    add_projection(student.hidden_size, teacher->hidden_size, auxiliary, seed);
  }

  torch::Tensor compute(const Signals& signals) override {
    torch::Tensor total;
    for (const Pair& pair : pairs_) {
      const torch::Tensor term =
          distance(project(state(signals.student, pair.student, pair.decoder)),
                   state(*signals.teacher, pair.teacher, pair.decoder).to(torch::kFloat),
                   signals.batch.present);
      total = total.defined() ? total + term : term;
    }
    return total;
  }

  Mean mean() const override { return Mean::tokens; }

  std::vector<int64_t> teacher_layers() const override {
    std::vector<int64_t> layers;
    for (const Pair& pair : pairs_)
      if (!pair.decoder) layers.push_back(pair.teacher);
    return layers;
  }

  std::string summary() const override {
    std::vector<std::string> parts;
    for (const Pair& pair : pairs_)
      if (!pair.decoder) parts.push_back(str(pair.student, "<-", pair.teacher));
    std::string text = parts.empty() ? "" : "student " + join(parts, ", ");
    std::vector<std::string> others;
    for (const Pair& pair : pairs_)
      if (pair.decoder) others.push_back(str(pair.student, "<-", pair.teacher));
    if (!others.empty())
      text += str(text.empty() ? "" : "; ", "student's decoder ", join(others, ", "));
    if (projection_ != nullptr)
      text += str("; projection ", projection_->latent.size(1), "x", projection_->latent.size(0));
    return text;
  }

 private:
  void check_stacks(const nn::ModelConfig& student, const nn::ModelConfig& teacher) {
    two_stacks_ = has_two_stacks(student);
    if (two_stacks_ != has_two_stacks(teacher))
      throw Error(
          ErrorKind::recipe,
          str("objective '", name_, "' compares layer by layer, but the ",
              two_stacks_ ? "student" : "teacher", " is an encoder-decoder and the other is not"),
          mark_.text(), "use a teacher of the student's kind");
    if (!two_stacks_ && options_.stack != "both")
      throw Error(ErrorKind::recipe, "`stack` is for encoder-decoders, and the student is none",
                  mark_.text(), "remove it");
  }

  // Some heads of encoder-decoders use the encoder alone.
  static bool has_two_stacks(const nn::ModelConfig& config) {
    return config.encoder_decoder() && config.head != nn::HeadKind::embedding &&
           config.head != nn::HeadKind::token_classification;
  }

  void map_stack(int64_t ours, int64_t theirs, bool decoder) {
    const size_t before = pairs_.size();
    if (options_.include_embeddings) pairs_.push_back({0, 0});
    if (options_.map.empty())
      map_by_name(ours, theirs);
    else if (options_.map.some.empty())
      map_all(ours, theirs);
    else
      map_some(ours, theirs);
    for (size_t i = before; i < pairs_.size(); ++i) pairs_[i].decoder = decoder;
  }

  void map_by_name(int64_t ours, int64_t theirs) {
    if (ours > theirs)
      throw Error(ErrorKind::recipe,
                  str("layers: ", options_.layers,
                      " needs a teacher at least as deep as the student, "
                      "but the student has ",
                      ours, " layers and the teacher ", theirs),
                  mark_.text(), "give the teacher layers with map");
    // PKD leaves the last layer to the logits' term.
    const int64_t last = options_.layers == "skip" ? ours - 1 : ours;
    for (int64_t layer = 1; layer <= last; ++layer) {
      int64_t source = layer * theirs / ours;
      if (options_.layers == "last") source = theirs - ours + layer;
      if (options_.layers == "skip") source = layer * (theirs / ours);
      pairs_.push_back({layer, source});
    }
    if (last == 0 && !options_.include_embeddings)
      throw Error(ErrorKind::recipe,
                  "layers: skip leaves out the last layer, and the student has no other",
                  mark_.text(), "use layers: uniform or last");
  }

  void map_all(int64_t ours, int64_t theirs) {
    const auto given = static_cast<int64_t>(options_.map.all.size());
    if (given != ours)
      throw Error(
          ErrorKind::recipe,
          str("map names ", given, " teacher layers, but the student has ", ours, " layers"),
          mark_.text(),
          "give one teacher layer for each layer of the student, or name some: {" + str(ours) +
              ": " + str(theirs) + "}");
    for (int64_t layer = 1; layer <= ours; ++layer)
      add_pair(layer, ours, options_.map.all[static_cast<size_t>(layer - 1)], theirs);
  }

  void map_some(int64_t ours, int64_t theirs) {
    for (const auto& [layer, source] : options_.map.some) add_pair(layer, ours, source, theirs);
  }

  void add_pair(int64_t layer, int64_t ours, int64_t source, int64_t theirs) {
    auto refuse = [&](const char* whose, int64_t wanted, int64_t there) {
      throw Error(
          ErrorKind::recipe,
          str("map names the ", whose, "'s layer ", wanted, ", but it has layers 1 to ", there),
          mark_.text(), str("0 is the ", whose, "'s embedding output"));
    };
    if (layer > ours) refuse("student", layer, ours);
    if (source < 0 || source > theirs) refuse("teacher", source, theirs);
    pairs_.push_back({layer, source});
  }

  void add_projection(int64_t ours, int64_t theirs, nn::ParamTable& auxiliary, uint64_t seed) {
    projection_ = nullptr;
    if (ours != theirs && options_.projection == "never")
      throw Error(ErrorKind::recipe,
                  str("the student's width is ", ours, " and the teacher's ", theirs,
                      ", so their states cannot be compared without a projection"),
                  mark_.text(), "set projection: auto");
    if (options_.projection != "always" && ours == theirs) return;
    std::string name = "hidden_states.projection.weight";
    for (int copy = 2; auxiliary.find(name) != nullptr; ++copy)
      name = str("hidden_states.projection_", copy, ".weight");
    auto generator = at::detail::createCPUGenerator(stream_seed(seed, name));
    const double bound = 1 / std::sqrt(static_cast<double>(ours));
    torch::Tensor initial = torch::empty({theirs, ours}).uniform_(-bound, bound, generator);
    projection_ = &auxiliary.add(name, nn::Role::other, -1, std::move(initial));
    projection_->castable = true;
  }

  static const torch::Tensor& state(const nn::Outputs& outputs, int64_t index, bool decoder) {
    return (decoder ? outputs.decoder_hidden : outputs.hidden).at(static_cast<size_t>(index));
  }

  torch::Tensor project(const torch::Tensor& states) const {
    if (projection_ == nullptr) return states.to(torch::kFloat);
    const torch::Tensor& matrix = projection_->effective;
    return at::linear(states.to(matrix.scalar_type()), matrix).to(torch::kFloat);
  }

  // `present` [T, 1], where defined, is 0 for tokens that do not count.
  torch::Tensor distance(const torch::Tensor& student, const torch::Tensor& teacher,
                         const torch::Tensor& present) const {
    const bool mse = options_.loss == "mse";
    if (!present.defined())
      return mse ? at::mse_loss(student, teacher)
                 : 1 - at::cosine_similarity(student, teacher, -1).mean();
    const torch::Tensor count = present.sum();
    if (mse)
      return (at::mse_loss(student, teacher, at::Reduction::None) * present).sum() /
             (count * static_cast<double>(student.size(1)));
    return 1 - (at::cosine_similarity(student, teacher, -1) * present.squeeze(1)).sum() / count;
  }

  HiddenStatesOptions options_;
  std::vector<Pair> pairs_;
  bool two_stacks_ = false;
  nn::Parameter* projection_ = nullptr;
};

}  // namespace

void add_hidden_states(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<HiddenStatesOptions>(
          "objective", "hidden_states", "the teacher's hidden states, layer by layer",
          "sum over pairs (m <- n) of D(H_S,m W, H_T,n),  D = mse or 1 - cosine, W = projection\n"
          "with Ls student and Lt teacher layers, counted from 1:\n"
          "uniform: m <- floor(m Lt / Ls);  last: m <- Lt - Ls + m;  "
          "skip: m <- m floor(Lt / Ls) for m < Ls",
          "Jiao et al. 2020 (TinyBERT), arXiv 1909.10351, equation 8; Sun et al. 2019 (PKD), "
          "arXiv 1908.09355, section 3.2 (last, skip)",
          "Needs a teacher; its head does not matter. mse is the mean over tokens and width, "
          "cosine the mean over tokens; the layers' terms are added. One projection without bias "
          "serves all layers; it is trained with the student and not exported. PKD compares the "
          "normalised state of the first token alone; this term compares all tokens. Of an "
          "encoder-decoder the layers of both stacks are paired, each with its own, unless `stack` "
          "names one."),
      [](const recipe::Component& component) {
        return std::make_unique<HiddenStates>(component.as<HiddenStatesOptions>());
      });
}

}  // namespace compress::objective
