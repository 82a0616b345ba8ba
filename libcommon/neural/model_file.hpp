#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/hdf5.hpp"
#include "io/variable.hpp"
#include "neural/dataset.hpp"
#include "neural/zoo.hpp"

/// Networks in HDF5 (`kind` model): /model/state/NAME under PyTorch's names, and what is needed to run them.
namespace fachwerk::neural {

/// Named tensors, in order: a state_dict. float, double or int64.
using State = std::vector<formats::Variable>;

struct ModelFile {
  ModelOptions options;
  Graph graph;
  bool classification = true;
  Standard inputs, outputs;  ///< how x, and the targets of a regression, are scaled
  std::vector<std::string> class_names;
  State state;
};

/// Any file with /model/state or /state: the tensors alone.
State read_state(const h5::Node& file);
/// Does the file say what network it holds? Files that were converted from weights alone do not.
bool has_model(const h5::Node& file);
/// A runnable model. Throws bad input where shapes do not fit the model, or a value is not finite.
ModelFile read_model(const h5::Node& file);
void write_model(h5::Output& file, const ModelFile& model);
void write_state(h5::Output& file, const State& state, const Graph* graph = nullptr,
                 const std::string& group = "/model/state");

/// The state in the graph's order and shapes. Throws bad input naming missing, unexpected and differing tensors. With
/// `partial`, those that are missing or differ stay empty and unexpected ones are dropped.
std::vector<std::optional<formats::Variable>> match_state(const Graph& graph, const State& state,
                                                          const std::string& file, bool partial = false);

}  // namespace fachwerk::neural
