// How matrices without their zeros are laid out.

#include <algorithm>

#include "products/sparse.h"

namespace compress::nn::sparse {

namespace {

// The layout of a matrix whose entries are `together` inputs. `copy` is called for one after the
// other, with its values or null for one that pads.
template <class T, class Copy>
void lay_out(Matrix& matrix, const T* values, int64_t together, const Copy& copy) {
  const int64_t here = span(matrix.kind), entries = matrix.inputs / together;
  const int64_t all_panels = (matrix.outputs + width - 1) / width;
  matrix.spans = std::max<int64_t>(1, (entries + here - 1) / here);
  int64_t step = 0;
  std::vector<uint16_t> found[width];
  for (int64_t panel = 0; panel < all_panels; ++panel)
    for (int64_t part = 0; part < matrix.spans; ++part) {
      const int64_t begin = part * here, end = std::min(entries, begin + here);
      Section section{};
      section.first = step;
      for (int64_t o = 0; o < width; ++o) {
        section.outputs[o] = static_cast<uint8_t>(o);
        found[o].clear();
        if (panel * width + o >= matrix.outputs) continue;
        const T* row = values + (panel * width + o) * matrix.inputs;
        for (int64_t e = begin; e < end; ++e)
          if (std::any_of(row + e * together, row + (e + 1) * together,
                          [](T value) { return value != T(0); }))
            found[o].push_back(static_cast<uint16_t>(e - begin));
      }
      std::stable_sort(section.outputs, section.outputs + width,
                       [&](uint8_t a, uint8_t b) { return found[a].size() > found[b].size(); });
      for (int64_t g = 0; g < groups; ++g) {
        const uint8_t* outputs = section.outputs + g * side;
        const auto steps = static_cast<int64_t>(found[outputs[0]].size());
        section.steps[g] = static_cast<uint32_t>(steps);
        matrix.places.resize(static_cast<size_t>((step + steps) * side), 0);
        for (int64_t s = 0; s < steps; ++s)
          for (int64_t o = 0; o < side; ++o) {
            const std::vector<uint16_t>& mine = found[outputs[o]];
            const bool there = s < static_cast<int64_t>(mine.size());
            const auto at = (step + s) * side + o;
            if (there) matrix.places[static_cast<size_t>(at)] = mine[static_cast<size_t>(s)];
            copy(there ? values + (panel * width + outputs[o]) * matrix.inputs +
                             (begin + mine[static_cast<size_t>(s)]) * together
                       : nullptr);
          }
        step += steps;
      }
      matrix.sections.push_back(section);
    }
}

}  // namespace

int64_t span(Kind kind) {
  switch (kind) {
    case Kind::floats:
      return 768;
    case Kind::bytes:
      return 1536 / block;
    default:
      return 768 / block;
  }
}

Matrix from_floats(const float* values, int64_t outputs, int64_t inputs) {
  Matrix matrix{Kind::floats, outputs, inputs, 0, {}, {}, {}, {}, {}};
  lay_out(matrix, values, 1,
          [&](const float* entry) { matrix.floats.push_back(entry != nullptr ? *entry : 0.0f); });
  return matrix;
}

Matrix from_integers(const int8_t* values, int64_t outputs, int64_t inputs, Kind kind) {
  Matrix matrix{kind, outputs, inputs, 0, {}, {}, {}, {}, {}};
  lay_out(matrix, values, block, [&](const int8_t* entry) {
    for (int64_t i = 0; i < block; ++i) {
      const int8_t value = entry != nullptr ? entry[i] : int8_t{0};
      if (kind == Kind::bytes)
        matrix.bytes.push_back(value);
      else
        matrix.words.push_back(value);
    }
  });
  return matrix;
}

double density(const Matrix& matrix) {
  const int64_t entries =
      matrix.outputs * matrix.inputs / (matrix.kind == Kind::floats ? 1 : block);
  return static_cast<double>(matrix.places.size()) /
         static_cast<double>(std::max<int64_t>(1, entries));
}

}  // namespace compress::nn::sparse
