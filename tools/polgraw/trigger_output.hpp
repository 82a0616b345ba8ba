#pragma once

#include <future>
#include <string>
#include <vector>

#include "checkpoint.hpp"
#include "cluster/communicator.hpp"
#include "dataset.hpp"
#include "farm.hpp"

/// What the ranks of a search do with what they found: checkpoints beside the search, and one file at its end.
namespace fachwerk::polgraw {

/// The checkpoint files of a job: rank 0 writes the file that was asked for, the others one each beside it.
class Checkpoints {
 public:
  Checkpoints(std::string path, std::string fingerprint, int rank);
  ~Checkpoints();

  /// Starts to write what is done so far, in the background; waits for the one before. Throws what that one failed
  /// with.
  void start(const Progress& progress);
  /// Waits for the last one.
  void finish();

  /// Rank 0: joins the work that any number of ranks saved, in one file. Throws io_error when there is none.
  Progress join(std::size_t tasks) const;
  /// Rank 0: one file with all of the work.
  void save(const Progress& progress) const;
  /// Rank 0: removes the other ranks' files, of this run or of an earlier one.
  void remove_parts() const;
  void remove_all() const;

 private:
  std::vector<std::string> parts() const;

  std::string path_, mark_;
  int rank_;
  std::future<void> writing_;
};

/// Every task's triggers and done marks on rank 0. Collective.
void gather_progress(const cluster::Communicator& world, Progress& progress);

/// A rank's share of the rows of the output, in the order of the tasks.
struct Share {
  std::vector<Trigger> triggers;
  std::vector<int> source;
  std::size_t first = 0, total = 0;
  TriggerRows rows() const { return {triggers, source, first, total}; }
};
/// Hands the triggers round so that each of the first `writers` ranks has equally many consecutive rows. Collective.
Share distribute(const cluster::Communicator& world, std::span<const Task> tasks, Progress&& progress, int writers);
/// Keeps the `count` loudest of all ranks' rows (the earlier among equals). Collective.
void keep_loudest(const cluster::Communicator& world, std::size_t count, Share& share);
/// The loudest trigger of all ranks with its source, on every rank; nothing where there is none. Collective.
struct Loudest {
  Trigger trigger;
  int source = 0;
};
std::optional<Loudest> loudest(const cluster::Communicator& world, const Share& share);

/// This rank's part of a column of /triggers. Collective where `file` is.
template <class T>
void write_column(h5::Output& file, const std::string& name, const std::vector<T>& values, const TriggerRows& rows,
                  const char* units, const char* what) {
  const std::string path = "/triggers/" + name;
  file.create_dataset<T>(path, {rows.total}, {.units = units, .long_name = what, .dims = {"trigger"}});
  if (rows.total > 0) file.write_slab<T>(path, {rows.first}, {values.size()}, values);
}
/// The columns tt, s2 and fddot of the triggers. Collective where `file` is.
void write_second_spindown(h5::Output& file, std::span<const TriggerSource> sources, const TriggerRows& rows);

/// What tells lines at the triggers' points, row by row: a line is loud in one detector only. By direct summation, on
/// `threads` threads.
struct DetectorStatistics {
  std::vector<float> twoF;         ///< of each detector alone (rows, detectors)
  std::vector<std::int32_t> line;  ///< 1 where one of them is above 2F of the network
  std::vector<float> log10_bsgl;   ///< line-robust statistic
};
DetectorStatistics detector_statistics(const Share& share, std::span<const Observation* const> sources,
                                       std::size_t detectors, double transition, int threads);

}  // namespace fachwerk::polgraw
