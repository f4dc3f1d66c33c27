// Tokenised texts as the rows of a task.

#include <algorithm>

#include "rows/row_stream.h"

namespace compress::data {

void append_token(text::PackedIds& packed, int32_t token, int64_t max_length) {
  std::vector<int32_t> ids;
  ids.reserve(packed.ids.size() + static_cast<size_t>(packed.count()));
  int64_t begin = 0;
  for (int64_t row = 0; row < packed.count(); ++row) {
    const int64_t end = packed.offsets[static_cast<size_t>(row) + 1];
    ids.insert(ids.end(), packed.ids.begin() + begin, packed.ids.begin() + end);
    const bool room = max_length == 0 || end - begin < max_length;
    if (room && (begin == end || ids.back() != token)) {
      ids.push_back(token);
      int64_t& first = packed.first_lengths[static_cast<size_t>(row)];
      if (first == end - begin) ++first;
    }
    packed.offsets[static_cast<size_t>(row) + 1] = static_cast<int64_t>(ids.size());
    begin = end;
  }
  packed.ids = std::move(ids);
}

void drop_ends(text::PackedIds& packed, int32_t token) {
  std::vector<int32_t> ids;
  ids.reserve(packed.ids.size());
  int64_t begin = 0;
  for (int64_t row = 0; row < packed.count(); ++row) {
    const int64_t behind = packed.offsets[static_cast<size_t>(row) + 1];
    int64_t end = behind;
    if (token >= 0 && end - begin > 1 && packed.ids[static_cast<size_t>(end) - 1] == token) --end;
    ids.insert(ids.end(), packed.ids.begin() + begin, packed.ids.begin() + end);
    int64_t& first = packed.first_lengths[static_cast<size_t>(row)];
    first = std::min(first, end - begin);
    packed.offsets[static_cast<size_t>(row) + 1] = static_cast<int64_t>(ids.size());
    begin = behind;
  }
  packed.ids = std::move(ids);
}

namespace {

template <class T>
void keep_rows(const std::vector<size_t>& rows, Array<T>& column, size_t each = 1) {
  if (column.empty()) return;
  std::vector<T> kept;
  kept.reserve(rows.size() * each);
  for (size_t row : rows)
    for (size_t i = 0; i < each; ++i) kept.push_back(column[row * each + i]);
  column = std::move(kept);
}

}  // namespace

namespace {

void keep_columns(const std::vector<size_t>& rows, Split& chunk) {
  keep_rows(rows, chunk.lines);
  keep_rows(rows, chunk.weights);
  keep_rows(rows, chunk.groups);
}

template <class Drops>
int64_t drop(text::PackedIds& packed, Split& chunk, const Drops& drops) {
  text::PackedIds kept;
  kept.offsets.push_back(0);
  std::vector<size_t> rows;
  for (int64_t row = 0; row < packed.count(); ++row) {
    const std::span<const int32_t> ids = packed.text(row);
    if (drops(ids)) continue;
    kept.ids.insert(kept.ids.end(), ids.begin(), ids.end());
    kept.offsets.push_back(static_cast<int64_t>(kept.ids.size()));
    kept.first_lengths.push_back(packed.first_lengths[static_cast<size_t>(row)]);
    rows.push_back(static_cast<size_t>(row));
  }
  const int64_t dropped = packed.count() - kept.count();
  if (dropped == 0) return 0;
  packed = std::move(kept);
  keep_columns(rows, chunk);
  return dropped;
}

}  // namespace

int64_t drop_empty(text::PackedIds& packed, int64_t special, Split& chunk) {
  return drop(packed, chunk, [&](std::span<const int32_t> ids) {
    return static_cast<int64_t>(ids.size()) <= special;
  });
}

int64_t drop_poor(text::PackedIds& packed, int64_t min_length, std::optional<double> max_unknown,
                  int32_t unknown, Split& chunk) {
  return drop(packed, chunk, [&](std::span<const int32_t> ids) {
    if (static_cast<int64_t>(ids.size()) < min_length) return true;
    if (!max_unknown || ids.empty()) return false;
    const auto count = static_cast<double>(std::count(ids.begin(), ids.end(), unknown));
    return count >= *max_unknown * static_cast<double>(ids.size());
  });
}

void split_long(text::PackedIds& packed, int64_t max_length, const Ends& ends, Split& chunk) {
  const auto front = static_cast<int64_t>(ends.front.size()),
             special = front + static_cast<int64_t>(ends.back.size());
  text::PackedIds parts;
  parts.offsets.push_back(0);
  std::vector<size_t> rows;
  for (int64_t row = 0; row < packed.count(); ++row) {
    const std::span<const int32_t> ids = packed.text(row);
    const auto words = static_cast<int64_t>(ids.size()) - special;
    const int64_t room =
        words + special <= max_length ? words : std::max<int64_t>(max_length - special, 1);
    int64_t at = 0;
    do {
      const int64_t count = std::min(room, words - at);
      const std::span<const int32_t> part =
          words <= 0 ? std::span<const int32_t>()
                     : ids.subspan(static_cast<size_t>(front + at), static_cast<size_t>(count));
      parts.ids.insert(parts.ids.end(), ends.front.begin(), ends.front.end());
      parts.ids.insert(parts.ids.end(), part.begin(), part.end());
      parts.ids.insert(parts.ids.end(), ends.back.begin(), ends.back.end());
      const auto end = static_cast<int64_t>(parts.ids.size());
      parts.first_lengths.push_back(end - parts.offsets.back());
      parts.offsets.push_back(end);
      rows.push_back(static_cast<size_t>(row));
      at += count;
    } while (at < words);
  }
  packed = std::move(parts);
  keep_columns(rows, chunk);
}

void drop_rows(text::PackedIds& packed, const std::vector<bool>& marked, Split& chunk) {
  const auto choices = static_cast<size_t>(chunk.choices), count = marked.size();
  std::vector<size_t> rows;
  for (size_t first = 0; first < count; first += choices) {
    const auto begin = marked.begin() + static_cast<std::ptrdiff_t>(first);
    if (std::find(begin, begin + static_cast<std::ptrdiff_t>(choices), true) !=
        begin + static_cast<std::ptrdiff_t>(choices))
      continue;
    for (size_t i = 0; i < choices; ++i) rows.push_back(first + i);
  }
  if (rows.size() == count) return;
  text::PackedIds kept;
  kept.offsets.push_back(0);
  for (const size_t row : rows) {
    const std::span<const int32_t> ids = packed.text(static_cast<int64_t>(row));
    kept.ids.insert(kept.ids.end(), ids.begin(), ids.end());
    kept.offsets.push_back(static_cast<int64_t>(kept.ids.size()));
    kept.first_lengths.push_back(packed.first_lengths[row]);
  }
  packed = std::move(kept);
  keep_rows(rows, chunk.soft, chunk.soft.size() / std::max<size_t>(1, count));
  keep_rows(rows, chunk.lines);
  keep_rows(rows, chunk.classes);
  keep_rows(rows, chunk.values);
  keep_rows(rows, chunk.weights);
  keep_rows(rows, chunk.groups);
}

text::PackedIds alternated(const text::PackedIds& first, const text::PackedIds& second) {
  text::PackedIds both;
  both.ids.reserve(first.ids.size() + second.ids.size());
  both.offsets.reserve(first.offsets.size());
  both.offsets.push_back(0);
  for (int64_t row = 0; row < first.count(); ++row) {
    for (const text::PackedIds* part : {&first, &second})
      both.ids.insert(both.ids.end(), part->text(row).begin(), part->text(row).end());
    both.first_lengths.push_back(static_cast<int64_t>(first.text(row).size()));
    both.offsets.push_back(static_cast<int64_t>(both.ids.size()));
  }
  return both;
}

void Blocks::cut(Split& chunk) {
  const Array<int32_t> ids = std::move(chunk.ids);
  const Array<int64_t> offsets = std::move(chunk.offsets), lines = std::move(chunk.lines);
  chunk.ids.clear();
  chunk.lines.clear();
  chunk.first_lengths.clear();
  chunk.offsets = {0};
  for (size_t row = 0; row + 1 < offsets.size(); ++row) {
    for (int64_t at = offsets[row]; at < offsets[row + 1];) {
      if (rest_.empty()) line_ = lines[row];
      const int64_t taken =
          std::min(offsets[row + 1] - at, length_ - static_cast<int64_t>(rest_.size()));
      rest_.insert(rest_.end(), ids.data() + at, ids.data() + at + taken);
      at += taken;
      if (static_cast<int64_t>(rest_.size()) == length_) add(chunk);
    }
  }
}

bool Blocks::finish(Split& chunk) {
  if (rest_.empty()) return false;
  chunk.ids.clear();
  chunk.lines.clear();
  chunk.first_lengths.clear();
  chunk.offsets = {0};
  add(chunk);
  return true;
}

void Blocks::add(Split& chunk) {
  chunk.ids.append(rest_);
  chunk.offsets.push_back(static_cast<int64_t>(chunk.ids.size()));
  chunk.first_lengths.push_back(static_cast<int32_t>(rest_.size()));
  chunk.lines.push_back(line_);
  rest_.clear();
}

}  // namespace compress::data
