#pragma once
// Recipes on a tiny model and a few rows, each in a folder that goes away with the test.

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "compress/base/log.h"
#include "compress/nn/memory.h"
#include "compress/pipeline/run.h"
#include "unit/checkpoint/tiny.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

// The options that every stage of these tests shares.
inline constexpr const char* common = "batch: 4, precision: float32, device: cpu";

class Folder : public tiny::Scratch {
 protected:
  void SetUp() override {
    Scratch::SetUp();
    log::set_level(log::Level::error);
    at::set_num_threads(1);  // so small products are slower in many
    static std::once_flag once;
    std::call_once(once, nn::keep_tensor_memory);  // as the program does
    tiny::write(root_ / "base", tiny::tensors());
    tiny::write_tokenizer(root_ / "base");
    write_rows("train.tsv", 24);
    write_rows("dev.tsv", 8);
    write_rows("test.tsv", 10);
  }
  void TearDown() override {
    log::close_file();
    log::set_level(log::Level::info);
    Scratch::TearDown();
  }

  // Films are good and fine, or bad and dull; the rows' lengths differ.
  void write_rows(const std::string& file, int rows) const {
    std::string text = "text\tlabel\n";
    for (int row = 0; row < rows; ++row) {
      const bool good = row % 2 == 0;
      text += good ? "the film good" : "the plot bad";
      for (int i = 0; i < row % 4; ++i) text += good ? " fine" : " dull";
      text += good ? "\tpositive\n" : "\tnegative\n";
    }
    write_file(root_ / file, text);
  }

  // A recipe with these stages (a YAML list, two spaces deep) and these further top-level lines.
  std::string text(const std::string& stages, const std::string& more = "") const {
    const std::string at = root_.string() + "/";
    return "name: tiny\ndata:\n  films: {train: " + at + "train.tsv, validation: " + at +
           "dev.tsv, test: " + at + "test.tsv, text: text, label: label, max_length: 12}\n" + more +
           "stages:\n" + stages;
  }
  // A training stage; `more` begins with a comma.
  std::string stage(const std::string& name, const std::string& model, int steps,
                    const std::string& more = "") const {
    return "  - name: " + name + "\n    train: {model: " + model +
           ", data: films, for: " + str(steps) + " steps, " + common + more + "}\n";
  }
  std::string base() const { return (root_ / "base").string(); }

  fs::path write_recipe(const std::string& yaml) const {
    write_file(root_ / "recipe.yaml", yaml);
    return root_ / "recipe.yaml";
  }
  Recipe load(const std::string& yaml, const std::vector<std::string>& overrides = {}) const {
    return load_recipe(write_recipe(yaml), overrides);
  }
  RunResult run_it(const Recipe& recipe, bool fresh = false) const {
    RunOptions options;
    options.folder = root_ / "run";
    options.fresh = fresh;
    return run(recipe, options);
  }
  // Runs until a stage has saved a state, then stops it.
  void interrupt(const Recipe& recipe, const std::string& stage) const {
    std::atomic<bool> stop{false}, over{false};
    const fs::path state = state_file(stage);
    std::thread watcher([&] {
      while (!fs::exists(state) && !over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      stop = true;
    });
    RunOptions options;
    options.folder = root_ / "run";
    options.stop = &stop;
    EXPECT_NE(tiny::error_of(ErrorKind::interrupted, [&] { run(recipe, options); })
                  .find("stopped at step"),
              std::string::npos);
    over = true;
    watcher.join();
  }

  fs::path stage_folder(const std::string& name) const { return root_ / "run/stages" / name; }
  fs::path state_file(const std::string& name) const {
    return stage_folder(name) / "state.safetensors";
  }
  fs::path weights(const std::string& name) const {
    return stage_folder(name) / "model/model.safetensors";
  }
  nn::Json record(const std::string& name) const {
    return nn::Json::parse(read_file(stage_folder(name) / "stage.json"));
  }
  void write_record(const std::string& name, const nn::Json& json) const {
    write_file(stage_folder(name) / "stage.json", json.dump(2));
  }
  // What the run's log gained since the last call.
  std::string news() {
    const std::string all = read_file(root_ / "run/log.txt");
    std::string fresh = all.substr(std::min(all.size(), logged_));
    logged_ = all.size();
    return fresh;
  }
  // Which stages an earlier run had finished: "skipped ran".
  static std::string how(const RunResult& result) {
    std::vector<std::string> words;
    for (const StageResult& stage : result.stages)
      words.push_back(stage.skipped ? "skipped" : "ran");
    return join(words, " ");
  }

 private:
  size_t logged_ = 0;
};

}  // namespace compress::pipeline
