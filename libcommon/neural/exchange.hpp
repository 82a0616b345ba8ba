#pragma once

#include <string>

#include "io/bytes.hpp"
#include "neural/model_file.hpp"

/// Weights in other frameworks' files. No code in a file is ever run: pickles are read by a machine that knows tensors,
/// dictionaries and numbers, and refuses everything else.
namespace fachwerk::neural {

/// PyTorch's zip archive (torch.save since 1.6) of a state_dict, or of a dictionary that has one under `key` (or,
/// without a key, under state_dict, model_state_dict or model). A leading "module." goes. Throws bad input naming any
/// other global than the tensor rebuilders.
State read_torch(formats::Bytes bytes, const std::string& file, const std::string& key = {});
void write_torch(formats::Sink& sink, const State& state);

/// safetensors: length, JSON header, raw values.
State read_safetensors(formats::Bytes bytes, const std::string& file);
void write_safetensors(formats::Sink& sink, const State& state);

/// The initialisers of an ONNX graph; values kept outside the file are refused.
State read_onnx(formats::Bytes bytes, const std::string& file);

State read_npz_state(formats::Bytes bytes, const std::string& file);

}  // namespace fachwerk::neural
