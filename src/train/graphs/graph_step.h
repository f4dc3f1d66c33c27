#pragma once
// The passes of an update through CUDA graphs: which updates may be played, and where their batches
// lie.

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "compress/train/binding.h"
#include "graphs/graph.h"

namespace compress::train {

class GraphStep {
 public:
  // Null where the stage may record none; the reason is logged.
  static std::unique_ptr<GraphStep> make(const Job& job, const Binding& binding);
  GraphStep(const Job& job, const Binding& binding);

  // Where an update's batch is computed: staged for a graph, or moved to the device. `numbers` are
  // those that its passes read of the progress.
  data::Batch place(const data::Batch& batch, const objective::Numbers& numbers,
                    const Progress& progress);
  // The batch that place() returned last is played through a graph.
  bool staged() const { return staged_; }
  torch::Tensor stage(const torch::Tensor& value, const std::string& name) {
    return graphs_.stage(value, name);
  }
  PassLosses run(uint64_t seed, const std::function<PassLosses()>& pass) {
    return graphs_.run(seed, pass);
  }
  void forget() { graphs_.forget(); }

 private:
  const Job& job_;
  StepGraphs graphs_;
  bool staged_ = false;
  std::vector<double> recorded_;  // the numbers in the graphs that exist
  std::set<std::string> told_;    // reasons for updates without a graph, each logged once
};

}  // namespace compress::train
