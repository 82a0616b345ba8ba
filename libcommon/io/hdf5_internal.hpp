#pragma once

#include <string>
#include <vector>

#include "io/hdf5.hpp"

/// What reading and writing share inside io; not for tools.
namespace fachwerk::h5::internal {

/// Library set-up, once a process: no error stack on stderr, no clean-up at exit (it can loop after a full disk).
void initialise();
/// The library prints no errors of its own; it keeps that by thread.
void silence();

/// The innermost reason that HDF5 or the system gives for the last failure, in one line.
std::string reason();

Handle open_dataset(const Node& node, const std::string& path);
Handle open_object(const Node& node, const std::string& path);
std::vector<std::string> attribute_names(hid_t object);
Handle simple_space(const Shape& shape);
Shape shape_of(hid_t space);
Handle select(hid_t dataset, const Shape& offset, const Shape& length);
/// Access properties by which HDF5 works in `image` itself, without a copy: `size` bytes of it are a file already, or
/// none.
Handle image_access(const io::Region& image, std::size_t size);
/// Variable-length UTF-8 string type.
Handle text_type();

}  // namespace fachwerk::h5::internal
