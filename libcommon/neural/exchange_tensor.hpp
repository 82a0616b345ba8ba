#pragma once

#include <cstddef>
#include <string>

#include "io/bytes.hpp"
#include "neural/model_file.hpp"

/// Tensors as the files of other frameworks hold them: raw values of many types, with strides.
namespace fachwerk::neural {

enum class Element { f64, f32, f16, bf16, i64, i32, i16, i8, u8 };

std::size_t bytes_of(Element e);

/// Elements of a strided view of raw values, in order: real numbers as float or double, whole ones as int64. The caller
/// has checked that all of them are inside (check_view).
formats::Values gather(const std::byte* base, Element e, const Dims& shape, const Dims& stride);

/// Strides of an array without gaps, the last axis innermost.
Dims contiguous(const Dims& shape);

/// Throws bad input unless shape and strides stay within `elements` and nothing overflows.
void check_view(const std::string& file, const std::string& name, std::int64_t offset, const Dims& shape,
                const Dims& stride, std::size_t elements);

formats::Variable make_variable(const std::string& name, const Dims& shape, formats::Values values);

/// Throws bad input unless there are tensors, each with a name of its own that can be one of a dataset.
void check_names(const State& state, const std::string& file);

/// Raw values and PyTorch's, safetensors' names of their type.
struct Raw {
  formats::Bytes bytes;
  const char* storage;
  const char* safetensors;
};

/// A view of the values of `v`, which must be real numbers or int64: throws bad input.
Raw raw_of(const formats::Variable& v);

}  // namespace fachwerk::neural
