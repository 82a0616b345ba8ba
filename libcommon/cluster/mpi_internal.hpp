#pragma once

#include <vector>

#include <mpi.h>

#include "cluster/wire.hpp"

/// Private to cluster, for its files that call MPI.
namespace fachwerk::cluster {

namespace wire {

/// Throws method_failed with MPI's own words unless `status` is MPI_SUCCESS.
void check(int status, const char* what);

struct Link {
  Link(MPI_Comm handle, bool owned);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  MPI_Comm comm;
  bool owns;
};

}  // namespace wire

struct Request::Pending {
  std::vector<MPI_Request> requests;
  MPI_Request* add() { return &requests.emplace_back(MPI_REQUEST_NULL); }
};

}  // namespace fachwerk::cluster
