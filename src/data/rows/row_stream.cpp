#include "rows/row_stream.h"

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress::data {

namespace {

// What a chunk holds at most: enough to keep many threads busy.
constexpr size_t most_rows = size_t{1} << 13;
constexpr size_t most_bytes = size_t{1} << 20;  // of text

Split without_rows(const Split& head) {
  Split split;
  split.name = head.name;
  split.file = head.file;
  split.task = head.task;
  split.labels = head.labels;
  split.choices = head.choices;
  split.answers = head.answers;
  return split;
}

}  // namespace

RowStream::RowStream(Source& source, const DatasetOptions& options,
                     const text::Tokenizer& tokenizer, const Split& head, int threads)
    : source_(source),
      tokenizer_(tokenizer),
      options_(options),
      header_(options.header),
      // A file of SQuAD has passages whatever the options call them.
      pair_(head.task == Task::span ||
            (head.task != Task::similarity && (layout_of(options).pair || head.choices > 1))),
      target_(layout_of(options).target),
      placed_(layout_of(options).places),
      drops_(facts_of(head.task).leaves_out_empty && !target_ && options.bad_rows.empty()),
      max_length_(options.concatenate ? 0 : options.max_length),
      max_target_length_(options.max_target_length),
      end_(reads_on(head.task) && options.append_end ? tokenizer.special_ids().eos : -1),
      threads_(threads),
      wanted_(options.limit.value_or(std::numeric_limits<int64_t>::max())),
      chunk_(without_rows(head)),
      reader_(open_reader(source, options, layout_of(options).columns)),
      targets_(options, chunk_),
      skips_bad_(skips_bad_rows(options)) {
  if (options.concatenate) blocks_.emplace(options.max_length);
  if (head.task == Task::next_sentence)
    pairs_.emplace(tokenizer, options.max_length, options.duplicates);
}

const Split* RowStream::next() {
  while (read()) {
    if (unusable_.any() && !skips_bad_) continue;
    kind_of(chunk_.task).tokenise(*this);
    left_any_ = left_any_ || chunk_.rows() > 0;
    if ((!empty_.any() || skips_bad_) && chunk_.rows() > 0) return &chunk_;
  }
  raise();
  return blocks_ && blocks_->finish(chunk_) ? &chunk_ : nullptr;
}

double RowStream::fraction() const {
  return 1 -
         static_cast<double>(reader_->bytes_left()) / static_cast<double>(source_.bytes().size());
}

bool RowStream::read() {
  for (Array<int32_t>* array :
       {&chunk_.ids, &chunk_.first_lengths, &chunk_.classes, &chunk_.token_classes, &chunk_.spans})
    array->clear();
  for (Array<float>* array : {&chunk_.values, &chunk_.soft, &chunk_.weights}) array->clear();
  for (Array<int64_t>* array : {&chunk_.offsets, &chunk_.lines, &chunk_.groups}) array->clear();
  first_.clear();
  second_.clear();
  answers_.clear();
  places_.clear();
  targets_.words().clear();
  source_.forget();
  size_t bytes = 0;
  auto left_out = [this] {
    return dropped_ + poor_ + (skips_bad_ ? unusable_.count() + empty_.count() : 0);
  };
  // A pair is made of two documents.
  auto has_room = [&] {
    return (first_.size() < most_rows && bytes < most_bytes) || (pairs_ && first_.size() < 2);
  };
  while (has_room() && rows_ - left_out() < wanted_ && reader_->next(record_)) {
    ++rows_;
    if (!record_.problem.empty()) {
      unusable_.add(record_.line, record_.problem, record_.hint);
      continue;
    }
    if (targets_.skips(record_)) {
      ++skipped_;
      continue;
    }
    const size_t taken = take_texts();
    const int64_t before = unusable_.count();
    targets_.row(record_, unusable_);
    if (skips_bad_ && unusable_.count() > before)
      take_back();
    else
      bytes += taken;
  }
  return !first_.empty();
}

void RowStream::take_back() {
  const auto rows = static_cast<size_t>(chunk_.choices);
  for (auto* texts : {&first_, &second_, &answers_, &places_})
    texts->resize(texts->size() - std::min(rows, texts->size()));
  // Of the row's targets those that were read; where one was bad, the ones behind it were not.
  const size_t lines = chunk_.lines.size() - rows;
  chunk_.lines.edit().resize(lines);
  auto cut = [&](auto& array, size_t each) {
    if (array.size() > lines * each) array.edit().resize(lines * each);
  };
  cut(chunk_.classes, 1);
  cut(chunk_.values, 1);
  cut(chunk_.weights, 1);
  cut(chunk_.groups, 1);
  cut(chunk_.soft, std::max<size_t>(1, targets_.soft().size()));
  if (targets_.words().size() > lines) targets_.words().resize(lines);
}

// Keeps the record's texts; their bytes.
size_t RowStream::take_texts() {
  size_t bytes = 0;
  auto take = [&](std::vector<std::string_view>& texts, std::string_view cell) {
    texts.push_back(cell);
    bytes += cell.size();
  };
  const std::vector<std::string_view>& cells = record_.cells;
  if (chunk_.task == Task::similarity) {
    for (size_t text = 0; text < 2; ++text) {
      take(first_, cells[text]);
      chunk_.lines.push_back(record_.line);
    }
    return bytes;
  }
  if (chunk_.choices > 1) {
    for (int64_t choice = 1; choice <= chunk_.choices; ++choice) {
      take(first_, cells[0]);
      take(second_, cells[static_cast<size_t>(choice)]);
      chunk_.lines.push_back(record_.line);
    }
    return bytes;
  }
  chunk_.lines.push_back(record_.line);
  take(first_, cells[0]);
  if (pair_) take(second_, cells[1]);
  if (target_) take(second_, kind_of(chunk_.task).answer_of(options_, cells[1]));
  if (chunk_.task == Task::span) {
    take(answers_, cells[2]);
    take(places_, placed_ ? cells[3] : "");
  }
  return bytes;
}

void RowStream::tokenise_texts() {
  text::PackedIds packed = encode(first_, pair_ ? std::span(second_) : std::span(second_).first(0),
                                  options_.split_long ? 0 : max_length_);
  if (options_.split_long) split_long(packed, max_length_, ends(), chunk_);
  lacking_.assign(static_cast<size_t>(packed.count()), false);
  if (drops_)
    dropped_ += drop_empty(packed, special(max_length_), chunk_);
  else
    find_empty(packed, special(max_length_), "text");
  if (target_ && chunk_.answers) {
    drop_ends(packed, tokenizer_.special_ids().eos);
    text::PackedIds targets = encode(second_, {}, max_target_length_, /*special=*/false);
    find_empty(targets, 0, "target");
    if (end_ >= 0) append_token(targets, end_, max_target_length_);
    packed = alternated(packed, targets);
  } else if (target_) {
    const text::PackedIds targets = encode(second_, {}, max_target_length_);
    find_empty(targets, special(max_target_length_), "target");
    packed = alternated(packed, targets);
  } else if (end_ >= 0) {
    append_token(packed, end_, max_length_);
  }
  if (skips_bad_) drop_rows(packed, lacking_, chunk_);
  if (options_.min_length > 0 || options_.max_unknown)
    poor_ +=
        drop_poor(packed, options_.min_length,
                  options_.max_unknown ? std::optional(options_.max_unknown->value) : std::nullopt,
                  tokenizer_.special_ids().unk, chunk_);
  chunk_.ids = std::move(packed.ids);
  chunk_.offsets = std::move(packed.offsets);
  chunk_.first_lengths.edit().assign(packed.first_lengths.begin(), packed.first_lengths.end());
  if (blocks_) blocks_->cut(chunk_);
}

Ends RowStream::ends() const {
  text::EncodeOptions how;
  how.offsets = true;
  const text::Encoding one = tokenizer_.encode("a", how);
  Ends ends;
  bool inside = false;
  for (size_t t = 0; t < one.ids.size(); ++t) {
    inside = inside || one.special[t] == 0;
    if (one.special[t] != 0) (inside ? ends.back : ends.front).push_back(one.ids[t]);
  }
  return ends;
}

int64_t RowStream::special(int64_t max_length) const {
  const int64_t added = tokenizer_.special_tokens_added(pair_);
  return max_length == 0 || added < max_length ? added : -1;
}

void RowStream::find_empty(const text::PackedIds& packed, int64_t special, const char* what) {
  for (int64_t row = 0; row < packed.count(); ++row)
    if (static_cast<int64_t>(packed.text(row).size()) <= special) {
      empty_.add(chunk_.lines[row], str("the ", what, " has no tokens"),
                 str("remove rows without ", what));
      lacking_[static_cast<size_t>(row)] = true;
    }
}

text::PackedIds RowStream::encode(std::span<const std::string_view> first,
                                  std::span<const std::string_view> second, int64_t max_length,
                                  bool special) const {
  text::EncodeOptions how;
  how.max_length = max_length;
  how.add_special_tokens = special;
  try {
    return text::encode_all(tokenizer_, first, second, how, threads_);
  } catch (const Error&) {
    find_refused(first, second, how);
    throw;
  }
}

void RowStream::find_refused(std::span<const std::string_view> first,
                             std::span<const std::string_view> second,
                             const text::EncodeOptions& how) const {
  text::Encoding encoding;
  for (size_t row = 0; row < first.size(); ++row) {
    std::optional<std::string_view> other;
    if (!second.empty()) other = second[row];
    try {
      tokenizer_.encode(first[row], other, how, encoding);
    } catch (const Error& error) {
      throw Error(error.kind(), error.message(), source_.place(chunk_.lines[row]), error.hint());
    }
  }
}

void RowStream::raise() const {
  if (poor_ > 0)
    log::info(str(source_.file().string(), ": ", with_commas(poor_),
                  " rows are left out by min_length and max_unknown"));
  if (skips_bad_) {
    unusable_.warn(source_, rows_);
    empty_.warn(source_, rows_);
    if (rows_ > 0 && unusable_.count() + empty_.count() + skipped_ == rows_)
      throw Error(ErrorKind::data, str("none of ", with_commas(rows_), " rows can be used"),
                  source_.file().string(), "the warnings above name the first of them");
  } else {
    unusable_.raise(source_, rows_);
  }
  const Format format = format_of(options_, source_.file());
  const bool delimited = format == Format::tsv || format == Format::csv;
  if (rows_ == 0)
    throw Error(ErrorKind::data, "the data file has no rows", source_.file().string(),
                delimited && header_
                    ? "its first row was read as the header; `header: false` if it is data"
                    : "");
  if (!skips_bad_) empty_.raise(source_, rows_);
  if (rows_ == dropped_)
    throw Error(ErrorKind::data, str("none of ", with_commas(rows_), " rows has a text"),
                source_.file().string());
  if (poor_ > 0 && poor_ + dropped_ >= rows_ && !left_any_)
    throw Error(ErrorKind::data, "min_length and max_unknown leave no row", source_.file().string(),
                "lower min_length, or raise max_unknown");
  if (skipped_ == rows_) every_row_skipped(source_, rows_);
}

}  // namespace compress::data
