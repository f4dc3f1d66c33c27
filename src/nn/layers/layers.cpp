#include "compress/nn/layers.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/nn/device.h"
#include "compress/nn/memory.h"
#include "compress/nn/packed.h"

namespace compress::nn {

DropoutSeeds DropoutSeeds::apart(const std::string& name) const {
  DropoutSeeds other = *this;
  other.seed_ = stream_seed(seed_, name);
  other.site_ = 0;
  return other;
}

void begin_draws(torch::Device device, uint64_t seed, const data::Part& part) {
  begin_draws(device,
              part.first_token == 0 ? seed : mix64(seed ^ static_cast<uint64_t>(part.first_token)));
}

namespace {

using torch::Tensor;

Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return at::linear(x.scalar_type() == weight.scalar_type() ? x : x.to(weight.scalar_type()),
                    weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

// Whether a packed weight is there and this is a pass that it is for.
bool serves(const std::shared_ptr<const PackedWeight>& packed, const Tensor& x,
            const RowInfo& rows) {
  return packed != nullptr && !rows.training && !torch::GradMode::is_enabled() && x.is_cpu() &&
         x.scalar_type() == torch::kFloat32;
}

// From this size on a table's gradient is memory for its touched rows only.
constexpr int64_t large_table = int64_t{64} << 20;  // bytes

// Whether a batch's rows are made of the latent one by one; else the whole table is there.
bool reads_latent(const Parameter& table) {
  return table.row_gradient || table.transforms.empty() || !table.effective.defined();
}

// The persistent gradient of an embedding, zero outside of touched rows. That of a large table is
// paged_zeros(), which its gradient_buffer holds, too: ParamTable::clear_gradients() knows it by
// that. A table that is read as a whole gets it where it is read, as the layer that is tied to it
// does.
Tensor& row_gradient(Parameter& parameter) {
  Tensor& gradient =
      (reads_latent(parameter) ? parameter.latent : parameter.effective).mutable_grad();
  if (gradient.defined()) return gradient;
  const bool paged = parameter.row_gradient && parameter.latent.is_cpu() &&
                     parameter.latent.numel() * parameter.latent.element_size() >= large_table;
  if (paged)
    gradient = parameter.gradient_buffer = paged_zeros(parameter.latent.sizes());
  else
    gradient = torch::zeros_like(parameter.latent, parameter.latent.options().requires_grad(false));
  return gradient;
}

void add_rows(Parameter& parameter, const Tensor& ids, const Tensor& rows) {
  Tensor& gradient = row_gradient(parameter);
  if (parameter.row_gradient) parameter.touched.push_back(ids);
  if (!gradient.is_cpu()) {
    gradient.index_add_(0, ids, rows);
    return;
  }
  const int64_t width = gradient.size(1), count = ids.size(0);
  const int64_t* id = ids.const_data_ptr<int64_t>();
  const float* from = rows.const_data_ptr<float>();
  float* to = gradient.mutable_data_ptr<float>();
  const bool paged = gradient.is_same(parameter.gradient_buffer);
  for (int64_t t = 0; t < count; ++t) {
    float* target = to + id[t] * width;
    const float* source = from + t * width;
    if (paged) claim_pages(target, width);
    for (int64_t i = 0; i < width; ++i) target[i] += source[i];
  }
}

// What one pass reads: tables (undefined = none) and the rows of each.
struct Lookup {
  std::vector<Tensor> tables, ids;
  std::vector<Parameter*> held;  // tables whose rows go through transforms when they are read
  double scale;                  // of the first table's rows
  int64_t rows;
  const Tensor& any() const {
    for (const Tensor& table : tables)
      if (table.defined()) return table;
    throw Error(ErrorKind::internal, "embeddings without a table");
  }
};

// The rows that `ids` name, summed over the tables in order. Error of torch for an id out of range.
void gather(const Lookup& lookup, Tensor& out) {
  const int64_t width = out.size(1), tokens = out.size(0);
  float* to = out.mutable_data_ptr<float>();
  bool first = true;
  for (size_t i = 0; i < lookup.tables.size(); ++i) {
    if (!lookup.tables[i].defined()) continue;
    const Tensor table = lookup.tables[i].contiguous(), index = lookup.ids[i].contiguous();
    const int64_t* id = index.const_data_ptr<int64_t>();
    const float* from = table.const_data_ptr<float>();
    const bool scaled = i == 0 && lookup.scale != 1;
    const auto factor = static_cast<float>(lookup.scale);
    for (int64_t t = 0; t < tokens; ++t) {
      TORCH_CHECK_INDEX(id[t] >= 0 && id[t] < table.size(0), "embedding row ", id[t],
                        " is out of range, the table has ", table.size(0));
      const float* row = from + id[t] * width;
      float* sum = to + t * width;
      if (scaled)
        for (int64_t j = 0; j < width; ++j) sum[j] = row[j] * factor;
      else if (first)
        std::copy_n(row, width, sum);
      else
        for (int64_t j = 0; j < width; ++j) sum[j] += row[j];
    }
    first = false;
  }
}

// The same with the rows of held tables as what their transforms make of them.
Lookup transformed(Lookup lookup) {
  for (size_t i = 0; i < lookup.tables.size(); ++i) {
    Parameter* const table = lookup.held[i];
    if (table == nullptr) continue;
    Tensor rows = lookup.tables[i].detach().index_select(0, lookup.ids[i]);
    for (WeightTransform* transform : table->transforms) transform->forward(*table, rows);
    lookup.tables[i] = rows;
    lookup.ids[i] = torch::arange(rows.size(0), lookup.ids[i].options());
  }
  return lookup;
}

Tensor sum_rows(const Lookup& read) {
  torch::NoGradGuard no_grad;
  const bool held = std::any_of(read.held.begin(), read.held.end(),
                                [](const Parameter* table) { return table != nullptr; });
  const Lookup made = held ? transformed(read) : Lookup{};
  const Lookup& lookup = held ? made : read;
  const Tensor& any = lookup.any();
  const int64_t tokens = lookup.ids[0].size(0), rows = lookup.rows;
  Tensor all = torch::empty({rows, any.size(1)}, any.options().requires_grad(false));
  Tensor sum = all.narrow(0, 0, tokens);
  if (any.is_cpu()) {
    gather(lookup, sum);
  } else {
    bool first = true;
    for (size_t i = 0; i < lookup.tables.size(); ++i) {
      const Tensor& table = lookup.tables[i];
      if (!table.defined()) continue;
      if (first)
        at::index_select_out(sum, table, 0, lookup.ids[i]);
      else
        sum += table.index_select(0, lookup.ids[i]);
      if (i == 0 && lookup.scale != 1) sum *= lookup.scale;
      first = false;
    }
  }
  if (tokens < rows) all.narrow(0, tokens, rows - tokens).zero_();
  return all;
}

// The word, position and segment parameters; null for none.
struct Tables : torch::CustomClassHolder {
  std::vector<Parameter*> list;
};

// Writes the gradients of the tables in place; autograd sees the latents only to know that a
// gradient is wanted.
class EmbeddingFunction : public torch::autograd::Function<EmbeddingFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const std::optional<Tensor>&,
                        const std::optional<Tensor>&, const std::optional<Tensor>&,
                        const c10::intrusive_ptr<Tables>& tables, const Lookup& lookup) {
    context->saved_data["tables"] = torch::IValue::make_capsule(tables);
    context->saved_data["ids"] = lookup.ids;
    context->saved_data["scale"] = lookup.scale;
    return sum_rows(lookup);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::NoGradGuard no_grad;
    const auto held = context->saved_data["tables"].toCapsule();
    const std::vector<Parameter*>& tables = static_cast<const Tables&>(*held).list;
    std::vector<Tensor> ids = context->saved_data["ids"].toTensorVector();
    Tensor rows = gradients[0].narrow(0, 0, ids[0].size(0)).to(torch::kFloat32).contiguous();
    const double scale = context->saved_data["scale"].toDouble();
    for (size_t i = 0; i < tables.size(); ++i) {
      Parameter* table = tables[i];
      if (table != nullptr && table->trainable)
        add_rows(*table, ids[i], i == 0 && scale != 1 ? rows * scale : rows);
    }
    return torch::autograd::variable_list(5);
  }
};

// Adds what stands beside a layer to its columns of y, which nobody else has yet.
void add_branches(const Parameter& weight, const Tensor& x, const RowInfo& rows, Tensor y) {
  for (LinearBranch* branch : weight.branches) y.add_(branch->apply(x, rows));
}

// What becomes of a layer's output, in its columns of a product that others share.
void change_columns(const Parameter& weight, const RowInfo& rows, Tensor y) {
  if (weight.output != nullptr) y.copy_(weight.output->apply(y, rows));
}

}  // namespace

