#pragma once
// Several data sets as one row space, for training: row numbers run through the sources one after
// the other, so that one number still names one row, and an epoch holds of each source as many rows
// as its share says.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// How much of each source an epoch has. The share of source m, of e_m rows, is proportional to
//   weight_m * min(e_m, cap) ^ (1 / temperature)
// (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2: temperature 1 mixes in proportion to the
// examples, with `cap` the limit K; a large temperature mixes equally). Without a temperature and a
// cap, sizes do not count: the weights alone say.
struct MixtureShares {
  std::vector<double> weights;  // one a source, above 0
  std::optional<double> temperature;
  std::optional<int64_t> cap;
  std::optional<int64_t> epoch;  // rows of an epoch; default: those of all sources together
};

// Rows of each source in an epoch, of together `epoch`: the shares, rounded down, and the rows that
// are missing to those with the largest remainders (the earlier source where they are equal).
// Error{recipe} naming the source that would have none.
std::vector<int64_t> mixed_counts(const std::vector<std::string>& names,
                                  const std::vector<int64_t>& sizes, const MixtureShares& shares);

struct Mixture {
  struct Source {
    std::string name;
    const Split* split = nullptr;  // outlives the mixture
    int64_t first = 0;             // the number of its first row
    int64_t epoch_rows = 0;
  };
  struct Place {
    size_t source = 0;
    int64_t row = 0;  // of the source
  };
  std::vector<Source> sources;
  int64_t rows = 0;  // of all sources
  Place at(int64_t row) const;
};

// A training split that draws from others. They must have one task, the same class names in the
// same order, and as many choices: Error{recipe} naming the two that differ. Whatever reads the
// split by its offsets, its methods, by pack() or by a Loader sees the row space; its other arrays
// are empty.
Split mix(std::vector<Mixture::Source> sources, const MixtureShares& shares);

// The rows of an epoch, source by source. A source's rows are dealt out pass by pass, each pass in
// an order of its own, and an epoch goes on where the one before it stopped: until all rows were
// seen once none is seen twice. A pure function of (seed, epoch), from the stream "mixture";
// without `shuffle` in the order of the files.
std::vector<uint32_t> mixed_rows(const Mixture& mixture, uint64_t seed, bool shuffle,
                                 int64_t epoch);

}  // namespace compress::data
