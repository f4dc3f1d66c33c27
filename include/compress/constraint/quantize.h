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

}  // namespace compress::constraint
