#include "cluster/world.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

#include <unistd.h>

#include "cli/error.hpp"
#include "cli/session.hpp"
#include "cluster/mpi_internal.hpp"

namespace fachwerk::cluster {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// MPI from start to end.
class Library {
 public:
  explicit Library(Threads threads) {
    const int wanted = threads == Threads::all_at_once ? MPI_THREAD_MULTIPLE : MPI_THREAD_SERIALIZED;
    int provided = 0;
    wire::check(MPI_Init_thread(nullptr, nullptr, wanted, &provided), "start");
    if (provided < wanted)
      throw absent_error("this MPI library cannot be used by several threads").with_hint("use one that has them");
  }
  void end() { wire::check(MPI_Finalize(), "end"); }
};

/// What ended a rank's work.
struct Failure {
  int code;
  std::string message, hint;
};

Failure failure_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {static_cast<int>(error.code()), error.what(), error.hint()};
  } catch (const std::bad_alloc&) {
    return {static_cast<int>(Exit::absent), "out of memory", "use more machines, or ones that have more"};
  } catch (const std::exception& error) {
    return {static_cast<int>(Exit::failed), error.what(), {}};
  }
}

/// Where ranks meet when their work is over, one way or the other: a communicator that nothing else uses.
class Meeting {
 public:
  Meeting() {
    MPI_Comm comm = MPI_COMM_NULL;
    wire::check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "duplicate");
    link_ = std::make_unique<wire::Link>(comm, true);
    rank_ = wire::rank(*link_);
    size_ = wire::size(*link_);
  }

  int size() const { return size_; }

  /// The lowest value of all ranks, once they have all come.
  int lowest(int mine) {
    begin(mine);
    for (auto pause = milliseconds(0); !all_are_here(); pause = std::min(pause + milliseconds(1), milliseconds(20)))
      std::this_thread::sleep_for(pause);
    return lowest_;
  }

  /// True if this rank is the one that reports the failure. The lowest rank that failed does; those above it learn of
  /// it by a note. Ranks that still work, or wait for the failed one, will not come: after a second the report is made
  /// anyway.
  bool reports_failure() {
    begin(rank_);
    std::vector<MPI_Request> notes(static_cast<std::size_t>(size_), MPI_REQUEST_NULL);
    for (int r = rank_ + 1; r < size_; ++r)
      MPI_Isend(nullptr, 0, MPI_BYTE, r, note, link_->comm, &notes[static_cast<std::size_t>(r)]);
    for (const auto end = Clock::now() + milliseconds(1000); Clock::now() < end;) {
      int lower_failed = 0;
      MPI_Iprobe(MPI_ANY_SOURCE, note, link_->comm, &lower_failed, MPI_STATUS_IGNORE);
      if (lower_failed != 0) return false;
      if (all_are_here()) return lowest_ == rank_;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }

  std::string text_of(std::string text, int rank) {
    auto length = static_cast<unsigned long>(text.size());
    wire::check(MPI_Bcast(&length, 1, MPI_UNSIGNED_LONG, rank, link_->comm), "broadcast");
    text.resize(length);
    wire::check(MPI_Bcast(text.data(), static_cast<int>(length), MPI_CHAR, rank, link_->comm), "broadcast");
    return text;
  }

 private:
  static constexpr int note = 1;

  void begin(int mine) {
    mine_ = mine;
    wire::check(MPI_Iallreduce(&mine_, &lowest_, 1, MPI_INT, MPI_MIN, link_->comm, &request_), "meeting");
  }
  bool all_are_here() {
    int done = 0;
    wire::check(MPI_Test(&request_, &done, MPI_STATUS_IGNORE), "meeting");
    return done != 0;
  }

  std::unique_ptr<wire::Link> link_;
  int rank_ = 0, size_ = 1;
  int mine_ = 0, lowest_ = 0;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Until the rank that reports has taken the job down; by itself should that not come.
[[noreturn]] void wait_for_the_end(int code) {
  std::this_thread::sleep_for(std::chrono::seconds(20));
  _exit(code);
}

/// Ends the job. The rank that reports prints the line that cli would print and takes all others down; they wait for
/// that.
[[noreturn]] void end_job(Meeting& meeting, const cli::Session& session, const Failure& failure) {
  if (meeting.reports_failure()) {
    std::string text = session.tool + ": " + failure.message + "\n";
    if (!failure.hint.empty()) text += session.tool + ": hint: " + failure.hint + "\n";
    std::fflush(stdout);
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
    std::this_thread::sleep_for(milliseconds(100));  // mpirun passes the text on before it hears of the abort
    MPI_Abort(MPI_COMM_WORLD, failure.code);
  }
  wait_for_the_end(failure.code);
}

/// A `session.fail` of any rank becomes rank 0's, who reports it once the others have ended well. Waits to be ended
/// where a rank threw.
void pass_on_failure(Meeting& meeting, cli::Session& session, int rank) {
  const int ranks = meeting.size();
  const int outcome = meeting.lowest(session.failure.empty() ? 2 * ranks : ranks + rank);
  if (outcome < ranks) wait_for_the_end(static_cast<int>(Exit::failed));
  if (outcome == 2 * ranks) return;
  const std::string message = meeting.text_of(session.failure, outcome - ranks);
  session.failure = rank == 0 ? message : "";
}

}  // namespace

bool launched_as_rank() {
  // What Open MPI's mpirun, MPICH's and Intel's hydra, srun (pmi2, pmix), Cray's aprun and PALS, and flux set.
  constexpr std::array names{"OMPI_COMM_WORLD_SIZE", "PMI_RANK",    "PMI_FD",      "PMIX_RANK",
                             "MV2_COMM_WORLD_SIZE",  "ALPS_APP_PE", "PALS_RANKID", "FLUX_TASK_RANK"};
  return std::any_of(names.begin(), names.end(), [](const char* name) { return std::getenv(name) != nullptr; });
}

void run(cli::Session& session, const std::function<void(const Communicator&)>& body, Threads threads) {
  if (!launched_as_rank()) return body(Communicator());
  Library library(threads);
  {
    Communicator world = communicator_of(std::make_shared<wire::Link>(MPI_COMM_WORLD, false), "world");
    session.talks = world.root();
    if (world.size() == 1) {
      body(world);
    } else {
      Meeting meeting;
      try {
        body(world);
        pass_on_failure(meeting, session, world.rank());
      } catch (...) {
        end_job(meeting, session, failure_of(std::current_exception()));
      }
    }
  }
  library.end();
}

bool stop_requested(const Communicator& world) {
  return world.allreduce_value<int>(cli::stop_requested() ? 1 : 0, Op::max) != 0;
}

}  // namespace fachwerk::cluster
