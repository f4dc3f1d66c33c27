// Rows of a split as a batch.

#include "pack.h"

#include <algorithm>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/compose.h"
#include "compress/data/mixture.h"
#include "compress/data/task.h"

namespace compress::data {

namespace {

// Which tokens of a row: all, or of a sequence-to-sequence split one of its texts.
enum class Side { all, source, target };

// A row of a batch and where it is read from: a split that is no mixture.
struct Place {
  const Split* split;
  int64_t row;         // of that split
  int64_t id;          // of the split that is packed
  int64_t source = 0;  // of a mixture
};

Place place_of(const Split& split, int64_t row) {
  if (row < 0 || row >= split.rows())
    throw Error(ErrorKind::internal, str("row ", row, " of a split with ", split.rows(), " rows"));
  if (split.mixture == nullptr) return {&split, row, row};
  const Mixture::Place at = split.mixture->at(row);
  return {split.mixture->sources[at.source].split, at.row, row, static_cast<int64_t>(at.source)};
}

std::vector<Place> places_of(const Split& split, std::span<const int64_t> rows) {
  std::vector<Place> places;
  places.reserve(rows.size());
  for (int64_t row : rows) places.push_back(place_of(split, row));
  return places;
}

// Tokens of a split that become a row of a batch, or with those behind them; the first `first` of
// the row have segment 0.
struct Run {
  const Split* split;
  const int32_t* ids;
  int64_t length, first;
  bool ends = true;  // the row
};

Run run_of(const Split& split, int64_t row, int64_t text, Side side) {
  const int64_t begin = split.offsets[text], length = split.offsets[text + 1] - begin,
                first = split.first_lengths[text];
  if (length < 0 || split.offsets[text + 1] > static_cast<int64_t>(split.ids.size()) ||
      (side != Side::all && (first < 0 || first > length)))
    throw Error(ErrorKind::internal, str("the offsets of row ", row, " lie outside its split"));
  const int32_t* ids = split.ids.data() + begin;
  if (side == Side::source) return {&split, ids, first, first};
  if (side == Side::target) return {&split, ids + first, length - first, length - first};
  if (split.answers) return {&split, ids, length, length};  // one text for the model
  return {&split, ids, length, first};
}

// A row that is made of others: one text for the model.
void add_composed(const Split& split, int64_t row, uint64_t draw, std::vector<Run>& runs) {
  for (const std::span<const int32_t> ids : split.composer->compose(split, row, draw))
    runs.push_back({&split, ids.data(), static_cast<int64_t>(ids.size()),
                    std::numeric_limits<int64_t>::max(), false});
  runs.back().ends = true;
}

// Lays the rows' offsets out.
void lay_out(const std::vector<Run>& runs, Batch& batch) {
  batch.row_offsets.reserve(runs.size() + 1);
  batch.row_offsets.push_back(0);
  int64_t length = 0;
  for (const Run& run : runs) {
    length += run.length;
    if (!run.ends) continue;
    batch.longest = std::max(batch.longest, length);
    batch.row_offsets.push_back(batch.row_offsets.back() + length);
    length = 0;
  }
}

// The tokens of a mapped split are held below the vocabulary: an embedding reads where they say.
void fill_tokens(const std::vector<Run>& runs, Batch& batch) {
  auto* ids = batch.token_ids.data_ptr<int64_t>();
  auto* segments = batch.segment_ids.data_ptr<int64_t>();
  auto* positions = batch.positions.data_ptr<int64_t>();
  auto* slots = batch.slots.data_ptr<int64_t>();
  std::copy(batch.row_offsets.begin(), batch.row_offsets.end(), batch.offsets.data_ptr<int64_t>());
  int64_t slot = 0, begin = 0;  // of the row; of the run in it
  for (const Run& run : runs) {
    const Split& split = *run.split;
    uint32_t highest = 0;
    for (int64_t i = 0; i < run.length; ++i) {
      highest = std::max(highest, static_cast<uint32_t>(run.ids[i]));
      *ids++ = run.ids[i];
      *segments++ = begin + i >= run.first;
      *positions++ = begin + i;
      *slots++ = slot + begin + i;
    }
    begin = run.ends ? 0 : begin + run.length;
    if (run.ends) slot += batch.longest;
    if (split.vocabulary > 0 && highest >= split.vocabulary)
      throw Error(ErrorKind::data, "tokenised rows are damaged: a token outside the vocabulary",
                  split.cache.string(), "delete the file, and it is made again");
  }
}

// The rows as one side of the split has them, without targets.
Batch tokens_of(const Split& split, const std::vector<Place>& places, Side side, uint64_t draw,
                const torch::TensorOptions& longs) {
  Batch batch;
  std::vector<Run> runs;
  batch.choices = split.choices;
  batch.example_ids.reserve(places.size() * static_cast<size_t>(split.choices));
  runs.reserve(places.size() * static_cast<size_t>(split.choices));
  for (const auto& [from, row, id, source] : places)
    for (int64_t text = row * split.choices; text < (row + 1) * split.choices; ++text) {
      if (from->composer != nullptr)
        add_composed(*from, row, draw, runs);
      else
        runs.push_back(run_of(*from, row, text, side));
      batch.example_ids.push_back(id);
    }
  lay_out(runs, batch);
  const int64_t tokens = batch.tokens();
  batch.token_ids = torch::empty({tokens}, longs);
  batch.segment_ids = torch::empty({tokens}, longs);
  batch.positions = torch::empty({tokens}, longs);
  batch.slots = torch::empty({tokens}, longs);
  batch.offsets = torch::empty({batch.rows() + 1}, longs);
  fill_tokens(runs, batch);
  return batch;
}

// All rows of a batch have the same kind of targets (mix() sees to it).
void fill_targets(const Split& split, const std::vector<Place>& places,
                  const torch::TensorOptions& floats, Targets& targets) {
  auto count = static_cast<int64_t>(places.size()),
       classes = static_cast<int64_t>(split.labels.size());
  const Split& first = split.mixture != nullptr ? *split.mixture->sources[0].split : split;
  if (!first.values.empty()) {
    targets.values = torch::empty({count}, floats);
    auto* out = targets.values.data_ptr<float>();
    for (const Place& place : places) *out++ = place.split->values[place.row * split.choices];
  }
  // The classes of answers are told by their tokens.
  if ((first.classes.empty() && first.soft.empty()) || reads_on(first.task)) return;
  targets.distribution = torch::empty({count, classes}, floats);
  auto* out = targets.distribution.data_ptr<float>();
  for (const Place& place : places) {
    if (!place.split->soft.empty()) {
      std::copy_n(place.split->soft.data() + place.row * classes, classes, out);
    } else {
      std::fill_n(out, classes, 0.f);
      out[place.split->classes[place.row * split.choices]] = 1;
    }
    out += classes;
  }
}

// What rows of any task may have. In a mixture, a source without weights weighs 1; groups are those
// of all sources or of none.
void fill_columns(const Split& split, const std::vector<Place>& places,
                  const torch::TensorOptions& floats, Batch& batch) {
  const auto longs = floats.dtype(torch::kInt64);
  const auto count = static_cast<int64_t>(places.size());
  bool weights = !split.weights.empty(), groups = !split.groups.empty();
  if (split.mixture != nullptr) {
    const auto& sources = split.mixture->sources;
    weights = std::any_of(sources.begin(), sources.end(),
                          [](const auto& source) { return !source.split->weights.empty(); });
    groups = std::all_of(sources.begin(), sources.end(),
                         [](const auto& source) { return !source.split->groups.empty(); });
    batch.sources = torch::empty({count}, longs);
    auto* out = batch.sources.data_ptr<int64_t>();
    for (const Place& place : places) *out++ = place.source;
  }
  if (weights) {
    batch.targets.weights = torch::empty({count}, floats);
    auto* out = batch.targets.weights.data_ptr<float>();
    for (const Place& place : places)
      *out++ = place.split->weights.empty() ? 1.f : place.split->weights[place.row * split.choices];
  }
  if (!groups) return;
  batch.targets.groups = torch::empty({count}, longs);
  auto* out = batch.targets.groups.data_ptr<int64_t>();
  for (const Place& place : places) *out++ = place.split->groups[place.row * split.choices];
}

// Lists the tokens with a label.
void list_labelled(const torch::TensorOptions& longs, Targets& targets) {
  const auto* label = targets.token_labels.const_data_ptr<int64_t>();
  for (int64_t t = 0; t < targets.token_labels.size(0); ++t)
    if (label[t] != -100) targets.labelled.push_back(t);
  targets.token_index = torch::empty({static_cast<int64_t>(targets.labelled.size())}, longs);
  std::copy(targets.labelled.begin(), targets.labelled.end(),
            targets.token_index.data_ptr<int64_t>());
}

// Each token's label is the next one of its row.
void label_next_tokens(const torch::TensorOptions& longs, Batch& batch) {
  torch::Tensor labels = torch::empty({batch.tokens()}, longs);
  const auto* id = batch.token_ids.const_data_ptr<int64_t>();
  auto* label = labels.data_ptr<int64_t>();
  for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row) {
    const int64_t begin = batch.row_offsets[row], end = batch.row_offsets[row + 1];
    if (begin == end) continue;
    std::copy(id + begin + 1, id + end, label + begin);
    label[end - 1] = -100;
  }
  batch.targets.token_labels = labels;
  list_labelled(longs, batch.targets);
}

// Of the tokens with a label those whose label, the token behind them, is of the row's target.
void mark_answers(const std::vector<Place>& places, const torch::TensorOptions& floats,
                  Batch& batch) {
  TokenMark mark{answer_mark,
                 torch::zeros({static_cast<int64_t>(batch.targets.labelled.size())}, floats), 0};
  auto* among = mark.among.data_ptr<float>();
  size_t label = 0;
  for (size_t row = 0; row < places.size(); ++row) {
    const Split& split = *places[row].split;
    // The target ends the row, whatever stands in front of it.
    const int64_t target =
        split.answers ? split.length(places[row].row) - split.first_lengths[places[row].row] : 0;
    const int64_t first = batch.row_offsets[row + 1] - batch.row_offsets[row] - target;
    for (; label < batch.targets.labelled.size() &&
           batch.targets.labelled[label] < batch.row_offsets[row + 1];
         ++label) {
      if (batch.targets.labelled[label] + 1 - batch.row_offsets[row] < first) continue;
      among[label] = 1;
      ++mark.update;
    }
  }
  batch.targets.marks.push_back(std::move(mark));
}

// The classes of words, at the words' first tokens.
void label_words(const std::vector<Place>& places, const torch::TensorOptions& longs,
                 Batch& batch) {
  torch::Tensor labels = torch::empty({batch.tokens()}, longs);
  auto* out = labels.data_ptr<int64_t>();
  for (const Place& place : places) {
    const Split& split = *place.split;
    out = std::copy(split.token_classes.begin() + split.offsets[place.row],
                    split.token_classes.begin() + split.offsets[place.row + 1], out);
  }
  batch.targets.token_labels = labels;
  list_labelled(longs, batch.targets);
}

void fill_spans(const std::vector<Place>& places, const torch::TensorOptions& longs,
                Targets& targets) {
  targets.spans = torch::empty({static_cast<int64_t>(places.size()), 2}, longs);
  auto* out = targets.spans.data_ptr<int64_t>();
  for (const Place& place : places) {
    *out++ = place.split->spans[2 * place.row];
    *out++ = place.split->spans[2 * place.row + 1];
  }
}

}  // namespace

