#pragma once

#include <string>

#include "cluster/communicator.hpp"
#include "io/hdf5.hpp"

/// HDF5 files of all ranks at once. On one rank these are h5::Input::open and h5::Output::create, pipes included.
namespace fachwerk::cluster {

/// Whether the ranks read and write slabs together or each by itself.
enum class Transfer {
  collective,  ///< faster on parallel file systems; every rank takes part in every read and write, if with an empty
               ///< slab
  independent  ///< any rank at any time; not for writing compressed datasets
};

/// Opens a file on every rank. Opening, closing and looking at objects and attributes is collective: all ranks do it
/// alike. Each then reads its own hyperslab with `read_slab`; `read` gives every rank the whole dataset. Throws
/// usage_error for `-` with several ranks.
h5::Input open_input(const Communicator& world, const std::string& path, Transfer transfer = Transfer::collective);

/// Creates a file on every rank; groups, datasets, attributes and `commit` are collective, with equal arguments on all
/// ranks. Values go in by `write_slab`, a rank its part; `write` is for what all ranks have alike. HDF5 does not write
/// texts of variable length in parallel: h5::Output::strings stores them with a fixed length here.
h5::Output create_output(const Communicator& world, const std::string& path, bool force,
                         Transfer transfer = Transfer::collective);

}  // namespace fachwerk::cluster