int64_t computed_rows(int64_t tokens, Precision precision, torch::Device device) {
  if (!device.is_cpu() || precision != Precision::bf16) return tokens;
  const int64_t granule = tokens < 128 ? 8 : 32;
  return (tokens + granule - 1) / granule * granule;
}

Tensor Linear::operator()(const Tensor& x, const RowInfo& rows) const {
  const Tensor added = bias != nullptr ? bias->effective : Tensor();
  Tensor y;
  if (serves(weight->packed, x, rows)) {
    y = weight->packed->multiply(x, rows, added, false);
  } else {
    Tensor input = weight->input != nullptr ? weight->input->apply(x, rows) : x;
    y = product(input, weight->effective, added);
  }
  add_branches(*weight, x, rows, y);
  return weight->output != nullptr ? weight->output->apply(y, rows) : y;
}

Tensor Linear::activated(const Tensor& x, const RowInfo& rows, const std::string& name) const {
  const bool plain = weight->branches.empty() && weight->output == nullptr;
  if (name == "gelu" && plain && serves(weight->packed, x, rows))
    return weight->packed->multiply(x, rows, bias != nullptr ? bias->effective : Tensor(), true);
  return activation((*this)(x, rows), name);
}

Tensor FusedLinear::operator()(const Tensor& x, const RowInfo& rows) const {
  const Tensor added = bias != nullptr ? bias->effective : Tensor();
  const bool packed = serves(weight->packed, x, rows);
  if (packed || (weight->effective.defined() && weight->one_input())) {
    Tensor y;
    if (packed) {
      y = weight->packed->multiply(x, rows, added, false);
    } else {
      InputTransform* first = parts[0].weight->input;
      Tensor input = first != nullptr ? first->apply(x, rows) : x;
      y = product(input, weight->effective, added);
    }
    for (const Linear& part : parts) {
      if (part.weight->branches.empty() && part.weight->output == nullptr) continue;
      const Tensor own = y.narrow(1, part.weight->fused_row, part.weight->latent.size(0));
      add_branches(*part.weight, x, rows, own);
      change_columns(*part.weight, rows, own);
    }
    return y;
  }
  std::vector<Tensor> outputs;
  for (const Linear& part : parts) outputs.push_back(part(x, rows));
  return torch::cat(outputs, 1);
}

