#pragma once

#include <string>
#include <vector>

#include "fit.hpp"
#include "layout.hpp"
#include "scenario_source.hpp"

/// What dpf-fit reads and writes beside the grid: measurements, priors, groups, fitted values, derivatives.
namespace fachwerk::dpf {

/// "r 1-2", "load_p 14": a parameter and its element.
std::string label(const Grid& grid, const Parameter& parameter);
/// "vm 14", "pf 3 (2-5)".
std::string label(const Grid& grid, const Observation& what);

/// Snapshots of /measurement with their operating points.
struct MeasuredSnapshots {
  std::vector<Readings> readings;
  std::vector<OperatingPoint> points;
};
/// Standard deviations: the attribute sigma of a dataset, or NAME_sigma of the shape of NAME or of one snapshot. What
/// is NaN or on a dead element is left out. Throws bad input where nothing is measured or the numbers of snapshots
/// differ.
MeasuredSnapshots read_measurements(const h5::Node& file, const Grid& grid, const Network& network);

/// A table (CSV with a header, or /prior or /fit of an HDF5 file): `name` as label() gives it, or `kind` and `row` from
/// 1, with `mean` and `sigma` (`p` and `sigma` in /fit, where flagged rows are left out). Rows about parameters that
/// are not learnt are left out. Throws bad input for anything else.
std::vector<Prior> read_priors(const std::string& path, const Grid& grid, const std::vector<Parameter>& parameters);

/// Number of the group of every parameter, below 0 alone. `words`: DATASET or TABLE:DATASET (TABLE bus, branch or gen),
/// integers or text with one entry for each row; those below 0 or empty stand alone.
std::vector<int> read_groups(const LoadedGrid& input, const std::vector<std::string>& words,
                             const std::vector<Parameter>& parameters);

/// "loss", "vm:14", "loading:3", ...: bus numbers for voltages and injections, branch rows from 1 for flows; or
/// "weights:DATASET", a dataset of IN with a weight for every bus or branch whose name (or attribute `of`) says of
/// what, or a group of such datasets. Throws usage_error.
Functional functional_of(const std::string& word, const LoadedGrid& input, const Network& network);

void write_parameters(h5::Output& file, const Grid& grid, const std::vector<Parameter>& parameters,
                      const std::string& group);
void write_fit(h5::Output& file, const Grid& grid, const Network& network, const std::vector<Parameter>& parameters,
               const FitResult& result);

}  // namespace fachwerk::dpf
