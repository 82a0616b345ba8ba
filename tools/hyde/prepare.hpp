#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cube_file.hpp"
#include "noise.hpp"
#include "scratch.hpp"

/// From a cube in a file to what methods take: float spectra of the usable bands, valid pixels known, in memory or
/// streamed.
namespace fachwerk::hyde {

struct PrepareOptions {
  std::vector<std::size_t> bands = {};  ///< to work on; all when empty
  std::set<std::size_t> exclude = {};   ///< of these, not to be touched
  bool use_bad_bands = true;            ///< leave out bands that the file marks as bad
  std::optional<MaskFile> mask = {};
  std::size_t memory = 0;                         ///< bytes that may be used
  std::size_t block_rows = 0;                     ///< rows at a time when streaming; 0: chosen
  bool partial_pixels = false;                    ///< pixels with some values missing stay valid (fasthyin)
  std::shared_ptr<Accelerator> accelerator = {};  ///< where passes over the cube run, if not here
  std::shared_ptr<const Team> team = {};          ///< the processes that share the cube; `memory` is each one's
};

struct Prepared {
  CubeInput input;
  std::vector<std::size_t> bands;  ///< of the file, those worked on
  std::vector<std::size_t> constant, empty,
      dependent;              ///< left out: constant, without values, linear combinations of others
  Source source;              ///< of `bands`, and of the rows that this process holds
  std::size_t first_row = 0;  ///< of these, in the file
  Matrix gram;                ///< of the source; empty if it was not asked for
  ScratchLimit scratch;
  bool streaming = false;
  bool below_precision = false;  ///< most bands are exact combinations of few: there is no noise to estimate
  std::size_t invalid_pixels = 0;
  std::size_t negative_values = 0;
  double low = 0, high = 0;                 ///< range of the values
  std::vector<std::uint8_t> observed = {};  ///< with partial_pixels: [pixels][bands]
  std::shared_ptr<ScratchArray> memory = {};
  double seconds_reading = 0;  ///< of the file into memory, where it fits
};

/// Reads the cube (once if it fits in memory), finds bands and pixels that cannot be used, and its Gram matrix if
/// `with_gram`.
Prepared prepare(CubeInput input, const PrepareOptions& options, bool with_gram);

/// What leaves a band or pixel out of the result passes unchanged; the rest comes from the sink's spectra.
class ResultWriter {
 public:
  ResultWriter(const Prepared& prepared, CubeOutput& output, Element type, bool residual, bool fill_invalid);
  /// Takes spectra of prepared.bands.
  Sink sink();
  /// To be called when all is written, before the statistics: those of other processes are added.
  void finish();
  /// Mean square of (input - result) over valid pixels for each of prepared.bands.
  std::vector<double> residual_power() const;
  double residual_correlation() const;         ///< lag-1 along columns, mean over bands
  double seconds() const { return seconds_; }  ///< spent on the file

 private:
  void add_to_statistics(std::size_t row, std::size_t rows, std::span<const float> spectra);
  void take(std::size_t row, std::size_t rows, std::span<const float> spectra);
  const Prepared& prepared_;
  CubeOutput& output_;
  Element type_;
  bool residual_, fill_invalid_;
  std::vector<double> power_, lagged_;
  double count_ = 0;
  double seconds_ = 0;
};

/// "0:10,15" to 0..9 and 15. Throws usage_error for what is not a band below `bands`.
std::vector<std::size_t> parse_bands(const std::string& text, std::size_t bands);

/// Bytes that this machine has.
std::size_t machine_memory();

/// "4G", "512M" to bytes; throws usage_error.
std::size_t parse_bytes(const std::string& text);

}  // namespace fachwerk::hyde
