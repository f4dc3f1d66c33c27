#include "layers/padded_attention.h"

#include "compress/base/hash.h"

namespace compress::nn {

using torch::Tensor;

TokenGrid TokenGrid::of(const TokenRows& rows, torch::Device device) {
  std::vector<int64_t> index, slots;
  bool in_order = true;
  for (size_t r = 0; r < rows.begin.size(); ++r)
    for (int64_t i = 0; i < rows.length[r]; ++i) {
      in_order = in_order && rows.begin[r] + i == static_cast<int64_t>(index.size());
      index.push_back(rows.begin[r] + i);
      slots.push_back(static_cast<int64_t>(r) * rows.longest + i);
    }
  TokenGrid grid;
  grid.tokens = static_cast<int64_t>(index.size());
  grid.longest = rows.longest;
  if (!in_order) grid.index = torch::tensor(index, torch::kInt64).to(device);
  grid.slots = torch::tensor(slots, torch::kInt64).to(device);
  grid.lengths = torch::tensor(rows.length, torch::kInt64).to(device);
  return grid;
}

TokenGrid TokenGrid::of(const data::Batch& batch) {
  TokenGrid grid;
  grid.slots = batch.slots;
  grid.lengths = batch.offsets.slice(0, 1) - batch.offsets.slice(0, 0, batch.rows());
  grid.tokens = batch.tokens();
  grid.longest = batch.longest;
  return grid;
}

Tensor TokenGrid::spread(const Tensor& x) const {
  return torch::zeros({rows() * longest, x.size(1)}, x.options())
      .index_copy(0, slots, index.defined() ? x.index_select(0, index) : x.narrow(0, 0, tokens));
}

Tensor TokenGrid::gather(const Tensor& grid, int64_t count) const {
  const Tensor there = grid.index_select(0, slots);
  if (index.defined())
    return torch::zeros({count, grid.size(1)}, grid.options()).index_copy(0, index, there);
  const int64_t tail = count - tokens;
  return tail == 0 ? there : at::constant_pad_nd(there, {0, 0, 0, tail});
}

namespace {

// x [rows * longest, heads * width] as [rows, heads, longest, width].
Tensor split_heads(const Tensor& x, const TokenGrid& grid, int64_t heads, int64_t width) {
  return x.view({grid.rows(), grid.longest, heads, width}).permute({0, 2, 1, 3});
}
// Each head `times` times, one after the other.
Tensor repeat_heads(const Tensor& x, int64_t times) {
  return times == 1 ? x : x.repeat_interleave(times, 1);
}

// How far each key lies behind each query: [rows, longest query row, longest key row].
Tensor distances(const TokenGrid& queries, const TokenGrid& keys) {
  const auto options = keys.lengths.options();
  Tensor place = (keys.lengths - queries.lengths).unsqueeze(1) +
                 torch::arange(queries.longest, options).unsqueeze(0);
  return place.unsqueeze(2) - torch::arange(keys.longest, options).view({1, 1, -1});
}

Tensor biased(const Tensor& raw, const Tensor& bias, const Tensor& distance) {
  const int64_t reach = bias.size(1) / 2;
  const Tensor column = (distance + reach).clamp(0, 2 * reach);
  return raw + bias.to(torch::kFloat32)
                   .index_select(1, column.flatten())
                   .view({bias.size(0), column.size(0), column.size(1), column.size(2)})
                   .transpose(0, 1);
}

struct Grids {
  Tensor queries, keys, values;  // [rows, heads, longest, width]
};

Tensor mix(const Grids& x, const TokenGrid& query_grid, const TokenGrid& key_grid,
           const Tensor& bias, const AttentionShape& shape, bool training, uint64_t seed,
           Tensor* scores) {
  const int64_t group = shape.heads / shape.keys();
  Tensor raw =
      torch::matmul(x.queries, repeat_heads(x.keys, group).transpose(-1, -2)).to(torch::kFloat32) *
      shape.scale;
  const bool positional = shape.causal || shape.window > 0;
  const Tensor distance = positional || bias.defined() ? distances(query_grid, key_grid) : Tensor();
  if (bias.defined()) raw = biased(raw, bias, distance);
  if (scores != nullptr) *scores = raw;
  Tensor absent = torch::arange(key_grid.longest, key_grid.lengths.options()).unsqueeze(0) >=
                  key_grid.lengths.unsqueeze(1);
  absent = absent.view({key_grid.rows(), 1, 1, key_grid.longest});
  if (shape.causal) absent = absent.logical_or(distance.lt(0).unsqueeze(1));
  if (shape.window > 0) absent = absent.logical_or(distance.ge(shape.window).unsqueeze(1));
  Tensor weights = torch::softmax(raw.masked_fill(absent, -1e30), -1);
  // A query that sees nothing. Without a mask such a row has no keys at all, and values of 0.
  if (positional) weights = weights.masked_fill(absent.all(-1, true), 0);
  if (training) weights = dropout(weights, shape.dropout, seed);
  return torch::matmul(weights.to(x.values.scalar_type()), repeat_heads(x.values, group))
      .transpose(1, 2)
      .reshape({query_grid.rows() * query_grid.longest, shape.heads * shape.width});
}

// The grid's shape depends on the batch's longest row, so parts of an update draw for themselves.
uint64_t next_seed(DropoutSeeds& seeds, int64_t first_token) {
  const uint64_t seed = seeds.next();
  return first_token == 0 ? seed : mix64(seed ^ static_cast<uint64_t>(first_token));
}

// Attention over queries, keys and values that lie side by side.
Tensor attend(const Tensor& qkv, const TokenGrid& grid, const Tensor& bias,
              const AttentionShape& shape, bool training, uint64_t seed, Tensor* scores) {
  const int64_t heads = shape.heads, keys = shape.keys(), width = shape.width;
  const std::vector<Tensor> parts = grid.spread(qkv.narrow(1, 0, (heads + 2 * keys) * width))
                                        .view({grid.rows(), grid.longest, heads + 2 * keys, width})
                                        .permute({0, 2, 1, 3})
                                        .split_with_sizes({heads, keys, keys}, 1);
  return grid.gather(
      mix({parts[0], parts[1], parts[2]}, grid, grid, bias, shape, training, seed, scores),
      qkv.size(0));
}

}  // namespace

torch::Tensor padded_attention(const AttentionInput& input, const AttentionShape& shape,
                               DropoutSeeds& seeds, torch::Tensor* scores) {
  const uint64_t seed = next_seed(seeds, input.first_token);
  const torch::Device device = input.queries.device();
  const TokenGrid query_grid = TokenGrid::of(*input.query_rows, device);
  if (!input.pairs.defined() && input.key_rows == nullptr)
    return attend(input.queries, query_grid, input.distance_bias, shape, seeds.training(), seed,
                  scores);
  const int64_t hidden = shape.heads * shape.width, columns = shape.keys() * shape.width;
  const TokenGrid key_grid =
      input.key_rows != nullptr ? TokenGrid::of(*input.key_rows, device) : query_grid;
  const Tensor pairs = key_grid.spread(
      input.pairs.defined() ? input.pairs : input.queries.narrow(1, hidden, 2 * columns));
  const Grids grids{
      split_heads(query_grid.spread(input.queries.narrow(1, 0, hidden)), query_grid, shape.heads,
                  shape.width),
      split_heads(pairs.narrow(1, 0, columns), key_grid, shape.keys(), shape.width),
      split_heads(pairs.narrow(1, columns, columns), key_grid, shape.keys(), shape.width)};
  return query_grid.gather(
      mix(grids, query_grid, key_grid, input.distance_bias, shape, seeds.training(), seed, scores),
      input.queries.size(0));
}

torch::Tensor padded_attention(const torch::Tensor& qkv, const data::Batch& batch,
                               const AttentionShape& shape, DropoutSeeds& seeds,
                               torch::Tensor* scores) {
  const uint64_t seed = next_seed(seeds, seeds.first_token());
  return attend(qkv, TokenGrid::of(batch), {}, shape, seeds.training(), seed, scores);
}

}  // namespace compress::nn
