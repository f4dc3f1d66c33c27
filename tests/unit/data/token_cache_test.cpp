// load_split with a cache: the same rows, made once, and found again.

#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "compress/base/log.h"
#include "compress/data/loader.h"
#include "support.h"
#include "token_files.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// One token for every four bytes; counts the texts in memory that processes share.
class CountingTokenizer final : public text::Tokenizer {
 public:
  CountingTokenizer()
      : texts_(static_cast<std::atomic<int64_t>*>(::mmap(nullptr, sizeof(std::atomic<int64_t>),
                                                         PROT_READ | PROT_WRITE,
                                                         MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~CountingTokenizer() override { ::munmap(texts_, sizeof *texts_); }
  void encode(std::string_view text, std::optional<std::string_view>,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    ++*texts_;
    if (text.starts_with("refuse")) throw Error(ErrorKind::data, "refused by the tokenizer");
    out.ids.clear();
    for (size_t i = 0; i < text.size() && static_cast<int64_t>(out.ids.size()) < options.max_length;
         i += 4)
      out.ids.push_back(static_cast<unsigned char>(text[i]));
    out.first_length = static_cast<int64_t>(out.ids.size());
  }
  int64_t vocabulary_size() const override { return 256; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }
  int64_t texts() const { return *texts_; }

 private:
  std::atomic<int64_t>* texts_;
  text::SpecialIds ids_;
  std::string hash_ = "counting";
};

class TokenCache : public DataTest {
 protected:
  // The same data set with its cache in the test's folder.
  DatasetOptions cached(DatasetOptions options) const {
    options.cache = path("cache");
    return options;
  }
  DatasetOptions numbers(int64_t rows) const {
    std::string text = "text\tlabel\n";
    for (int64_t i = 0; i < rows; ++i) text += str("a number ", i, "\t", i % 2, "\n");
    return cached(dataset("numbers.tsv", text));
  }
  std::vector<std::filesystem::path> files(const std::string& extension) const {
    std::vector<std::filesystem::path> found;
    if (std::filesystem::exists(path("cache")))
      for (const auto& entry : std::filesystem::directory_iterator(path("cache")))
        if (entry.path().extension() == extension) found.push_back(entry.path());
    return found;
  }
  // Runs `body` in a process of its own; what it returns, at most 64 bytes.
  template <class Body>
  static std::string in_child(Body body) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    if (child == 0) {
      std::string text;
      try {
        text = body();
      } catch (const std::exception& error) {
        text = error.what();
      }
      text.resize(64, ' ');
      ::_exit(::write(ends[1], text.data(), text.size()) == 64 ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text(64, ' ');
    EXPECT_EQ(::read(ends[0], text.data(), text.size()), 64);
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return text;
  }
  std::string log_of(const std::function<void()>& body) {
    log::add_file(path("log"));
    body();
    log::close_file();
    return bytes_of(path("log"));
  }
};

TEST_F(TokenCache, SameBatchesWithAndWithout) {
  auto tsv = dataset("a.tsv", "text\tlabel\tother\nA b\t1\tc\n\nd e f\t0\tg h\ni\t1\tj\n");
  auto pairs = tsv, few = tsv, scores = tsv, plain = tsv, soft = tsv, csv = tsv, json = tsv;
  pairs.pair = "other";
  few.limit = 2;
  scores.task = "regression";
  plain.task = "unlabelled";
  plain.label.clear();
  soft.train = write("s.tsv", "text\tno\tyes\na b\t0.25\t0.75\nc\t1\t0\n");
  soft.label.clear();
  soft.soft_labels = {"no", "yes"};
  csv.train = write("a.csv", "text,label\n\"two\nlines, \"\"quoted\"\"\",0\nplain,1\n");
  json.train = write("a.jsonl",
                     "{\"text\": \"a \\u00e4\", \"label\": true}\n{\"label\": false,"
                     " \"text\": \"b\"}\n");
  for (const auto& options : {tsv, pairs, few, scores, plain, soft, csv, json}) {
    const Split memory = load(options), mapped = load(cached(options)),
                again = load(cached(options));
    EXPECT_TRUE(memory.cache.empty());
    EXPECT_FALSE(memory.ids.is_view());
    EXPECT_TRUE(mapped.ids.is_view() && again.ids.is_view());
    EXPECT_TRUE(same_rows(memory, mapped));
    EXPECT_TRUE(same_rows(memory, again));
    EXPECT_EQ(mapped.labels, memory.labels);
    EXPECT_EQ(mapped.place(0), memory.place(0));
    Loader one(memory, {.batch = 2, .seed = 3}, 0), two(again, {.batch = 2, .seed = 3}, 0);
    for (int step = 0; step < 5; ++step) {
      Batch a = one.next(), b = two.next();
      EXPECT_EQ(a.example_ids, b.example_ids);
      EXPECT_TRUE(torch::equal(a.token_ids, b.token_ids));
      EXPECT_TRUE(torch::equal(a.segment_ids, b.segment_ids));
      ASSERT_EQ(a.targets.distribution.defined(), b.targets.distribution.defined());
      if (a.targets.distribution.defined()) {
        EXPECT_TRUE(torch::equal(a.targets.distribution, b.targets.distribution));
      }
    }
  }
  EXPECT_EQ(files(".tokens").size(), 8u);
}

TEST_F(TokenCache, ManyChunksAreOneSplit) {
  // More rows than a chunk has.
  auto options = numbers(150'000);
  CountingTokenizer tokenizer;
  const Split mapped = load_split(options, "train", tokenizer);
  options.cache = "off";
  const Split memory = load_split(options, "train", tokenizer, {}, 3);
  EXPECT_EQ(mapped.rows(), 150'000);
  EXPECT_TRUE(same_rows(memory, mapped));
  EXPECT_EQ(mapped.place(149'999), options.train.file + ":150001");
}

TEST_F(TokenCache, EachThingThatDecidesTheTokensHasItsFile) {
  auto base = cached(dataset("a.tsv", "text\tlabel\tp\na\t1\tx\nb\t0\ty\n"));
  load(base);
  ASSERT_EQ(files(".tokens").size(), 1u);
  auto same = base;
  same.train = write("copy.tsv", "text\tlabel\tp\na\t1\tx\nb\t0\ty\n");
  same.validation = same.train;
  same.format = "tsv";
  same.quoting = false;
  load(same);
  load(same, "validation");
  load_split(base, "train", SpaceTokenizer(), {}, 7);
  EXPECT_EQ(files(".tokens").size(), 1u);

  std::vector<std::function<void(DatasetOptions&)>> changes{
      [&](auto& o) { o.train = write("b.tsv", "text\tlabel\tp\na\t1\tx\nc\t0\ty\n"); },
      [](auto& o) { o.text = "p"; },
      [](auto& o) { o.pair = "p"; },
      [](auto& o) { o.task = "regression"; },
      [](auto& o) {
        o.labels = {"1", "0"};
      },
      [](auto& o) { o.quoting = true; },
      [](auto& o) { o.max_length = 64; },
      [](auto& o) { o.limit = 1; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    auto changed = base;
    changes[i](changed);
    load(changed);
    EXPECT_EQ(files(".tokens").size(), i + 2);
  }
  load_split(base, "train", SpaceTokenizer(false));
  load_split(base, "train", SpaceTokenizer(), {"1", "0"});
  EXPECT_EQ(files(".tokens").size(), changes.size() + 3);
}

TEST_F(TokenCache, ADamagedFileIsMadeAgain) {
  const auto options = numbers(100);
  CountingTokenizer tokenizer;
  const Split first = load_split(options, "train", tokenizer);
  EXPECT_EQ(tokenizer.texts(), 100);
  load_split(options, "train", tokenizer);
  EXPECT_EQ(tokenizer.texts(), 100);
  const std::filesystem::path file = files(".tokens").at(0);
  const std::string good = bytes_of(file);
  int64_t made = 1;
  for (size_t length : {size_t{0}, size_t{10}, size_t{4096}, good.size() - 1, good.size()}) {
    std::string bad = good.substr(0, length);
    if (length == good.size()) bad[first_array + 5] ^= 1;
    std::filesystem::remove(file);  // `first` still shows the old one
    std::ofstream(file, std::ios::binary) << bad;
    std::string log =
        log_of([&] { EXPECT_TRUE(same_rows(load_split(options, "train", tokenizer), first)); });
    EXPECT_THAT(log, HasSubstr("is made again: the file of tokenised rows is damaged"));
    EXPECT_EQ(tokenizer.texts(), 100 * ++made);
    EXPECT_EQ(bytes_of(file), good);
  }
}

TEST_F(TokenCache, LeftoversOfADeadBuilderAreRemoved) {
  const auto options = numbers(10);
  load(options);
  const std::filesystem::path file = files(".tokens").at(0);
  const std::filesystem::path left =
      file.parent_path() / ("." + file.filename().string() + ".1234-0.tmp");
  std::filesystem::remove(file);
  std::ofstream(left) << "half";
  load(options);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_THAT(files(".tmp"), ElementsAre());
}

TEST_F(TokenCache, OfManyThreadsOneBuilds) {
  const auto options = numbers(20'000);
  CountingTokenizer tokenizer;
  std::vector<Split> splits(6);
  {
    std::vector<std::jthread> threads;
    for (Split& split : splits)
      threads.emplace_back([&] { split = load_split(options, "train", tokenizer, {}, 1); });
  }
  EXPECT_EQ(tokenizer.texts(), 20'000);
  for (const Split& split : splits) EXPECT_TRUE(same_rows(split, splits[0]));
}

TEST_F(TokenCache, OfManyProcessesOneBuilds) {
  const auto options = numbers(20'000);
  CountingTokenizer tokenizer;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    pid_t child = ::fork();
    if (child == 0) {
      int rc = 1;
      try {
        rc = load_split(options, "train", tokenizer, {}, 1).rows() == 20'000 ? 0 : 2;
      } catch (...) {
      }
      ::_exit(rc);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(tokenizer.texts(), 20'000);
}

TEST_F(TokenCache, BadRowsAreThoseOfTheWholeFile) {
  auto options = cached(dataset("a.tsv", "text\tlabel\nA b\t1\n\t0\nc\td\te\n   \t0\n"));
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { load_split(options, "train", SpaceTokenizer(false)); }),
      HasSubstr("1 of 4 rows cannot be used:\n    line 4: too many cells"));
  options.train = write("b.tsv", "text\tlabel\nA b\t1\n\t0\n   \t0\n");
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { load_split(options, "train", SpaceTokenizer(false)); }),
      HasSubstr("2 of 3 rows cannot be used:\n    line 3: the text has no tokens"));
  CountingTokenizer tokenizer;
  options.train = write("c.tsv", "text\tlabel\nA b\t1\nrefuse this\t0\n");
  for (const char* cache : {"off", "folder"}) {
    options.cache = cache == std::string("off") ? "off" : path("cache");
    EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "train", tokenizer); }),
                HasSubstr("c.tsv:3: refused by the tokenizer"));
  }
  EXPECT_THAT(files(".tokens"), ElementsAre());
  EXPECT_THAT(files(".tmp"), ElementsAre());
}

TEST_F(TokenCache, AnUnchangedFileIsNotHashedAgain) {
  const auto options = numbers(100);
  auto hash = [&] { return in_child([&] { return source_hash(options, "train"); }); };
  const std::string fresh = hash();
  EXPECT_THAT(files(".source"), ElementsAre());  // a change in the same moment would not show
  std::this_thread::sleep_for(std::chrono::milliseconds(3100));
  EXPECT_EQ(hash(), fresh);
  ASSERT_EQ(files(".source").size(), 1u);
  // The note is believed: with another hash in it, the identity is another.
  const std::filesystem::path note = files(".source")[0];
  const std::string good = bytes_of(note);
  std::string other = good;
  const size_t at = other.find(sha256(bytes_of(options.train.file)));
  ASSERT_NE(at, std::string::npos);
  other.replace(at, 64, sha256("other"));
  std::ofstream(note) << other;
  EXPECT_NE(hash(), fresh);
  std::ofstream(note) << good.substr(0, at + 63);
  EXPECT_EQ(hash(), fresh);
  // A file that was changed, whatever its times say, is hashed.
  std::ofstream(note) << other;
  const auto time = std::filesystem::last_write_time(options.train.file);
  std::string text = bytes_of(options.train.file);
  text[20] ^= 1;
  write("numbers.tsv", text);
  std::filesystem::last_write_time(options.train.file, time);
  const std::string changed = hash();
  EXPECT_NE(changed, fresh);
  auto elsewhere = options;
  elsewhere.cache = "off";
  EXPECT_EQ(changed, source_hash(elsewhere, "train"));
}

TEST_F(TokenCache, ClassNamesAreKept) {
  auto options = numbers(10);
  EXPECT_THAT(label_names(options), ElementsAre("0", "1"));
  ASSERT_EQ(files(".classes").size(), 1u);
  const std::filesystem::path note = files(".classes")[0];
  const std::string list = "[\"a\",\"b\"]";
  std::ofstream(note) << sha256(list) << "\n" << list;
  EXPECT_THAT(label_names(options), ElementsAre("a", "b"));
  for (const char* damaged : {"", "x", "[]"}) {
    std::ofstream(note) << damaged;
    EXPECT_THAT(label_names(options), ElementsAre("0", "1"));
  }
  options.label = "text";  // another column, another note
  EXPECT_EQ(label_names(options).size(), 10u);
}

TEST_F(TokenCache, AFolderThatCannotBe) {
  auto options = numbers(10);
  options.cache = "/proc/none/such";
  error_of(ErrorKind::disk, [&] { load(options); });
}

int64_t resident_bytes(const char* field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.starts_with(field)) return std::stoll(line.substr(line.find(':') + 1)) * 1024;
  return 0;
}

// The highest resident memory while `body` runs, beyond what it is before.
int64_t growth(const std::function<void()>& body) {
  const int64_t before = resident_bytes("VmRSS");
  std::atomic<int64_t> highest{before};
  std::atomic<bool> done{false};
  std::jthread watch([&] {
    while (!done) {
      highest = std::max(highest.load(), resident_bytes("VmRSS"));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  body();
  done = true;
  return highest - before;
}

TEST_F(TokenCache, MemoryIsThatOfAChunk) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  // 300,000 rows, 123 MB of text and as many bytes of tokens; a file that `auto` caches.
  DatasetOptions options;
  options.text = "text";
  options.task = "unlabelled";
  options.train = path("large.tsv");
  {
    std::ofstream out(options.train.file, std::ios::binary);
    out << "text\n";
    const std::string words(400, 'w');
    for (int64_t row = 0; row < 300'000; ++row) out << words << row % 1000 << "\n";
  }
  ::setenv("COMPRESS_CACHE", path("cache").c_str(), 1);
  CountingTokenizer tokenizer;
  Split split;
  const int64_t building = growth([&] { split = load_split(options, "train", tokenizer, {}, 2); });
  EXPECT_EQ(split.cache.parent_path(), path("cache/tokenised"));
  ASSERT_GT(std::filesystem::file_size(split.cache), 120'000'000u);
  EXPECT_LT(building, 90'000'000);
  split = {};
  const int64_t opening = growth([&] { split = load_split(options, "train", tokenizer, {}, 2); });
  EXPECT_LT(opening, 40'000'000);
  EXPECT_EQ(tokenizer.texts(), 300'000);
  // What does not fit its folder stays in memory.
  ::setenv("COMPRESS_CACHE", "/proc/none", 1);
  split = {};
  const int64_t in_memory = growth([&] { split = load_split(options, "train", tokenizer, {}, 2); });
  EXPECT_TRUE(split.cache.empty());
  EXPECT_GT(in_memory, 120'000'000);
  ::unsetenv("COMPRESS_CACHE");
  std::cout << "MB: building " << building / 1000000 << ", opening " << opening / 1000000
            << ", in memory " << in_memory / 1000000 << "\n";
}

}  // namespace
}  // namespace compress::data
