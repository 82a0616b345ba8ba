#pragma once

#include <functional>

#include "cluster/communicator.hpp"

namespace fachwerk::cli {
struct Session;
}

/// Tools that run on many machines. The body of an MPI tool is
///
///     return command.run(argc, argv, [&](cli::Session& session) {
///       cluster::run(session, [&](const cluster::Communicator& world) { ... });
///     });
namespace fachwerk::cluster {

enum class Threads {
  one_at_a_time,  ///< any thread may communicate, never two at once
  all_at_once     ///< MPI_THREAD_MULTIPLE; absent_error where MPI has not got it
};

/// Runs `body` with all ranks that mpirun or srun started; started without them, as one rank without MPI (MPI alone
/// would cost 0.3 s). Rank 0 alone talks (`session.talks`). When `body` throws on some rank, the lowest of the ranks
/// that failed prints the error and the whole job ends with its exit code, whatever the others wait for; on one rank
/// the exception just comes out. A `session.fail` on any rank becomes that of rank 0. MPI is over when this returns.
void run(cli::Session& session, const std::function<void(const Communicator&)>& body,
         Threads threads = Threads::one_at_a_time);

/// True if mpirun, srun or their like started this process as a rank.
bool launched_as_rank();

/// cli::stop_requested of any rank, on every rank. Collective.
bool stop_requested(const Communicator& world);

}  // namespace fachwerk::cluster
