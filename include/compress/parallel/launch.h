#pragma once
// How the processes of a run find each other: from the environment of their launcher, nothing else.

#include <functional>
#include <optional>
#include <string>

namespace compress::parallel {

// One process among those of a run.
struct Launch {
  int rank = 0, world = 1;              // among all processes
  int local_rank = 0, local_world = 1;  // among those of this machine
  std::string host;                     // where rank 0 listens
  int port = 0;
  std::string launcher;  // "torchrun" or "Slurm", for messages
};

// Reads torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
// MASTER_PORT) or, within a job step of Slurm, those of srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS,
// SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE, SLURM_STEP_NODELIST, SLURM_JOB_ID): rank 0 listens on
// the step's first node, on a port derived from the job and the step; MASTER_ADDR and MASTER_PORT
// take precedence. Nothing for a single process, also within a batch script outside of srun.
// Error{device} naming the variable that is missing or is no number in its range.
// `get` reads a variable: null where it is not set.
using Environment = std::function<const char*(const char*)>;
std::optional<Launch> launch_from(const Environment& get);
std::optional<Launch> launch_from_environment();

// The first name of a Slurm list of nodes: "gpu[03-05,9],x1" gives "gpu03"; "" for a malformed one.
std::string first_node(const std::string& list);

}  // namespace compress::parallel
