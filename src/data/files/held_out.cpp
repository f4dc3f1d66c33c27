// Domains that training does not see: of the test part nothing else is read.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/subset.h"

namespace compress::data {

namespace {

class HeldOut final : public Reader {
 public:
  // Column `domain` of the reader's says where a row is from; `extra`: nobody else asked for it.
  HeldOut(Source& source, const DatasetOptions& options, std::unique_ptr<Reader> reader,
          size_t domain, bool extra)
      : Reader(source),
        options_(*options.held_out),
        reader_(std::move(reader)),
        domain_(domain),
        extra_(extra) {
    follow();
  }

  bool next(Record& record) override {
    bool found = false;
    while ((found = reader_->next(record)) && record.problem.empty() && !wanted(record)) {
    }
    blank_lines_ = reader_->blank_lines();
    follow();
    if (!found) judge();
    if (found && extra_ && record.problem.empty()) record.cells.pop_back();
    return found;
  }

  bool seek(size_t left) override {
    if (!reader_->seek(left)) return false;
    left_ = source_.text();
    follow();
    return true;
  }

 private:
  void follow() {
    left_ = left_.substr(left_.size() - std::min(left_.size(), reader_->bytes_left()));
  }

  bool wanted(const Record& record) {
    const std::string_view domain = trim(record.cells[domain_]);
    const bool held = std::ranges::find(options_.values, domain) != options_.values.end();
    const bool taken = held == (options_.part == "test");
    (taken ? taken_ : left_out_) = true;
    if (!taken && other_.empty()) other_ = domain;
    return taken;
  }

  // A name that is misspelt would leave nothing, or hold nothing out.
  void judge() const {
    if (taken_ || !left_out_) return;
    const bool test = options_.part == "test";
    throw Error(ErrorKind::data,
                str("every row is of a domain that is ", test ? "not " : "", "held out"),
                source_.file().string(),
                test ? str("column ", cited(options_.column), " has ", cited(other_), ", say")
                     : "train on other domains, or hold out fewer");
  }

  const HeldOutOptions options_;
  std::unique_ptr<Reader> reader_;
  size_t domain_;
  bool extra_, taken_ = false, left_out_ = false;
  std::string other_;  // a domain that was left out
};

}  // namespace

std::unique_ptr<Reader> open_held_out(
    Source& source, const DatasetOptions& options, std::vector<Column> columns,
    const std::function<std::unique_ptr<Reader>(std::vector<Column>)>& open) {
  const std::string& wanted = options.held_out->column;
  const auto known = std::ranges::find(columns, wanted, &Column::name);
  const auto domain = static_cast<size_t>(known - columns.begin());
  const bool extra = known == columns.end();
  if (extra) columns.push_back({wanted, false});
  return std::make_unique<HeldOut>(source, options, open(std::move(columns)), domain, extra);
}

}  // namespace compress::data
