#pragma once

#include <memory>

#include "cluster/communicator.hpp"
#include "team.hpp"

namespace fachwerk::hyde {

/// The ranks of a job as a team that shares `rows` image rows in blocks of whole chunks where there are enough; null
/// for one rank. Throws usage_error if there are more ranks than rows.
std::shared_ptr<const Team> team_of(const cluster::Communicator& world, std::size_t rows);

}  // namespace fachwerk::hyde
