#include "compress/checkpoint/int4.h"

namespace compress::checkpoint {

torch::Tensor pack_int4(const torch::Tensor& values) {
  const torch::Tensor from = values.detach().cpu().contiguous();
  const int64_t rows = from.size(0), width = from.size(1), words = (width + 7) / 8;
  torch::Tensor packed = torch::zeros({rows, words}, torch::kInt32);
  const int8_t* value = from.const_data_ptr<int8_t>();
  int32_t* word = packed.mutable_data_ptr<int32_t>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const auto bits = static_cast<uint32_t>(value[r * width + i] + 8) & 15u;
      int32_t& target = word[r * words + i / 8];
      target = static_cast<int32_t>(static_cast<uint32_t>(target) | bits << (4 * (i % 8)));
    }
  return packed;
}

torch::Tensor unpack_int4(const torch::Tensor& words, int64_t width) {
  const torch::Tensor from = words.contiguous();
  const int64_t rows = from.size(0), count = from.size(1);
  torch::Tensor values = torch::empty({rows, width}, torch::kInt8);
  const int32_t* word = from.const_data_ptr<int32_t>();
  int8_t* value = values.mutable_data_ptr<int8_t>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const auto bits = static_cast<uint32_t>(word[r * count + i / 8]) >> (4 * (i % 8)) & 15u;
      value[r * width + i] = static_cast<int8_t>(static_cast<int32_t>(bits) - 8);
    }
  return values;
}

}  // namespace compress::checkpoint