bool has_answers(const Split& split) {
  if (split.mixture == nullptr) return split.answers;
  const auto& sources = split.mixture->sources;
  return std::any_of(sources.begin(), sources.end(),
                     [](const auto& source) { return source.split->answers; });
}

int64_t answer_tokens(const Split& split, int64_t row, uint64_t draw) {
  const Place place = place_of(split, row);
  if (!place.split->answers) return 0;
  const int64_t target = split.length(row) - place.split->first_lengths[place.row];
  return std::min(target, packed_length(split, row, draw) - 1);
}

int64_t source_tokens(const Split& split, int64_t row, uint64_t draw) {
  const Place place = place_of(split, row);
  return split.task == Task::sequence_to_sequence ? place.split->first_lengths[place.row]
                                                  : packed_length(split, row, draw);
}

int64_t packed_length(const Split& split, int64_t row, uint64_t draw) {
  const Place place = place_of(split, row);
  if (place.split->composer == nullptr) return split.length(row);
  int64_t length = 0;
  for (const std::span<const int32_t> ids :
       place.split->composer->compose(*place.split, place.row, draw))
    length += static_cast<int64_t>(ids.size());
  return length;
}

int64_t labelled_tokens(const Split& split, int64_t row, uint64_t draw) {
  if (split.mixture != nullptr) {
    const Mixture::Place at = split.mixture->at(row);
    return labelled_tokens(*split.mixture->sources[at.source].split, at.row, draw);
  }
  const int64_t begin = split.offsets[row], end = split.offsets[row + 1];
  if (reads_on(split.task)) return std::max<int64_t>(0, packed_length(split, row, draw) - 1);
  if (split.task == Task::sequence_to_sequence) return end - begin - split.first_lengths[row];
  if (split.token_classes.empty()) return -1;
  return std::count_if(split.token_classes.begin() + begin, split.token_classes.begin() + end,
                       [](int32_t label) { return label != -100; });
}

