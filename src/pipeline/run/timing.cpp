// Timing of a stage's updates, on the real model and data, with nothing saved.

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "materials/workbench.h"
#include "stage.h"

namespace compress::pipeline {

BenchResult bench_stage(const Recipe& given, const std::string& name, int64_t steps,
                        const std::filesystem::path& run_folder, parallel::Processes* processes) {
  auto begin = std::chrono::steady_clock::now();
  const Recipe recipe = with_rows(given, run_folder);
  const StageOptions* stage = recipe.stage(name);
  const auto* training = stage == nullptr ? nullptr : options_if<train::TrainOptions>(*stage);
  if (training == nullptr)
    throw Error(ErrorKind::recipe, "there is no training stage '" + name + "'",
                recipe.file.string());
  auto folder = [&](const std::string& model) {
    if (recipe.stage(model) == nullptr) return std::filesystem::path(model);
    std::filesystem::path made = run_folder / "stages" / model / model_name;
    if (!std::filesystem::exists(made))
      throw Error(ErrorKind::recipe,
                  "stage '" + name + "' starts from stage '" + model + "', which " +
                      run_folder.string() + " does not hold",
                  recipe.file.string(),
                  "run the recipe first and name its folder, or override the model with --set");
    return made;
  };
  Workbench bench(
      recipe, folder, [](const std::string& model) { return model; }, nullptr, processes);
  Prepared prepared = bench.prepare(*stage, TeacherCheck::for_timing);
  prepared.binding.reset();  // each of the runs below makes its own
  train::Job& job = prepared.job;
  train::TrainOptions options = *training;
  BenchResult result;
  // Warm-up and measured updates are two runs, so that the first does not count allocation and
  // thread start-up.
  const double loaded = seconds_since(begin);
  train::TrainOptions warm = options;
  warm.length = Duration::steps(1);
  job.quiet = true;
  job.options = &warm;
  result.seconds_to_first_step = loaded + train::run(job).seconds;
  options.length = Duration::steps(steps);
  job.options = &options;
  if (job.device.is_cuda()) at::accelerator::resetPeakStats(job.device.index());
  train::Result timed = train::run(job);
  if (job.device.is_cuda())
    result.device_peak_mb =
        static_cast<double>(
            at::accelerator::getDeviceStats(job.device.index()).allocated_bytes[0].peak) /
        (1024.0 * 1024.0);
  result.mean_tokens = static_cast<double>(job.data->ids.size()) /
                       static_cast<double>(std::max<int64_t>(1, job.rows));
  result.steps = timed.steps;
  result.samples_per_second = timed.samples_per_second;
  result.seconds = timed.seconds;
  result.rows = std::min<int64_t>(steps * options.batch,
                                  job.rows * ((steps * options.batch + job.rows - 1) / job.rows));
  return result;
}

}  // namespace compress::pipeline
