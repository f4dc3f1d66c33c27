// Published layouts in recipes: planned and run on hand-made files, and the score of their
// benchmark.

#include <gmock/gmock.h>

#include "compress/pipeline/compare.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Benchmarks : public Folder {
 protected:
  std::string entry(const std::string& layout, const std::string& folder) const {
    return "{layout: " + layout + ", folder: " COMPRESS_SOURCE_DIR "/tests/standins/" + folder +
           ", max_length: 12}";
  }
  // A recipe that trains for two updates on a layout's files.
  std::string recipe(const std::string& layout, const std::string& folder) const {
    return "name: tiny\ndata:\n  d: " + entry(layout, folder) +
           "\nstages:\n  - name: s\n    train: {" + "model: " + base() +
           ", data: d, for: 2 steps, " + common + "}\n";
  }
  fs::path run_in(const std::string& name, const std::string& yaml) const {
    RunOptions options;
    options.folder = root_ / name;
    run(load(yaml), options);
    return options.folder;
  }
};

TEST_F(Benchmarks, PlansSayRowsHeadsAndClasses) {
  for (const auto& [layout, folder] : {std::pair("glue/cola", "glue/CoLA"),
                                       {"glue/sst2", "glue/SST-2"},
                                       {"glue/mrpc", "glue/MRPC"},
                                       {"glue/stsb", "glue/STS-B"},
                                       {"glue/qqp", "glue/QQP"},
                                       {"glue/mnli", "glue/MNLI"},
                                       {"glue/mnli_mismatched", "glue/MNLI"},
                                       {"glue/qnli", "glue/QNLI"},
                                       {"glue/rte", "glue/RTE"},
                                       {"glue/wnli", "glue/WNLI"},
                                       {"superglue/boolq", "superglue/BoolQ"},
                                       {"superglue/cb", "superglue/CB"},
                                       {"superglue/copa", "superglue/COPA"},
                                       {"superglue/multirc", "superglue/MultiRC"},
                                       {"superglue/record", "superglue/ReCoRD"},
                                       {"superglue/rte", "superglue/RTE"},
                                       {"superglue/wic", "superglue/WiC"},
                                       {"superglue/wsc", "superglue/WSC"},
                                       {"wikiqa/raw", "wikiqa"},
                                       {"asnq/all", "asnq"},
                                       {"snli/1.0", "snli"},
                                       {"sick/relatedness", "sick"},
                                       {"sts/b", "sts/b"},
                                       {"squad/v1", "squad"},
                                       {"squad/v2", "squad"}})
    EXPECT_NO_THROW(plan_text(load(recipe(layout, folder)))) << layout;
  EXPECT_THAT(plan_text(load(recipe("glue/mnli", "glue/MNLI"))), HasSubstr("contradiction"));
}

// Years of STS have a test part alone: scored by the cosine of what the model says of each text.
TEST_F(Benchmarks, SimilarityIsScoredWithoutTraining) {
  const std::string model = (root_ / "sentences").string();
  fs::copy(base(), model, fs::copy_options::recursive);
  nn::Json config = nn::Json::parse(read_file(fs::path(model) / "config.json"));
  config["architectures"] = {"BertModel"};
  write_file(fs::path(model) / "config.json", config.dump());
  auto scored = [&](const std::string& name) {
    return "name: tiny\ndata:\n  d: {layout: " + name +
           ", task: similarity, folder: " COMPRESS_SOURCE_DIR "/tests/standins/" + name +
           ", max_length: 12}\nstages:\n  - name: s\n    evaluate: {model: " + model +
           ", data: d}\n";
  };
  for (const char* name : {"sts/12", "sts/13", "sts/14", "sts/15", "sts/16", "sts/b"})
    EXPECT_NO_THROW(plan_text(load(scored(name)))) << name;
  const nn::Json result =
      nn::Json::parse(read_file(run_in("sts", scored("sts/12")) / "result.json"));
  const nn::Json& metrics = result["stages"][0]["test"];
  ASSERT_EQ(metrics.size(), 4u);
  EXPECT_EQ(metrics[0]["name"], "spearman");
  EXPECT_EQ(metrics[0]["n"], 10);
  EXPECT_EQ(metrics[1]["name"], "spearman_mean");
}

TEST_F(Benchmarks, TheScoreIsTheMeanOverTasks) {
  const fs::path cola = run_in("cola", recipe("glue/cola", "glue/CoLA"));
  const fs::path mrpc = run_in("mrpc", recipe("glue/mrpc", "glue/MRPC"));
  const nn::Json result = nn::Json::parse(read_file(mrpc / "result.json"));
  const nn::Json& metrics = result["stages"][0]["validation"];
  EXPECT_EQ(metrics[0]["name"], "f1") << "the layout's metrics, the first of them selects";
  EXPECT_EQ(metrics[1]["name"], "accuracy");
  const double f1 = metrics[0]["value"], accuracy = metrics[1]["value"];
  const nn::Json other = nn::Json::parse(read_file(cola / "result.json"));
  const double matthews = other["stages"][0]["validation"][0]["value"];
  const std::string text = benchmark({{cola, ""}, {mrpc, "s"}}, false);
  EXPECT_THAT(text,
              AllOf(HasSubstr("mean over tasks " + fixed((matthews + (f1 + accuracy) / 2) / 2, 4)),
                    HasSubstr("not scored: glue/sst2")));
  write_rows("train.tsv", 8);
  const fs::path films = run_in("films", this->text(stage("a", base(), 1)));
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] {
                               benchmark({{films, ""}}, false);
                             }),
              HasSubstr("no stage was scored on a benchmark's data"));
}

TEST_F(Benchmarks, MetricsOfADataSetMustExist) {
  const std::string yaml = "name: tiny\ndata:\n  d: {train: " + root_.string() +
                           "/train.tsv, text: text, label: label, metrics: [acuracy]}\nstages:\n" +
                           "  - name: s\n    train: {model: " + base() +
                           ", data: d, for: 1 steps}\n";
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { load(yaml); }), HasSubstr("acuracy"));
}

}  // namespace
}  // namespace compress::pipeline