void check_longest(const Split& split, int64_t tokens) {
  if (split.mixture != nullptr) {
    for (const Mixture::Source& source : split.mixture->sources)
      check_longest(*source.split, tokens);
    return;
  }
  if (split.composer != nullptr && split.composer->most_tokens() > tokens)
    throw Error(ErrorKind::data,
                str("rows are made of others up to ", split.composer->most_tokens(),
                    " tokens, and the model has places for ", tokens),
                split.file.string(), str("set max_length: ", tokens, " in `compose`, or less"));
  const bool writes = split.task == Task::sequence_to_sequence;
  for (int64_t text = 0; text < split.texts(); ++text) {
    const int64_t all = split.offsets[text + 1] - split.offsets[text];
    const int64_t first = writes ? split.first_lengths[text] : all;
    const bool target = first <= tokens;
    if (target && all - first <= tokens) continue;
    throw Error(ErrorKind::data,
                str("a text of ", target ? all - first : first,
                    " tokens, and the model has places for ", tokens),
                split.place(text / split.choices),
                str("set ", target ? "max_target_length" : "max_length", ": ", tokens,
                    " on the data set, or less"));
  }
}

Batch pack(const Split& split, std::span<const int64_t> rows, bool pin, uint64_t draw) {
  const bool pinned = pin && torch::cuda::is_available();
  const auto floats = torch::TensorOptions().dtype(torch::kFloat32).pinned_memory(pinned);
  const auto longs = floats.dtype(torch::kInt64);
  const bool writes = split.task == Task::sequence_to_sequence;
  const std::vector<Place> places = places_of(split, rows);
  Batch batch = tokens_of(split, places, writes ? Side::source : Side::all, draw, longs);
  fill_targets(split, places, floats, batch.targets);
  fill_columns(split, places, floats, batch);
  if (reads_on(split.task)) label_next_tokens(longs, batch);
  if (has_answers(split)) mark_answers(places, floats, batch);
  const Split& first = split.mixture != nullptr ? *split.mixture->sources[0].split : split;
  if (!first.token_classes.empty()) label_words(places, longs, batch);
  if (!first.spans.empty()) fill_spans(places, longs, batch.targets);
  if (writes) {
    batch.decoder =
        std::make_shared<const Batch>(tokens_of(split, places, Side::target, draw, longs));
    batch.targets.token_labels = batch.decoder->token_ids;
    list_labelled(longs, batch.targets);
  }
  return batch;
}

}  // namespace compress::data