Tensor Embeddings::operator()(const data::Batch& batch, int64_t rows) const {
  Parameter* const parameters[] = {word, position, segment};
  Lookup lookup{
      {},
      {batch.token_ids,
       position != nullptr && position_offset != 0 ? batch.positions + position_offset
                                                   : batch.positions,
       // Models of one segment read its row, whatever the task says.
       segment != nullptr && segment->latent.size(0) == 1 ? torch::zeros_like(batch.segment_ids)
                                                          : batch.segment_ids},
      {},
      scale,
      rows};
  auto tables = c10::make_intrusive<Tables>();
  for (size_t i = 0; i < 3; ++i) {
    Parameter* table = parameters[i];
    tables->list.push_back(table);
    lookup.tables.push_back(table == nullptr       ? Tensor()
                            : reads_latent(*table) ? table->latent
                                                   : table->effective);
    const bool held = table != nullptr && reads_latent(*table) && !table->transforms.empty();
    lookup.held.push_back(held ? table : nullptr);
    if (table != nullptr && table->late != nullptr) table->late->settle(lookup.ids[i]);
  }
  if (!torch::GradMode::is_enabled()) return sum_rows(lookup);
  auto table = [&](size_t i) {  // autograd takes no undefined tensors
    return lookup.tables[i].defined() ? std::optional<Tensor>(lookup.tables[i]) : std::nullopt;
  };
  return EmbeddingFunction::apply(table(0), table(1), table(2), tables, lookup);
}

bool is_activation(const std::string& name) {
  for (const char* known : {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish"})
    if (name == known) return true;
  return false;
}

Tensor activation(const Tensor& x, const std::string& name) {
  if (name == "gelu") return at::gelu(x);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return at::gelu(x, "tanh");
  if (name == "relu") return at::relu(x);
  if (name == "silu" || name == "swish") return at::silu(x);
  throw Error(ErrorKind::model, "unsupported activation '" + name + "'", {},
              "supported: gelu, gelu_new, relu, silu");
}

}  // namespace compress::nn
