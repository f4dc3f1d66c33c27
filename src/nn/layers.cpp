#include "compress/nn/layers.h"

#include "compress/base/error.h"
#include "compress/nn/packed.h"

namespace compress::nn {

namespace {

using torch::Tensor;

Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return at::linear(x.scalar_type() == weight.scalar_type() ? x : x.to(weight.scalar_type()),
                    weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

// Whether a packed weight is there and this is a pass that it is for.
bool serves(const std::shared_ptr<const PackedWeight>& packed, const Tensor& x, const Rows& rows) {
  return packed != nullptr && !rows.training && !torch::GradMode::is_enabled() && x.is_cpu() &&
         x.scalar_type() == torch::kFloat32;
}

// The persistent gradient of an embedding, zero outside of touched rows.
Tensor& row_gradient(Parameter& parameter) {
  Tensor& gradient = parameter.latent.mutable_grad();
  if (!gradient.defined())
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
  for (int64_t t = 0; t < count; ++t) {
    float* target = to + id[t] * width;
    const float* source = from + t * width;
    for (int64_t i = 0; i < width; ++i) target[i] += source[i];
  }
}

// The rows that `ids` name, summed over the tables in order. Error of torch for an id out of range.
void gather(const Tensor* const tables[3], const std::vector<Tensor>& ids, Tensor& out) {
  const int64_t width = out.size(1), tokens = out.size(0);
  float* to = out.mutable_data_ptr<float>();
  for (size_t i = 0; i < 3; ++i) {
    if (!tables[i]->defined()) continue;
    const Tensor table = tables[i]->contiguous(), index = ids[i].contiguous();
    const int64_t* id = index.const_data_ptr<int64_t>();
    const float* from = table.const_data_ptr<float>();
    for (int64_t t = 0; t < tokens; ++t) {
      TORCH_CHECK_INDEX(id[t] >= 0 && id[t] < table.size(0), "embedding row ", id[t],
                        " is out of range, the table has ", table.size(0));
      const float* row = from + id[t] * width;
      float* sum = to + t * width;
      if (i == 0)
        std::copy_n(row, width, sum);
      else
        for (int64_t j = 0; j < width; ++j) sum[j] += row[j];
    }
  }
}

Tensor sum_rows(const Tensor& word, const Tensor& position, const Tensor& segment,
                const std::vector<Tensor>& ids, int64_t rows) {
  torch::NoGradGuard no_grad;
  const int64_t tokens = ids[0].size(0);
  Tensor all = torch::empty({rows, word.size(1)}, word.options().requires_grad(false));
  Tensor sum = all.narrow(0, 0, tokens);
  if (word.is_cpu()) {
    const Tensor* const tables[3] = {&word, &position, &segment};
    gather(tables, ids, sum);
  } else {
    at::index_select_out(sum, word, 0, ids[0]);
    sum += position.index_select(0, ids[1]);
    if (segment.defined()) sum += segment.index_select(0, ids[2]);
  }
  if (tokens < rows) all.narrow(0, tokens, rows - tokens).zero_();
  return all;
}

// Writes the gradients of the tables in place; autograd sees the latents only to know that a
// gradient is wanted.
class EmbeddingFunction : public torch::autograd::Function<EmbeddingFunction> {
 public:
  // `tables` holds the addresses of the word, position and segment parameters (0 = none).
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& word,
                        const Tensor& position, const Tensor& segment,
                        const std::vector<int64_t>& tables, const std::vector<Tensor>& ids,
                        int64_t rows) {
    context->saved_data["tables"] = tables;
    context->saved_data["ids"] = ids;
    return sum_rows(word, position, segment, ids, rows);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    torch::NoGradGuard no_grad;
    std::vector<int64_t> tables = context->saved_data["tables"].toIntVector();
    std::vector<Tensor> ids = context->saved_data["ids"].toTensorVector();
    Tensor rows = gradients[0].narrow(0, 0, ids[0].size(0)).to(torch::kFloat32).contiguous();
    for (size_t i = 0; i < tables.size(); ++i) {
      auto* table = reinterpret_cast<Parameter*>(tables[i]);
      if (table != nullptr && table->trainable) add_rows(*table, ids[i], rows);
    }
    return {Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

int64_t computed_rows(int64_t tokens, Precision precision, torch::Device device) {
  if (!device.is_cpu() || precision != Precision::bf16) return tokens;
  const int64_t granule = tokens < 128 ? 8 : 32;
  return (tokens + granule - 1) / granule * granule;
}

Tensor Linear::operator()(const Tensor& x, const Rows& rows) const {
  const Tensor added = bias != nullptr ? bias->effective : Tensor();
  if (serves(weight->packed, x, rows)) return weight->packed->multiply(x, rows, added, false);
  Tensor input = weight->input != nullptr ? weight->input->apply(x, rows) : x;
  return product(input, weight->effective, added);
}

Tensor Linear::activated(const Tensor& x, const Rows& rows, const std::string& name) const {
  if (name == "gelu" && serves(weight->packed, x, rows))
    return weight->packed->multiply(x, rows, bias != nullptr ? bias->effective : Tensor(), true);
  return activation((*this)(x, rows), name);
}

Tensor FusedLinear::operator()(const Tensor& x, const Rows& rows) const {
  if (serves(weight->packed, x, rows))
    return weight->packed->multiply(x, rows, bias->effective, false);
  if (weight->effective.defined() && weight->one_input()) {
    InputTransform* first = parts[0].weight->input;
    Tensor input = first != nullptr ? first->apply(x, rows) : x;
    return product(input, weight->effective, bias->effective);
  }
  std::vector<Tensor> outputs;
  for (const Linear& part : parts) outputs.push_back(part(x, rows));
  return torch::cat(outputs, 1);
}

Tensor LayerNorm::operator()(const Tensor& x) const {
  const Tensor& gain = weight->effective;
  // Norms keep float32 weights. PyTorch's CPU kernel mixes types, its CUDA kernel does not.
  if (!x.is_cpu() && x.scalar_type() != gain.scalar_type())
    return at::layer_norm(x.to(gain.scalar_type()), {gain.size(0)}, gain, bias->effective, eps)
        .to(x.scalar_type());
  return at::layer_norm(x, {gain.size(0)}, gain, bias->effective, eps);
}

Tensor Embeddings::operator()(const data::Batch& batch, int64_t rows) const {
  auto address = [](Parameter* table) { return reinterpret_cast<int64_t>(table); };
  std::vector<int64_t> tables = {address(word), address(position), address(segment)};
  std::vector<Tensor> ids = {batch.token_ids, batch.positions, batch.segment_ids};
  const Parameter* parameters[] = {word, position, segment};
  for (size_t i = 0; i < ids.size(); ++i)
    if (parameters[i] != nullptr && parameters[i]->late != nullptr)
      parameters[i]->late->settle(ids[i]);
  const Tensor third = segment != nullptr ? segment->latent : Tensor();
  if (!torch::GradMode::is_enabled())
    return sum_rows(word->latent, position->latent, third, ids, rows);
  return EmbeddingFunction::apply(word->latent, position->latent, third, tables, ids, rows);
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
