#pragma once

#include "cluster/communicator.hpp"

/// The ranks that run these tests: one without mpirun, or as many as it started.
const fachwerk::cluster::Communicator& world();
