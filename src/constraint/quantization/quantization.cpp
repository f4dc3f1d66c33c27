#include "quantization/quantization.h"

#include <algorithm>
#include <cmath>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "selection.h"

namespace compress::constraint {

namespace {

void check_quantization(const QuantizationOptions& o, const recipe::Mark& mark,
                        recipe::Problems& problems) {
  if (o.weights == "none" && o.activations == "none" && o.outputs == "none" &&
      o.embeddings == "none")
    problems.add(mark, "neither weights nor activations would be quantised",
                 "set one of them to int8, or remove `quantization`");
  if (o.activations == "uint8" && o.activation_scale != "static")
    problems.add(mark, "uint8 activations have one range, learnt from training passes",
                 "write activation_scale: static beside activations: uint8");
  if (!(o.averaging > 0)) problems.add(mark, "averaging must be above 0: scales would never move");
  if (o.start.unit == o.freeze_observers.unit && o.start.value >= o.freeze_observers.value &&
      o.activations != "none" && o.activation_scale == "static")
    problems.add(mark, "freeze_observers at " + o.freeze_observers.text() +
                           " leaves no update after the start at " + o.start.text());
  if (o.targets.empty()) problems.add(mark, "targets is empty: nothing would be quantised");
}

}  // namespace

const recipe::Options<QuantizationOptions>& QuantizationOptions::options() {
  using Q = QuantizationOptions;
  static const auto description =
      recipe::Options<Q>("quantization")
          .field("weights", &Q::weights, "weights of the targets")
          .one_of({"int8", "none"})
          .field("weight_granularity", &Q::weight_granularity,
                 "one scale an output row, or one in all")
          .one_of({"channel", "tensor"})
          .field("weight_range", &Q::weight_range,
                 "the scale's largest magnitude: that of the weights as they are, or the largest "
                 "that training passes have seen")
          .one_of({"current", "widening"})
          .field("activations", &Q::activations,
                 "what the targets read; uint8: affine, with the integer that stands for 0")
          .one_of({"int8", "uint8", "none"})
          .field("activation_scale", &Q::activation_scale,
                 "from each token itself, or one learnt from training passes")
          .one_of({"dynamic", "static"})
          .field("averaging", &Q::averaging,
                 "static: weight of a new batch in the moving minimum and maximum")
          .range(0, 1)
          .field("start", &Q::start, "update from which weights and activations are quantised")
          .field("freeze_observers", &Q::freeze_observers,
                 "static: update from which the scales no longer move")
          .field("embeddings", &Q::embeddings,
                 "word, position and segment tables: a scale a row, or int4 with a scale a group")
          .one_of({"int8", "int4", "none"})
          .field("embedding_group", &Q::embedding_group, "int4: values of a row with one scale")
          .at_least(1)
          .field("targets", &Q::targets,
                 "roles, groups of roles or globs over tensor names; a task head only by name")
          .field("exclude", &Q::exclude, "globs over tensor names")
          .field("outputs", &Q::outputs,
                 "what the targets say, bias included; uint8: affine, from a moving minimum and "
                 "maximum")
          .one_of({"uint8", "none"})
          .field("whole_outputs", &Q::whole_outputs,
                 "outputs: roles, or globs over tensor names, of targets whose outputs are not "
                 "rounded")
          .mark(&Q::mark)
          .check(check_quantization);
  return description;
}

std::string module_name(const std::string& tensor) {
  return ends_with(tensor, ".weight") ? tensor.substr(0, tensor.size() - 7) : tensor;
}

Quantization::Quantization(const QuantizationOptions& options) : options_(options) {
  called("quantization", options.mark);
  weights_.granularity = parse_granularity(options_.weight_granularity);
  weights_.phase = table_rows_.phase = &phase_;
  table_rows_.grid = table_grid(options_.embeddings, options_.embedding_group);
}

bool Quantization::static_inputs() const {
  return options_.activations != "none" && options_.activation_scale == "static";
}

std::string Quantization::unrecordable() const {
  return static_inputs() || options_.outputs != "none"
             ? "static ranges of activations would see the padding"
             : "";
}

void Quantization::bind(const roles::Scene& scene) {
  const Length& length = scene.length;
  phase_.processes = scene.processes;
  start_ = options_.start.resolve(length.steps_per_epoch, length.total_steps);
  freeze_ = options_.freeze_observers.resolve(length.steps_per_epoch, length.total_steps);
  std::string stage = str("the stage has ", length.total_steps, " updates");
  if (start_ >= length.total_steps)
    throw Error(ErrorKind::recipe,
                str("quantization would start at update ", start_, ", after the stage"),
                mark_.text(), stage);
  if ((static_inputs() || options_.outputs != "none") && freeze_ <= start_)
    throw Error(ErrorKind::recipe,
                str("observers freeze at update ", freeze_,
                    ", before they see an input from update ", start_, " on"),
                mark_.text(), stage);
  if (options_.weights != "none" || options_.activations != "none" || options_.outputs != "none") {
    const auto held =
        select(scene.weights, {options_.targets, excluded_matrices(scene, options_), true}, mark_);
    if (options_.outputs != "none") check_whole_outputs(held);
    hold(held);
  }
  hold_tables(select_tables(scene, options_, mark_));
}

void Quantization::hold_tables(const std::vector<nn::Parameter*>& tables) {
  tables_ = tables;
  for (nn::Parameter* table : tables_) table->transforms.push_back(&table_rows_);
}

std::vector<Match> Quantization::matches() const {
  std::vector<std::string> parts;
  if (options_.weights != "none")
    parts.push_back(str("int8 per ", options_.weight_granularity,
                        options_.weight_range == "widening" ? " (a range that widens)" : ""));
  if (options_.activations != "none")
    parts.push_back(str("activations ", options_.activations == "uint8" ? "uint8 " : "",
                        static_inputs() ? "per tensor (static)" : "per token"));
  std::vector<Match> out;
  for (const nn::Parameter* parameter : parameters_) {
    std::vector<std::string> own = parts;
    if (outputs_.contains(module_name(parameter->name))) own.emplace_back("outputs uint8");
    out.push_back(
        {parameter->name, parameter->latent.sizes().vec(), parameter->numel(), join(own, ", ")});
  }
  for (const nn::Parameter* table : tables_)
    out.push_back(
        {table->name, table->latent.sizes().vec(), table->numel(), table_text(table_rows_.grid)});
  return out;
}

bool Quantization::before_update(const Progress& progress) {
  const bool was = phase_.active;
  phase_.active = progress.step >= start_;
  phase_.frozen = progress.step >= freeze_;
  phase_.widens = !phase_.frozen;
  return phase_.active != was;
}

std::string Quantization::report() const {
  int64_t count = 0;
  for (const nn::Parameter* parameter : parameters_) count += parameter->numel();
  std::string what = parameters_.empty() ? "none" : matches().front().what;
  if (!tables_.empty()) {
    int64_t values = 0;
    for (const nn::Parameter* table : tables_) values += table->numel();
    what += str("; ", with_commas(values), " values of ", tables_.size(), " embeddings ",
                table_text(table_rows_.grid));
  }
  return str("quantization of ", with_commas(count), " weights in ", parameters_.size(),
             " layers: ", what, phase_.active ? "" : str(" (from update ", start_, " on)"));
}

std::unique_ptr<Constraint> make_quantization(const QuantizationOptions& options) {
  return std::make_unique<Quantization>(options);
}

void add_quantization(PruningRegistry& registry) {
  registry.add(
      recipe::describe<QuantizationOptions>(
          "quantization", "quantization",
          "int8 quantisation-aware training of linear layers, int8 or int4 of embeddings",
          "scale = max|x| / 127.5;  q = round(clamp(x / scale, -128, 127));  x' = q * scale\n"
          "weights: max over an output row or a tensor;  activations: over a token, or a moving "
          "min and max:  m <- m + c (m_batch - m)\n"
          "uint8: scale = (max - min) / 255, 0 in the range;  z = round(-min / scale);  "
          "q = round(clamp(x / scale + z, 0, 255));  x' = (q - z) * scale\n"
          "embeddings: max over a row; int4: over a group, scale = max|x| / 7.5 and q in -8 .. 7\n"
          "dL/dx = dL/dx' where nothing was clamped (straight-through)",
          "Jacob et al. 2018, arXiv 1712.05877; Zafrir et al. 2019 (Q8BERT), arXiv 1910.06188; "
          "Zafrir et al. 2021, arXiv 2111.05754 (with sparsity); straight-through: Bengio et al. "
          "2013, arXiv 1308.3432",
          "The arithmetic is that of compressed-tensors, so the exported integers give the weights "
          "that were trained with. Symmetric, so zeros stay zeros; a pruning mask comes first. "
          "Rounding is half to even, in float32 whatever the compute precision. Of embeddings the "
          "rows that a batch reads are rounded as they are read (a table that an output layer "
          "shares as a whole). A task head is quantised only when a target names it. Static scales "
          "move in training passes between `start` and `freeze_observers`. Q8BERT's scheme, as the "
          "code of Prune Once for All has it: weight_granularity: tensor, weight_range: widening, "
          "activations: uint8, activation_scale: static, outputs: uint8, and targets [linear, "
          "head]. The format compressed-tensors refuses what it has no place for."),
      [](const recipe::Component& component) {
        return make_quantization(component.as<QuantizationOptions>());
      });
}

}  // namespace compress::constraint
