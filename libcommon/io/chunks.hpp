#pragma once

#include <hdf5.h>

#include "io/hdf5.hpp"

/// Compressed chunks by all threads. HDF5's own filters run on one, which makes a large file take ten times as long;
/// the bytes in the file are the same kind (shuffle, then deflate), so that every reader understands them.
namespace fachwerk::h5::internal {

/// Writes the slab by whole compressed chunks. False, and nothing done, where that is impossible: another layout, other
/// filters, a conversion of type, or a slab that cuts through chunks.
bool write_chunks(hid_t dataset, const Shape& offset, const Shape& length, const void* values, hid_t type);

/// Reads the slab chunk by chunk. False, and nothing done, as above (a slab may cut through chunks here) or where it is
/// small.
bool read_chunks(hid_t dataset, const Shape& offset, const Shape& length, void* values, hid_t type);

}  // namespace fachwerk::h5::internal
