#pragma once

#include <string>
#include <vector>

#include "io/hdf5.hpp"
#include "legacy.hpp"

/// The community code's small files as HDF5: coincidences in the layout of polgraw-coincidences, signals, vetoed lines.
namespace fachwerk::polgraw {

/// The coincidences of one shift as columns; members of all of them one after another.
struct CoincidenceColumns {
  std::vector<std::int32_t> ncoin, frame, pointer{0};
  std::vector<std::int64_t> row;
  std::vector<double> mean;  ///< [coincidences, 5]
};
void write_columns(h5::Output& file, const std::string& root, const CoincidenceColumns& columns);

void write_records(h5::Output& file, const std::string& shift, const std::vector<legacy::CoincidenceRecord>& records);
/// The coincidences of one shift; the best one's when `shift` is empty. Throws bad input when there is none such.
std::vector<legacy::CoincidenceRecord> read_records(const h5::Node& file, std::string shift);

void write_signal(h5::Output& file, const legacy::SignalFile& signal);
legacy::SignalFile read_signal(const h5::Node& file);

void write_veto_lines(h5::Output& file, const std::vector<legacy::VetoLine>& lines);
std::vector<legacy::VetoLine> read_veto_lines(const h5::Node& file);

}  // namespace fachwerk::polgraw
