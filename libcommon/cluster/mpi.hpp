#pragma once

#include <mpi.h>

#include "cluster/communicator.hpp"

namespace fachwerk::cluster {

/// The MPI communicator of a group, for what communicator.hpp does not offer (tell `Communicator::count` what it
/// moves). Only in builds with MPI; MPI_COMM_NULL for one rank that was not started by mpirun.
MPI_Comm mpi(const Communicator& group);

}  // namespace fachwerk::cluster
