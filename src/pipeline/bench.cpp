// Timing of a stage's updates, on the real model and data, with nothing saved.

#include <chrono>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/teacher/teacher.h"
#include "stages.h"

namespace compress::pipeline {

BenchResult bench_stage(const Recipe& recipe, const std::string& name, int64_t steps,
                        const std::filesystem::path& run_folder) {
  auto begin = std::chrono::steady_clock::now();
  const StageOptions* stage = recipe.stage(name);
  if (stage == nullptr || !stage->train)
    throw Error(ErrorKind::recipe, "there is no training stage '" + name + "'",
                recipe.file.string());
  auto folder = [&](const std::string& model) {
    if (recipe.stage(model) == nullptr) return std::filesystem::path(model);
    std::filesystem::path made = run_folder / "stages" / model / "model";
    if (!std::filesystem::exists(made))
      throw Error(ErrorKind::recipe,
                  "stage '" + name + "' starts from stage '" + model + "', which " +
                      run_folder.string() + " does not hold",
                  recipe.file.string(),
                  "run the recipe first and name its folder, or override the model with --set");
    return made;
  };
  train::TrainOptions options = *stage->train;
  const std::filesystem::path source = folder(options.model.from);
  const data::DatasetOptions& data = recipe.dataset(options.data);
  std::unique_ptr<text::Tokenizer> tokenizer = text::load_tokenizer(source);
  data::Split split = data::load_split(data, "train", *tokenizer);
  train::Job job;
  job.stage = name;
  job.seed = stage_seed(recipe, *stage);
  job.device = train::resolve_device(options.device);
  job.precision = train::resolve_precision(options.precision, job.device);
  job.tokenizer = tokenizer.get();
  job.data = &split;
  job.rows = split.rows();
  nn::ModelState state = checkpoint::load_model(source);
  prepare_state(state, options.model, data, split.labels);
  std::unique_ptr<nn::Model> student = nn::build(state, job.seed);
  job.student = student.get();
  std::unique_ptr<teacher::Teacher> frozen;
  if (options.teacher) {
    nn::ModelState teacher_state = checkpoint::load_model(folder(options.teacher->from));
    if (teacher_state.config.head == nn::HeadKind::none)  // an untuned model serves for timing
      nn::set_head(teacher_state, student->config().head, student->config().labels);
    std::unique_ptr<nn::Model> model = nn::build(teacher_state, job.seed);
    model->to(job.device);
    frozen = teacher::frozen(std::move(model), student->config(), needs_logits(options),
                             job.precision, {});
    job.teacher = frozen.get();
  }
  BenchResult result;
  // Warm-up and measured updates are two runs, so that the first does not count allocation and
  // thread start-up.
  const double loaded =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  train::TrainOptions warm = options;
  warm.length = Duration::steps(1);
  job.quiet = true;
  job.options = &warm;
  result.seconds_to_first_step = loaded + train::run(job).seconds;
  options.length = Duration::steps(steps);
  job.options = &options;
  train::Result timed = train::run(job);
  result.steps = timed.steps;
  result.samples_per_second = timed.samples_per_second;
  result.seconds = timed.seconds;
  result.rows =
      std::min<int64_t>(steps * options.batch,
                        split.rows() * ((steps * options.batch + split.rows() - 1) / split.rows()));
  return result;
}

}  // namespace compress::pipeline
