#include "compress/parallel/launch.h"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::parallel {

namespace {

// Reads numbers of one launcher's environment.
class Variables {
 public:
  Variables(const Environment& get, std::string launcher)
      : get_(get), launcher_(std::move(launcher)) {}

  bool has(const char* name) const {
    const char* text = get_(name);
    return text != nullptr && *text != 0;
  }
  std::string text(const char* name) const {
    if (!has(name)) refuse(name, "is not set");
    return get_(name);
  }
  int number(const char* name, int low, int high) const {
    const std::string value = text(name);
    int found = 0;
    auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), found);
    if (failed != std::errc() || end != value.data() + value.size() || found < low || found > high)
      refuse(name, str("is \"", value, "\", not a number from ", low, " to ", high));
    return found;
  }
  int number_or(const char* name, int low, int high, int fallback) const {
    return has(name) ? number(name, low, high) : fallback;
  }

 private:
  [[noreturn]] void refuse(const char* name, const std::string& what) const {
    throw Error(ErrorKind::device,
                str("the environment variable ", name, " ", what, ", though ", launcher_,
                    " started several processes"),
                {}, "start all processes by torchrun or srun: docs/cluster.md");
  }
  const Environment& get_;
  std::string launcher_;
};

constexpr int most = 1 << 20;  // processes

Launch torchrun(const Variables& read) {
  Launch launch;
  launch.launcher = "torchrun";
  launch.world = read.number("WORLD_SIZE", 1, most);
  launch.rank = read.number("RANK", 0, launch.world - 1);
  launch.local_world = read.number_or("LOCAL_WORLD_SIZE", 1, launch.world, 1);
  launch.local_rank = read.number_or("LOCAL_RANK", 0, launch.world - 1, 0);
  launch.host = read.text("MASTER_ADDR");
  launch.port = read.number("MASTER_PORT", 1, 65535);
  return launch;
}

// Tasks on this node of "4(x2),3": the entry of node number `node`.
int tasks_of(const std::string& list, int node) {
  for (const std::string& entry : split(list, ',')) {
    int tasks = std::atoi(entry.c_str()), times = 1;
    if (size_t x = entry.find("(x"); x != std::string::npos)
      times = std::atoi(entry.c_str() + x + 2);
    if (node < times) return std::max(tasks, 1);
    node -= times;
  }
  return 1;
}

Launch slurm(const Variables& read) {
  Launch launch;
  launch.launcher = "Slurm";
  launch.world = read.number("SLURM_STEP_NUM_TASKS", 1, most);
  launch.rank = read.number("SLURM_PROCID", 0, launch.world - 1);
  launch.local_rank = read.number_or("SLURM_LOCALID", 0, launch.world - 1, 0);
  if (read.has("SLURM_STEP_TASKS_PER_NODE"))
    launch.local_world = tasks_of(read.text("SLURM_STEP_TASKS_PER_NODE"),
                                  read.number_or("SLURM_NODEID", 0, most, 0));
  if (read.has("MASTER_ADDR")) {
    launch.host = read.text("MASTER_ADDR");
  } else {
    const std::string nodes = read.text("SLURM_STEP_NODELIST");
    launch.host = first_node(nodes);
    if (launch.host.empty())
      throw Error(ErrorKind::device, "SLURM_STEP_NODELIST names no node: \"" + nodes + "\"", {},
                  "set MASTER_ADDR to the node of the first process");
  }
  // Two steps of one job, or two jobs of one node, are unlikely to meet.
  const int64_t job = read.number_or("SLURM_JOB_ID", 0, 2147483647, 0);
  const int64_t step = read.number_or("SLURM_STEP_ID", 0, 2147483647, 0);
  launch.port = read.has("MASTER_PORT") ? read.number("MASTER_PORT", 1, 65535)
                                        : static_cast<int>(20000 + (job * 37 + step) % 20000);
  return launch;
}

}  // namespace

std::string first_node(const std::string& list) {
  const size_t end = list.find_first_of(",[");
  const std::string name = list.substr(0, end);
  if (end == std::string::npos || list[end] == ',') return name;
  const size_t number = list.find_first_of(",-]", end + 1);
  if (number == std::string::npos) return "";
  std::string rest;  // "rack[1-2]n3": what stands behind the bracket belongs to the name
  if (const size_t close = list.find(']', end); close != std::string::npos)
    rest = list.substr(close + 1, list.find_first_of(",[", close + 1) - close - 1);
  return name + list.substr(end + 1, number - end - 1) + rest;
}

std::optional<Launch> launch_from(const Environment& get) {
  const Variables ours(get, "torchrun"), srun(get, "Slurm");
  std::optional<Launch> launch;
  if (ours.has("WORLD_SIZE") && ours.has("RANK")) {
    launch = torchrun(ours);
  } else if (srun.has("SLURM_STEP_NUM_TASKS") && srun.has("SLURM_PROCID")) {
    launch = slurm(srun);
  }
  if (launch && launch->world == 1) launch.reset();
  return launch;
}

std::optional<Launch> launch_from_environment() {
  return launch_from([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace compress::parallel
