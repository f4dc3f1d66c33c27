#include "compress/parallel/launch.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "compress/base/error.h"

namespace compress::parallel {
namespace {

using Values = std::map<std::string, std::string>;

std::optional<Launch> launch(const Values& values) {
  return launch_from([&](const char* name) -> const char* {
    auto it = values.find(name);
    return it == values.end() ? nullptr : it->second.c_str();
  });
}

void expect_refused(const Values& values, const std::string& variable) {
  try {
    launch(values);
    ADD_FAILURE() << "accepted, though " << variable << " is wrong";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_NE(error.message().find(variable), std::string::npos) << error.message();
  }
}

const Values torchrun = {{"RANK", "3"},         {"WORLD_SIZE", "4"},
                         {"LOCAL_RANK", "1"},   {"LOCAL_WORLD_SIZE", "2"},
                         {"MASTER_ADDR", "n1"}, {"MASTER_PORT", "29501"}};
const Values slurm = {{"SLURM_PROCID", "5"},
                      {"SLURM_STEP_NUM_TASKS", "6"},
                      {"SLURM_LOCALID", "2"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_STEP_TASKS_PER_NODE", "3(x2)"},
                      {"SLURM_STEP_NODELIST", "gpu[07-08]"},
                      {"SLURM_JOB_ID", "4242"},
                      {"SLURM_STEP_ID", "1"}};

Values with(Values values, const std::string& name, const std::string& value) {
  values[name] = value;
  return values;
}
Values without(Values values, const std::string& name) {
  values.erase(name);
  return values;
}

TEST(Launch, NothingForOneProcess) {
  EXPECT_FALSE(launch({}));
  Values one = torchrun;
  one["WORLD_SIZE"] = one["LOCAL_WORLD_SIZE"] = "1";
  one["RANK"] = one["LOCAL_RANK"] = "0";
  EXPECT_FALSE(launch(one));
  // The batch script of a job, outside of srun: SLURM_NTASKS and SLURM_PROCID are set there too.
  EXPECT_FALSE(launch({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "1"}}));
}

TEST(Launch, ReadsTorchrun) {
  const Launch found = launch(torchrun).value();
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.world, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world, 2);
  EXPECT_EQ(found.host, "n1");
  EXPECT_EQ(found.port, 29501);
}

TEST(Launch, ReadsSlurm) {
  const Launch found = launch(slurm).value();
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.world, 6);
  EXPECT_EQ(found.local_rank, 2);
  EXPECT_EQ(found.local_world, 3);
  EXPECT_EQ(found.host, "gpu07");
  EXPECT_EQ(found.port, 20000 + (4242 * 37 + 1) % 20000);
  EXPECT_NE(launch(with(slurm, "SLURM_STEP_ID", "2"))->port, found.port);
  const Launch told =
      launch(with(with(slurm, "MASTER_ADDR", "head"), "MASTER_PORT", "1234")).value();
  EXPECT_EQ(told.host, "head");
  EXPECT_EQ(told.port, 1234);
}

TEST(Launch, CountsTasksOfItsNode) {
  auto tasks = [](const std::string& list, const std::string& node) {
    return launch(with(with(slurm, "SLURM_STEP_TASKS_PER_NODE", list), "SLURM_NODEID", node))
        ->local_world;
  };
  EXPECT_EQ(tasks("4(x2),3", "0"), 4);
  EXPECT_EQ(tasks("4(x2),3", "1"), 4);
  EXPECT_EQ(tasks("4(x2),3", "2"), 3);
  EXPECT_EQ(tasks("2,1(x3)", "3"), 1);
}

TEST(Launch, TorchrunTakesPrecedence) {
  Values both = slurm;
  for (const auto& [name, value] : torchrun) both[name] = value;
  EXPECT_EQ(launch(both)->launcher, "torchrun");
}

TEST(Launch, RefusesWhatIsMissingOrOutOfRange) {
  expect_refused(without(torchrun, "MASTER_ADDR"), "MASTER_ADDR");
  expect_refused(without(torchrun, "MASTER_PORT"), "MASTER_PORT");
  expect_refused(with(torchrun, "MASTER_PORT", "70000"), "MASTER_PORT");
  expect_refused(with(torchrun, "RANK", "4"), "RANK");
  expect_refused(with(torchrun, "WORLD_SIZE", "four"), "WORLD_SIZE");
  expect_refused(with(torchrun, "LOCAL_RANK", "1x"), "LOCAL_RANK");
  expect_refused(without(slurm, "SLURM_STEP_NODELIST"), "SLURM_STEP_NODELIST");
  expect_refused(with(slurm, "SLURM_STEP_NODELIST", "gpu["), "SLURM_STEP_NODELIST");
  expect_refused(with(slurm, "SLURM_PROCID", "6"), "SLURM_PROCID");
}

TEST(Launch, FirstNode) {
  EXPECT_EQ(first_node("n1"), "n1");
  EXPECT_EQ(first_node("n1,n2"), "n1");
  EXPECT_EQ(first_node("gpu[03-05,9],x1"), "gpu03");
  EXPECT_EQ(first_node("gpu[12]"), "gpu12");
  EXPECT_EQ(first_node("gpu[7,9]"), "gpu7");
  EXPECT_EQ(first_node("rack[1-2]n3"), "rack1n3");
  EXPECT_EQ(first_node("gpu["), "");
  EXPECT_EQ(first_node(""), "");
}

}  // namespace
}  // namespace compress::parallel
