#include "compress/roles/row_store.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::roles {

using torch::Tensor;

namespace {

bool is_kept(torch::ScalarType type) {
  return type == torch::kFloat32 || type == torch::kFloat16 || type == torch::kInt32;
}

// [n] int64 of a list, and back.
Tensor tensor_of(const std::vector<int64_t>& list) {
  return torch::tensor(list, torch::kInt64);
}
std::vector<int64_t> list_of(const Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<int64_t>();
  return {data, data + tensor.numel()};
}

bool same_kind(const Tensor& a, const Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes().slice(1) == b.sizes().slice(1);
}

[[noreturn]] void refuse_state(const std::string& name) {
  throw Error(ErrorKind::model, "the saved values of rows '" + name + "' do not fit together", {},
              "they were saved for other rows or are damaged; start the stage anew");
}

}  // namespace

bool are_offsets(const Tensor& offsets, int64_t rows, int64_t count) {
  if (rows < 0 || offsets.dim() != 1 || offsets.size(0) != rows + 1) return false;
  const auto* at = offsets.const_data_ptr<int64_t>();
  return at[0] == 0 && at[rows] == count && std::is_sorted(at, at + rows + 1);
}

Tensor gather_runs(const Tensor& whole, const std::vector<int64_t>& starts,
                   const std::vector<int64_t>& counts) {
  std::vector<int64_t> shape = whole.sizes().vec();
  shape[0] = 0;
  for (int64_t count : counts) shape[0] += count;
  Tensor rows = torch::empty(shape, whole.options());
  if (rows.numel() == 0) return rows;
  const size_t bytes = rows.nbytes() / static_cast<size_t>(shape[0]);
  const auto* from = static_cast<const char*>(whole.const_data_ptr());
  auto* to = static_cast<char*>(rows.mutable_data_ptr());
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t length = static_cast<size_t>(counts[i]) * bytes;
    std::memcpy(to, from + static_cast<size_t>(starts[i]) * bytes, length);
    to += length;
  }
  return rows;
}

// --- one name

std::pair<int64_t, int64_t> RowStore::Column::range(int64_t row) const {
  if (!values.defined()) return {0, 0};
  if (!offsets.defined()) return {row, row + 1};
  const auto* at = offsets.const_data_ptr<int64_t>();
  return {at[row], at[row + 1]};
}

// What was put takes its rows' places; of what was put twice, the later.
void RowStore::settle(Column& column) const {
  if (column.waiting.empty()) return;
  // Where each row's values come from: none of the puts, or one of them and a place in it.
  std::vector<int32_t> source(static_cast<size_t>(rows_), -1);
  std::vector<int64_t> start(static_cast<size_t>(rows_)), count(static_cast<size_t>(rows_));
  for (int64_t row = 0; row < rows_; ++row) {
    const auto [begin, end] = column.range(row);
    start[static_cast<size_t>(row)] = begin;
    count[static_cast<size_t>(row)] = end - begin;
  }
  for (size_t i = 0; i < column.waiting.size(); ++i) {
    int64_t at = 0;
    for (size_t j = 0; j < column.waiting[i].rows.size(); ++j) {
      const auto row = static_cast<size_t>(column.waiting[i].rows[j]);
      source[row] = static_cast<int32_t>(i);
      start[row] = at;
      count[row] = column.waiting[i].counts[j];
      at += count[row];
    }
  }
  std::vector<int64_t> shape = column.like.sizes().vec();
  shape[0] = std::accumulate(count.begin(), count.end(), int64_t{0});
  const Tensor all = torch::empty(shape, column.like.options());
  const size_t bytes = all.numel() == 0 ? 0 : all.nbytes() / static_cast<size_t>(shape[0]);
  auto* to = static_cast<char*>(all.mutable_data_ptr());
  for (size_t row = 0; row < source.size(); ++row) {
    if (count[row] * static_cast<int64_t>(bytes) == 0) continue;
    const Tensor& from =
        source[row] < 0 ? column.values : column.waiting[static_cast<size_t>(source[row])].values;
    const size_t length = static_cast<size_t>(count[row]) * bytes;
    std::memcpy(
        to,
        static_cast<const char*>(from.const_data_ptr()) + static_cast<size_t>(start[row]) * bytes,
        length);
    to += length;
  }
  column.values = all;
  column.offsets = at::cat({torch::zeros({1}, torch::kInt64), tensor_of(count).cumsum(0)});
  column.waiting.clear();
}

RowStore::Put RowStore::exchanged(const std::vector<Put>& fresh, const Tensor& like,
                                  parallel::Processes& processes) {
  Put all;
  std::vector<Tensor> values = {like.narrow(0, 0, 0)};
  for (const Put& put : fresh) {
    all.rows.insert(all.rows.end(), put.rows.begin(), put.rows.end());
    all.counts.insert(all.counts.end(), put.counts.begin(), put.counts.end());
    values.push_back(put.values);
  }
  all.rows = list_of(processes.gather_rows(tensor_of(all.rows)));
  all.counts = list_of(processes.gather_rows(tensor_of(all.counts)));
  all.values = processes.gather_rows(at::cat(values));
  return all;
}

// --- writing and reading

void RowStore::check_rows(std::span<const int64_t> rows) const {
  for (int64_t row : rows)
    if (row < 0 || row >= rows_)
      throw Error(ErrorKind::internal, compress::str("values of row ", row, " of ", rows_));
}

