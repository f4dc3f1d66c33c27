// Files of torch.save that lie or that would run a program: each must end in Error{model} that
// names the file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/torch_file.h"
#include "unit/storage/hostile.h"
#include "unit/storage/torch_files.h"

namespace compress::storage {
namespace {

namespace fs = std::filesystem;
using namespace torch_files;

using Case = HostileCase;

const std::string tensor_data(24, 'd');  // six floats
constexpr int64_t most = std::numeric_limits<int64_t>::max();

std::string repeated(std::string_view piece, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += piece;
  return all;
}

// A file whose pickle is `body`, or that has one tensor so described.
std::string with(const std::string& body) {
  return zip_of(body, tensor_data);
}
std::string with_tensor(const std::string& value) {
  return with(dict({text("t"), value}));
}
std::string shaped(int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides, int64_t elements = 6) {
  return with_tensor(tensor(storage("0", elements), offset, shape, strides));
}
std::string archive(const std::vector<ZipFile>& more) {
  std::vector<ZipFile> files{{"m/data.pkl", pickle(dict({}))}};
  files.insert(files.end(), more.begin(), more.end());
  return zip(files);
}
// A good archive with `value` written over the bytes at `at`, counted from the end.
template <class T>
std::string patched(size_t back, T value) {
  std::string bytes = shaped(0, {6}, {1});
  return bytes.replace(bytes.size() - back, sizeof value, raw(value));
}

const std::string good = dict({text("t"), tensor(storage("0", 6), 0, {6}, {1})});

const Case pickles[] = {
    {"empty", with(""), "empty stack"},
    {"system", with(call(global("posix", "system"), {text("true")})), "'posix.system'"},
    {"stack_global", with("\x8c\x05posix\x8c\x06system\x93" + tuple({text("true")}) + "R"),
     "'posix.system'"},
    {"eval_inside", with_tensor(tuple({call(global("builtins", "eval"), {text("1")})})),
     "'builtins.eval'"},
    {"global_alone", with(dict({text("t"), global("os", "system")})), "'os.system'"},
    {"prefix_of_a_known_one", with(global("torch", "FloatStorageX")), "'torch.FloatStorageX'"},
    {"other_module", with(global("evil", "OrderedDict")), "'evil.OrderedDict'"},
    {"global_without_end", with("cposix"), "inside what starts"},
    {"instance", with("(iposix\nsystem\n"), "opcode 105"},
    {"object", with("(" + global("torch", "Size") + "o"), "opcode 111"},
    {"new_object", with(global("torch", "Size") + ")\x81"), "opcode 129"},
    {"extension", with("\x82\x01"), "opcode 130"},
    {"text_persistent_id", with("P0\n"), "opcode 80"},
    {"protocol_0", zip_of("", tensor_data).replace(30 + 10, 2, "(t"), "start with its protocol"},
    {"call_a_text", with(text("os") + ")R"), "no known function"},
    {"call_a_storage_type", with(global("torch", "FloatStorage") + ")R"), "calls a type"},
    {"state_of_a_text", with(text("x") + "}b"), "state of something else"},
    {"many_arguments",
     with(global("torch", "Size") + tuple(std::vector<std::string>(9, "N")) + "R"),
     "no known function"},
    {"deep_marks", with(repeated("(", 10'000'000)), "nested too deep"},
    {"deep_tuples", with(")" + repeated("\x85", 10'000'000)), "too many values"},
    {"many_values", with("]" + repeated("(NNNNNNNNNNe", 1'000'000)), "too many values"},
    {"full_stack", with("Nq\x01" + repeated("h\x01", 3'000'000)), "too many values"},
    // Each list holds the one before twice: 2^40 values if they were ever unfolded.
    {"laughs",
     with("]q\x01" +
          repeated("0](h\x01h\x01"
                   "eq\x01",
                   40) +
          "h\x01"),
     "leaves values"},
    {"contains_itself",
     with("]q\x01h\x01"
          "a"),
     "something else than a dictionary"},
    // A list of 2000 pairs that is made a dictionary 2000 times.
    {"pairs_again_and_again",
     with("](" + repeated("](NNe", 2000) + "eq\x01" +
          repeated("0" + global("collections", "OrderedDict") + "h\x01\x85R", 2000)),
     "too many values"},
    {"huge_text", with("X\xff\xff\xff\xff"), "inside what starts"},
    {"memo_far_away", with("Nr\xff\xff\xff\xff"), "remembers too many"},
    {"memo_unset", with("h\x07"), "never kept"},
    {"memo_of_nothing", with("q\x01"), "empty stack"},
    {"pop_below_mark", with("N(0"), "empty stack"},
    {"tuple_without_mark", with("Nt"), "mark that is not there"},
    {"odd_dictionary", with("}(" + text("k") + "u"), "key without a value"},
    {"append_to_dictionary", with("}Na"), "something else than a list"},
    {"set_in_list", with("]NNs"), "something else than a list"},
    {"left_over", with("N" + good), "leaves values"},
    {"no_stop", zip({{"m/data.pkl", "\x80\x02" + good}, {"m/data/0", tensor_data}}),
     "inside what starts"},
    {"a_tensor_alone", with(tensor(storage("0", 6), 0, {6}, {1})), "dictionary of tensors"},
    {"a_number_inside", with(dict({text("step"), integer(3)})), "else than a tensor"},
    {"a_dictionary_inside", with(dict({text("model"), good})), "else than a tensor"},
    {"number_as_name", with(dict({integer(3), tensor(storage("0", 6), 0, {6}, {1})})), "no text"},
    {"name_not_utf8", with(dict({text("\xff"), tensor(storage("0", 6), 0, {6}, {1})})), "no text"},
    {"name_twice",
     with(dict({text("t"), tensor(storage("0", 6), 0, {6}, {1}), text("t"),
                tensor(storage("0", 6), 0, {6}, {1})})),
     "there twice"},
};

const Case tensors[] = {
    {"past_end", shaped(0, {7}, {1}), "beyond its storage"},
    {"offset_past_end", shaped(1, {6}, {1}), "beyond its storage"},
    {"offset_far", shaped(most, {1}, {1}), "beyond its storage"},
    {"offset_negative", shaped(-1, {1}, {1}), "beyond its storage"},
    {"stride_past_end", shaped(0, {2, 2}, {5, 1}), "beyond its storage"},
    {"stride_negative", shaped(5, {6}, {-1}), "make no sense"},
    {"size_negative", shaped(0, {-1}, {1}), "make no sense"},
    {"strides_missing", shaped(0, {2, 3}, {1}), "make no sense"},
    {"too_many_dimensions", shaped(0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1)),
     "too many dimensions"},
    {"stride_overflow", shaped(0, {3}, {most}), "make no sense"},
    {"sum_overflow", shaped(0, {2, 2, 2}, {most / 2, most / 2, most / 2}), "make no sense"},
    {"product_overflow", shaped(0, {1 << 30, 1 << 30, 16}, {0, 0, 0}), "make no sense"},
    {"huge_repeated", shaped(0, {1 << 20, 1 << 20}, {0, 0}), "larger than the file"},
    {"often_repeated", with([] {
       std::string items = "}(";
       for (int i = 0; i < 100; ++i)
         items += text(std::to_string(i)) + tensor(storage("0", 6), 0, {1 << 18}, {0});
       return items + "u";
     }()),
     "larger than the file"},
    {"many_tensors",
     with("}" + storage("0", 6) + "q\x01" + "0" + global("torch._utils", "_rebuild_tensor") +
          "q\x02" + "0" + tuple({"h\x01", integer(0), numbers({6}), numbers({1})}) + "q\x03" + "0" +
          repeated("h\x02h\x03R0", 300'000)),
     "too many tensors"},
    {"storage_missing", with_tensor(tensor(storage("1", 6), 0, {6}, {1})), "no storage '1'"},
    {"storage_leads_out", with_tensor(tensor(storage("../data.pkl", 6), 0, {6}, {1})),
     "no storage '../data.pkl'"},
    {"storage_longer", shaped(0, {6}, {1}, 7), "another size"},
    {"storage_shorter", shaped(0, {5}, {1}, 5), "another size"},
    {"storage_negative", shaped(0, {6}, {1}, -6), "without a type or size"},
    {"storage_overflow", shaped(0, {6}, {1}, most), "impossible size"},
    {"storage_of_size", with_tensor(tensor(storage("0", 6, "Size"), 0, {6}, {1})),
     "without a type or size"},
    {"unknown_storage", with_tensor(tensor(storage("0", 6, "QInt8Storage"), 0, {6}, {1})),
     "'torch.QInt8Storage'"},
    {"complex", with_tensor(tensor(storage("0", 3, "ComplexFloatStorage"), 0, {3}, {1})),
     "'torch.ComplexFloatStorage'"},
    {"untyped_v2", with_tensor(tensor(storage("0", 24, "UntypedStorage"), 0, {6}, {1})),
     "without a type"},
    {"view_of_a_storage",
     with_tensor(
         tensor(tuple({text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"),
                       integer(6), tuple({text("v"), integer(0), integer(6)})}) +
                    "Q",
                0, {6}, {1})),
     "wrong argument 6"},
    {"module_as_id", with(tuple({text("module"), "N", "N", "N", "N"}) + "Q"), "no storage"},
    {"short_id", with(tuple({text("storage")}) + "Q"), "no storage"},
    {"number_as_storage", with_tensor(tensor(integer(3), 0, {6}, {1})), "wrong argument 1"},
    {"negated",
     with_tensor(call(global("torch._utils", "_rebuild_tensor_v2"),
                      {storage("0", 6), integer(0), numbers({6}), numbers({1}), "\x89",
                       ordered_dict(), dict({text("neg"), "\x88"})})),
     "properties that are not read"},
};

// An archive with 64-bit sizes, with `value` written at `back` bytes from its end.
std::string wide(size_t back, uint64_t value) {
  std::string bytes = zip({{"m/data.pkl", pickle(good)}, {"m/data/0", tensor_data}}, true);
  return bytes.replace(bytes.size() - back, 8, raw(value));
}

const Case archives[] = {
    {"nothing", "", "no file of torch.save"},
    {"text", "hello", "no file of torch.save"},
    {"start_alone", "PK\x03\x04", "too short"},
    {"no_end", shaped(0, {6}, {1}).substr(0, 200), "no end record"},
    {"bytes_after", shaped(0, {6}, {1}) + "x", "no end record"},
    {"no_pickle", zip({{"m/other", "x"}}), "no data.pkl"},
    {"two_pickles", archive({{"n/data.pkl", "x"}}), "two data.pkl"},
    {"entry_twice", archive({{"m/a", "x"}, {"m/a", "y"}}), "'m/a' twice"},
    {"two_names", archive({{"m/a", "x", 0, 0, "m/b"}}), "two different headers for 'm/b'"},
    {"compressed", archive({{"m/a", "x", 0, 8}}), "compressed entry 'm/a'"},
    {"encrypted", archive({{"m/a", "x", 1}}), "encrypted entry 'm/a'"},
    {"big_endian", archive({{"m/byteorder", "big"}}), "big-endian"},
    // Fields of the end record, counted from its end.
    {"directory_far", patched(6, uint32_t{0x7FFFFFFF}), "directory outside"},
    {"directory_early", patched(6, uint32_t{4}), "directory"},
    {"directory_long", patched(10, uint32_t{0x7FFFFFFF}), "directory outside"},
    {"directory_short", patched(10, uint32_t{46 * 3}), "inside what starts"},
    {"count_high", patched(14, uint32_t{0x00FF00FF}), "directory outside"},
    {"count_low", patched(14, uint32_t{0x00020002}), "another length"},
    {"counts_differ", patched(14, uint32_t{0x00020003}), "one part of several"},
    {"wide_record_far", wide(22 + 12, ~uint64_t{0}), "64-bit end record outside"},
    {"wide_record_elsewhere", wide(22 + 12, 0), "no 64-bit end record"},
    {"wide_directory_far", wide(22 + 20 + 8, ~uint64_t{0} - 5), "directory outside"},
    {"wide_directory_long", wide(22 + 20 + 16, ~uint64_t{0}), "directory outside"},
    {"wide_count", wide(22 + 20 + 24, 3), "two end records that differ"},
    // The last entry's extension: offset, packed size, size.
    {"wide_offset", wide(22 + 20 + 56 + 8, ~uint64_t{0}), "'m/data/0' outside"},
    {"wide_size", wide(22 + 20 + 56 + 16, ~uint64_t{0}), "two sizes"},
    {"wide_extension_missing", wide(22 + 20 + 56 + 28, 0), "lacks the 64-bit sizes"},
    {"other_disk", patched(18, uint32_t{0x00010001}), "one part of several"},
};

const Case legacy[] = {
    {"magic_alone", magic(), "inside what starts"},
    {"other_version",
     magic() + pickle(integer(1002)) + pickle(dict({})) + pickle(good) + pickle("]"),
     "unknown version"},
    {"big_endian", legacy_start("\x89") + pickle(good) + pickle("]"), "big-endian"},
    {"code", legacy_of(call(global("posix", "system"), {text("true")}), 6, tensor_data),
     "'posix.system'"},
    {"short_data", legacy_of(good, 6, tensor_data.substr(1)), "inside what starts"},
    {"long_data", legacy_of(good, 6, tensor_data + "x"), "1 bytes after"},
    {"other_count", legacy_of(good, 7, tensor_data + tensor_data), "two sizes"},
    {"huge_count", legacy_of(good, ~uint64_t{0}, tensor_data), "two sizes"},
    {"storage_not_listed", legacy_start() + pickle(good) + pickle("]"), "no storage '0'"},
    {"unknown_listed",
     legacy_start() + pickle(good) + pickle("](" + text("1") + "e") + raw(uint64_t{6}) +
         tensor_data,
     "wrong list of storages"},
    {"listed_twice",
     legacy_start() + pickle(good) + pickle("](" + text("0") + text("0") + "e") + raw(uint64_t{6}) +
         tensor_data + raw(uint64_t{6}) + tensor_data,
     "wrong list of storages"},
    {"past_end", legacy_of(dict({text("t"), tensor(storage("0", 6), 2, {5}, {1})}), 6, tensor_data),
     "beyond its storage"},
};

class TorchHostile : public testing::TestWithParam<Case> {};

TEST_P(TorchHostile, IsRefused) {
  fs::path file = fs::path(testing::TempDir()) /
                  ("compress_torch_" + std::to_string(::getpid()) + "_" + GetParam().name);
  write_file(file, GetParam().content);
  expect_refused<TorchReader>(file, GetParam().message, file);
  fs::remove(file);
}

auto case_name = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Pickle, TorchHostile, testing::ValuesIn(pickles), case_name);
INSTANTIATE_TEST_SUITE_P(Tensor, TorchHostile, testing::ValuesIn(tensors), case_name);
INSTANTIATE_TEST_SUITE_P(Zip, TorchHostile, testing::ValuesIn(archives), case_name);
INSTANTIATE_TEST_SUITE_P(Legacy, TorchHostile, testing::ValuesIn(legacy), case_name);

}  // namespace
}  // namespace compress::storage
