#pragma once
// Integer arithmetic of weights, the same in training and in export. As in compressed-tensors for
// symmetric 8-bit integers, all in float32:
//   scale = max |w| / 127.5, or 2^-23 where that is 0
//   q     = round_half_even(clamp(w / scale, -128, 127))
// Zeros stay zeros. A fake-quantised weight is q * scale; its zeros are +0, whatever the sign of w.

#include "compress/data/torch.h"

#include <string>

namespace compress::constraint {

enum class Granularity { channel, tensor };
// "channel", "tensor"; anything else is an Error{model}.
Granularity parse_granularity(const std::string& name);

struct QuantizedWeight {
  torch::Tensor values;  // int8, the weight's shape
  torch::Tensor scale;   // float32, [out, 1] (channel) or [1] (tensor)
};

// Quantises a float32 weight [out, in]; the result is on the CPU. Error{diverged} when it holds a
// value that is not finite.
QuantizedWeight quantize_weight(const torch::Tensor& weight, Granularity granularity);
// q * scale, float32. Equal, bit for bit, to what fake_quantize_weight makes of the same weight.
torch::Tensor dequantize_weight(const QuantizedWeight& quantized);
// Replaces a float32 weight [out, in] by its fake-quantised values, in place. Not idempotent: the
// largest magnitude becomes at most 127 or 128 steps, not 127.5. Rows with a value that is not
// finite become NaN. Returns the scale, as in QuantizedWeight, on the weight's device.
torch::Tensor fake_quantize_weight(torch::Tensor& weight, Granularity granularity);

// The largest magnitudes of a weight [out, in]: [out, 1] (channel) or [1] (tensor), on its device.
torch::Tensor largest_magnitudes(const torch::Tensor& weight, Granularity granularity);
// The scales that belong to them.
torch::Tensor scale_of_largest(const torch::Tensor& most);
// As fake_quantize_weight() with scales that are given, on the weight's device; returns them.
torch::Tensor fake_quantize_weight(torch::Tensor& weight, const torch::Tensor& scale);

// How the rows of an embedding are rounded, each by itself, so that rows that are read alone and
// the whole table get the same bits. int8: a scale a row, as above. int4: a scale for every `group`
// values of a row,
//   scale = max |x| / 7.5, or 2^-23 where that is 0;  q = round_half_even(clamp(x / scale, -8, 7))
struct RowGrid {
  int64_t bits = 8;   // 8 or 4
  int64_t group = 0;  // of int4; divides the width
};
// Replaces float32 rows [n, width] by their fake-quantised values, in place. Error{internal} where
// the group does not divide the width.
void fake_quantize_table(torch::Tensor& rows, const RowGrid& grid);
// The integers (int8, also of int4) and their scales: [rows, 1], or [rows, width / group]. Error as
// of quantize_weight.
QuantizedWeight quantize_table(const torch::Tensor& table, const RowGrid& grid);

}  // namespace compress::constraint