void RowStore::add(const std::string& name, torch::ScalarType type,
                   const std::vector<int64_t>& shape) {
  std::vector<int64_t> none = {0};
  none.insert(none.end(), shape.begin(), shape.end());
  if (!is_kept(type) || columns_.contains(name))
    throw Error(ErrorKind::internal, compress::str("values of rows '", name, "' of type ", type));
  columns_[name].like = torch::empty(none, type);
}

void RowStore::put(const std::string& name, std::span<const int64_t> rows, const Tensor& values,
                   std::span<const int64_t> counts) {
  check_rows(rows);
  Put put{{rows.begin(), rows.end()}, {counts.begin(), counts.end()}, {}};
  if (counts.empty()) put.counts.assign(rows.size(), 1);
  const int64_t total = std::accumulate(put.counts.begin(), put.counts.end(), int64_t{0});
  const auto known = columns_.find(name);
  if (known == columns_.end() || !known->second.like.defined() || values.dim() == 0 ||
      values.size(0) != total || put.counts.size() != rows.size() ||
      !same_kind(known->second.like, values))
    throw Error(ErrorKind::internal,
                compress::str("values of ", rows.size(), " rows as '", name, "' of type ",
                              values.scalar_type(), " and shape ", values.sizes()));
  // Reading a device would wait for it: what lies there moves when it is shared.
  put.values = values.detach().clone();
  known->second.fresh.push_back(std::move(put));
}

RowStore::Values RowStore::get(const std::string& name, std::span<const int64_t> rows) const {
  check_rows(rows);
  Values found;
  found.counts.assign(rows.size(), 0);
  const auto known = columns_.find(name);
  if (known == columns_.end() || !known->second.values.defined()) return found;
  std::vector<int64_t> starts(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto [begin, end] = known->second.range(rows[i]);
    starts[i] = begin;
    found.counts[i] = end - begin;
  }
  found.values = gather_runs(known->second.values, starts, found.counts);
  return found;
}

bool RowStore::has(const std::string& name) const {
  const auto known = columns_.find(name);
  return known != columns_.end() && known->second.values.defined();
}

std::vector<std::string> RowStore::names() const {
  std::vector<std::string> names;
  for (const auto& [name, column] : columns_) names.push_back(name);
  return names;
}

void RowStore::adopt(const std::string& name, Tensor values, Tensor offsets) {
  Column column;
  column.values = std::move(values);
  column.offsets = std::move(offsets);
  columns_[name] = std::move(column);
}

// --- processes

void RowStore::share(parallel::Processes* processes) {
  for (auto& [name, column] : columns_) {
    if (!column.like.defined()) continue;
    for (Put& put : column.fresh) put.values = put.values.cpu();
    if (processes == nullptr)
      std::move(column.fresh.begin(), column.fresh.end(), std::back_inserter(column.waiting));
    else if (processes->any(!column.fresh.empty()))
      column.waiting.push_back(exchanged(column.fresh, column.like, *processes));
    column.fresh.clear();
  }
}

void RowStore::settle(parallel::Processes* processes) {
  share(processes);
  for (auto& [name, column] : columns_) settle(column);
}

// --- what is kept

nn::TensorMap RowStore::state() const {
  nn::TensorMap state;
  for (const auto& [name, column] : columns_) {
    if (!column.like.defined()) continue;
    if (column.values.defined()) {
      state[name + "/values"] = column.values;
      state[name + "/offsets"] = column.offsets;
    }
    std::vector<int64_t> rows, counts;
    std::vector<Tensor> values;
    for (const std::vector<Put>* list : {&column.waiting, &column.fresh})
      for (const Put& put : *list) {
        rows.insert(rows.end(), put.rows.begin(), put.rows.end());
        counts.insert(counts.end(), put.counts.begin(), put.counts.end());
        values.push_back(put.values.cpu());
      }
    if (values.empty()) continue;
    state[name + "/waiting.rows"] = tensor_of(rows);
    state[name + "/waiting.counts"] = tensor_of(counts);
    state[name + "/waiting.values"] = at::cat(values);
  }
  return state;
}

void RowStore::load_state(const nn::TensorMap& state) {
  auto taken = [&](const std::string& key, torch::ScalarType type) {
    const auto found = state.find(key);
    if (found == state.end()) return Tensor();
    if (found->second.dim() == 0 || found->second.scalar_type() != type) refuse_state(key);
    return found->second.clone();
  };
  for (auto& [name, column] : columns_) {
    if (!column.like.defined()) continue;
    const torch::ScalarType type = column.like.scalar_type();
    column.values = taken(name + "/values", type);
    column.offsets = taken(name + "/offsets", torch::kInt64);
    const Tensor rows = taken(name + "/waiting.rows", torch::kInt64),
                 counts = taken(name + "/waiting.counts", torch::kInt64),
                 values = taken(name + "/waiting.values", type);
    column.waiting.clear();
    column.fresh.clear();
    if (column.values.defined() != column.offsets.defined()) refuse_state(name);
    if (column.values.defined() && (!same_kind(column.like, column.values) ||
                                    !are_offsets(column.offsets, rows_, column.values.size(0))))
      refuse_state(name);
    if (!rows.defined()) continue;
    if (!counts.defined() || !values.defined() || rows.dim() != 1 ||
        counts.sizes() != rows.sizes() || counts.lt(0).any().item<bool>() ||
        counts.sum().item<int64_t>() != values.size(0) || rows.lt(0).any().item<bool>() ||
        rows.ge(rows_).any().item<bool>() || !same_kind(column.like, values))
      refuse_state(name);
    column.waiting.push_back({list_of(rows), list_of(counts), values});
  }
}

}  // namespace compress::roles
