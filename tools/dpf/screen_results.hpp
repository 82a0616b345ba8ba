#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/session.hpp"
#include "cluster/partition.hpp"
#include "layout.hpp"
#include "screen_options.hpp"

/// What dpf-screen finds: from rank to rank, into the file, for the reader.
namespace fachwerk::dpf {

/// Everything that a run screens: contingencies of the grid, for one operating point or for each of several.
struct ScreenStudy {
  std::vector<Contingency> contingencies;
  std::size_t points = 1;
  std::size_t size() const { return points * contingencies.size(); }
};

/// A contingency's result as numbers, with the voltages of all buses where they are kept.
void append_result(std::vector<double>& to, const ContingencyResult& result, std::span<const double> voltages);

/// The output, on the rank that writes: the table is kept until the end, voltages go into the file as they come.
class ScreenWriter {
 public:
  ScreenWriter(const ScreenCall& options, cli::Session& session, const LoadedGrid& input, const ScreenStudy& study);
  /// A block of results as `append_result` made them.
  void write(cluster::Block block, std::span<const double> values);
  void finish();
  const std::vector<ContingencyResult>& results() const { return results_; }

 private:
  const LoadedGrid& input_;
  const ScreenStudy& study_;
  bool full_;
  h5::Output file_;
  std::vector<ContingencyResult> results_;
};

/// Picture of the highest loading after each outage, ranked.
void plot_ranking(const ScreenCall& options, cli::Session& session, const Grid& grid,
                  const std::vector<ContingencyResult>& results);
/// Counts of verdicts and the worst outages. What --check found fails the session where it is too much.
void summarise(const ScreenCall& options, cli::Session& session, const Grid& grid, const ScreenStudy& study,
               const std::vector<ContingencyResult>& results, double seconds);
/// Names of the elements that are out.
std::string label_of(const Contingency& contingency, const Grid& grid);

}  // namespace fachwerk::dpf
