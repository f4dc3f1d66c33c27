#include "regex/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdexcept>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "unicode/char_table.h"
#include "unicode/transform.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

constexpr uint32_t match_limit = 1'000'000;  // steps of one search
constexpr uint32_t heap_limit = 64 << 10;    // KiB
constexpr uint32_t depth_limit = 100'000;
constexpr size_t stack_start = 32 << 10, stack_limit = 4 << 20;
constexpr size_t longest_pattern = 100'000;

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
using CodePointer = std::unique_ptr<pcre2_code, CodeDeleter>;

CodePointer compile(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE place = 0;
  CodePointer code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &place, nullptr));
  if (!code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof(message));
    throw std::invalid_argument(str(reinterpret_cast<const char*>(message), ", at ", place));
  }
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, it is interpreted
  return code;
}

// What matching needs besides the pattern; one a thread.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(stack_start, stack_limit, nullptr);
  Workspace() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context, match_limit);
    pcre2_set_heap_limit(context, heap_limit);
    pcre2_set_depth_limit(context, depth_limit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

// Whether the text has a character that PCRE2's tables are too old for.
bool has_newer(std::string_view text) {
  const CharTable& table = CharTable::get();
  for (size_t at = 0; at < text.size();) {
    const uint8_t lead = static_cast<uint8_t>(text[at]);
    if (lead < 0xE0) {  // the newest of two bytes is old enough
      at += lead < 0xC0 ? 1 : 2;
      continue;
    }
    const Decoded d = decode_utf8(text.substr(at));
    if (table[d.code_point] & CharProperty::newer) return true;
    at += d.length;
  }
  return false;
}

}  // namespace

struct Regex::Code {
  CodePointer fast, exact;  // `exact` is null where it would be the same
};

Regex::Regex(std::string_view pattern, bool literal) {
  if (pattern.size() > longest_pattern) throw std::invalid_argument("it is too long");
  if (literal && !pattern.empty()) {
    literal_ = pattern;
    return;
  }
  code_ = std::make_unique<Code>();
  const std::string fast = to_pcre(pattern, false), exact = to_pcre(pattern, true);
  code_->fast = compile(fast);
  if (exact != fast) code_->exact = compile(exact);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, std::vector<Match>& out) const {
  const uint32_t size = static_cast<uint32_t>(text.size());
  if (text.empty()) return;
  uint32_t done = 0;  // what lies before is in `out`
  auto add = [&](size_t begin, size_t end) {
    const uint32_t b = static_cast<uint32_t>(begin), e = static_cast<uint32_t>(end);
    if (done < b) out.push_back({done, b, false});
    out.push_back({b, e, true});
    done = e;
  };
  if (!literal_.empty()) {
    for (size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, done))
      add(at, at + literal_.size());
    if (done < size) out.push_back({done, size, false});
    return;
  }
  thread_local Workspace workspace;
  pcre2_code* code = code_->exact && has_newer(text) ? code_->exact.get() : code_->fast.get();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int64_t last_end = -1;  // of the match before: an empty match there does not count
  for (size_t from = 0; from <= size;) {
    int found = pcre2_match(code, subject, size, from, PCRE2_NO_UTF_CHECK, workspace.data,
                            workspace.context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
      found = pcre2_match(code, subject, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          workspace.data, workspace.context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw Error(ErrorKind::data,
                  "the tokenizer's regular expression needs too many steps for this text");
    const PCRE2_SIZE* place = pcre2_get_ovector_pointer(workspace.data);
    if (place[0] > place[1]) break;  // \K in a look-ahead
    if (place[0] == place[1] && static_cast<int64_t>(place[1]) == last_end) {
      from = from < size ? from + char_length(text, from) : size + 1;
      continue;
    }
    if (place[0] >= done) add(place[0], place[1]);
    last_end = static_cast<int64_t>(place[1]);
    from = place[1];
  }
  if (done < size) out.push_back({done, size, false});
}

bool Regex::matches_nothing_before(std::string_view text) const {
  std::vector<Match> matches;
  find_all(text, matches);
  return !matches.empty() && matches[0].matched && matches[0].end == 0;
}

}  // namespace compress::text
