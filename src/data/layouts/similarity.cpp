// Sentence similarity: STS12 to STS16 and the original files of STS-B, scores from 0 to 5.

#include "compress/base/strings.h"
#include "layouts/layout.h"

namespace compress::data {

namespace {

// A year's sub-sets, each a file of scores beside one of pairs. A pair without a score is left out;
// the sub-set is the group.
PublishedLayout year(const char* name, const std::vector<std::string>& sets) {
  std::vector<std::string> files;
  for (const std::string& set : sets)
    files.push_back(str("=", set, " | STS.gs.", set, ".txt | STS.input.", set, ".txt"));
  PublishedLayout layout;
  layout.name = str("sts/", name);
  layout.summary = str("STS of 20", name, ", from 0 to 5: ", join(sets, ", "));
  layout.keys = str("test: \"", join(files, " + "), R"("
format: tsv
header: false
quoting: false
ragged: true
task: regression
group: "0"
label: "1"
text: "2"
pair: "3"
skip_labels: [""]
metrics: [spearman, spearman_mean, spearman_wmean, pearson])");
  layout.counts = PublishedLayout::Counts::never;
  return layout;
}

}  // namespace

std::vector<PublishedLayout> similarity_layouts() {
  return {
      year("12", {"MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"}),
      year("13", {"FNWN", "headlines", "OnWN"}),
      year("14", {"deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"}),
      year("15", {"answers-forums", "answers-students", "belief", "headlines", "images"}),
      year("16", {"answer-answer", "headlines", "plagiarism", "postediting", "question-question"}),
      {"sts/b", "STS-B as it was published: how similar two sentences are, from 0 to 5", R"(
train: sts-train.csv
validation: sts-dev.csv
test: sts-test.csv
format: tsv
header: false
quoting: false
ragged: true
task: regression
label: "4"
text: "5"
pair: "6"
metrics: [spearman, pearson])",
       nullptr, PublishedLayout::Counts::never},
  };
}

}  // namespace compress::data
