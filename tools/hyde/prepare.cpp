#include "prepare.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>

#include <unistd.h>

#include "cli/error.hpp"
#include "clones.hpp"
#include "fasthyde.hpp"
#include "gram.hpp"
#include "lowrank.hpp"

namespace fachwerk::hyde {
namespace {

// A clock that adds up.
class Timer {
 public:
  explicit Timer(double& total) : total_(total) {}
  ~Timer() { total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  double& total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Rows of the chosen bands as float, no-data as NaN.
void read_bands(const CubeInput& input, const std::vector<std::size_t>& bands, std::size_t row, std::size_t rows,
                std::vector<float>& whole, std::span<float> out) {
  const Extent extent = input.info.extent;
  const std::size_t pixels = rows * extent.cols;
  const bool all = bands.size() == extent.bands;
  if (!all) whole.resize(pixels * extent.bands);
  const std::span<float> values = all ? out : std::span<float>(whole);
  input.read_float(row, rows, values);
  if (input.info.nodata) {
    const auto nodata = static_cast<float>(*input.info.nodata);
#pragma omp parallel for schedule(static)
    for (std::size_t i = 0; i < pixels * extent.bands; ++i)
      if (values[i] == nodata) values[i] = NAN;
  }
  if (all) return;
#pragma omp parallel for schedule(static)
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t k = 0; k < bands.size(); ++k)
      out[p * bands.size() + k] = whole[p * extent.bands + bands[k]];
}

// One spectrum into the statistics of bands; not-finite values count as missing.
FACHWERK_CLONES
void add_spectra(const float* spectra, std::size_t pixels, std::size_t bands, float* __restrict__ low,
                 float* __restrict__ high, std::int32_t* __restrict__ missing, std::int32_t* __restrict__ negative) {
  for (std::size_t p = 0; p < pixels; ++p) {
    const float* y = spectra + p * bands;
#pragma omp simd
    for (std::size_t b = 0; b < bands; ++b) {
      const float v = y[b];
      const bool finite = std::abs(v) < INFINITY;
      const float below = finite ? v : INFINITY, above = finite ? v : -INFINITY;
      low[b] = below < low[b] ? below : low[b];
      high[b] = above > high[b] ? above : high[b];
      missing[b] += finite ? 0 : 1;
      negative[b] += finite && v < 0 ? 1 : 0;
    }
  }
}

struct BandStatistics {
  std::vector<float> low, high;
  std::vector<std::size_t> missing, negative;
  explicit BandStatistics(std::size_t n)
      : low(n, std::numeric_limits<float>::infinity()),
        high(n, -std::numeric_limits<float>::infinity()),
        missing(n),
        negative(n) {}
  void add(std::span<const float> spectra) {
    constexpr std::size_t panel = 4096;
    const std::size_t n = low.size(), pixels = spectra.size() / n;
#pragma omp parallel
    {
      BandStatistics mine(n);
#pragma omp for schedule(static) nowait
      for (std::size_t p = 0; p < pixels; p += panel) {
        std::vector<std::int32_t> counts(2 * n);
        add_spectra(spectra.data() + p * n, std::min(panel, pixels - p), n, mine.low.data(), mine.high.data(),
                    counts.data(), counts.data() + n);
        for (std::size_t b = 0; b < n; ++b) {
          mine.missing[b] += static_cast<std::size_t>(counts[b]);
          mine.negative[b] += static_cast<std::size_t>(counts[n + b]);
        }
      }
#pragma omp critical
      for (std::size_t b = 0; b < n; ++b) {
        low[b] = std::min(low[b], mine.low[b]);
        high[b] = std::max(high[b], mine.high[b]);
        missing[b] += mine.missing[b];
        negative[b] += mine.negative[b];
      }
    }
  }
  // Those of the whole cube.
  void combine(const Team& team) {
    const std::size_t n = low.size();
    std::vector<double> extremes(2 * n), counts(2 * n);
    for (std::size_t b = 0; b < n; ++b) {
      extremes[b] = -static_cast<double>(low[b]);
      extremes[n + b] = static_cast<double>(high[b]);
      counts[b] = static_cast<double>(missing[b]);
      counts[n + b] = static_cast<double>(negative[b]);
    }
    team.largest(extremes);
    team.sum(counts);
    for (std::size_t b = 0; b < n; ++b) {
      low[b] = static_cast<float>(-extremes[b]);
      high[b] = static_cast<float>(extremes[n + b]);
      missing[b] = static_cast<std::size_t>(counts[b]);
      negative[b] = static_cast<std::size_t>(counts[n + b]);
    }
  }
};

std::vector<std::size_t> first_bands(const CubeInput& input, const PrepareOptions& options) {
  std::vector<std::size_t> bands;
  std::vector<std::size_t> all(options.bands);
  if (all.empty())
    for (std::size_t b = 0; b < input.info.extent.bands; ++b)
      all.push_back(b);
  for (std::size_t b : all) {
    const bool bad = options.use_bad_bands && !input.info.bad_bands.empty() && input.info.bad_bands[b] != 0;
    if (!bad && !options.exclude.contains(b)) bands.push_back(b);
  }
  if (bands.empty()) throw bad_input("{}: no usable bands are left of {}", input.name, input.info.extent.bands);
  return bands;
}

// Keeps only some bands of spectra in memory, in place.
template <class T>
void compact(std::span<T> data, std::size_t bands, const std::vector<std::size_t>& keep) {
  for (std::size_t p = 0; p < data.size() / bands; ++p)
    for (std::size_t k = 0; k < keep.size(); ++k)
      data[p * keep.size() + k] = data[p * bands + keep[k]];
}

template <class T>
std::vector<T> pick(const std::vector<T>& values, const std::vector<std::size_t>& keep) {
  std::vector<T> out;
  for (std::size_t k : keep)
    out.push_back(values[k]);
  return out;
}

class Preparation {
 public:
  Preparation(CubeInput input, const PrepareOptions& options) : options_(options) {
    result_.input = std::move(input);
    result_.bands = first_bands(result_.input, options);
    Extent extent = result_.input.info.extent;
    extent.bands = result_.bands.size();
    if (options.team) {
      extent.rows = options.team->rows[options.team->rank];
      result_.first_row = options.team->first_row(options.team->rank);
      result_.source.team = options.team;
    }
    const std::size_t bytes = extent.size() * sizeof(float);
    result_.streaming =
        static_cast<double>(bytes) > 0.5 * static_cast<double>(options.memory) && !options.partial_pixels;
    result_.scratch = {options.memory / 2};
    result_.source.extent = extent;
  }

  Prepared run(bool with_gram) {
    BandStatistics statistics(result_.bands.size());
    if (!result_.streaming) load();
    set_reader();
    result_.source.each_block(
        [&](std::size_t, std::size_t, std::span<const float> spectra) { statistics.add(spectra); });
    if (result_.source.team) statistics.combine(*result_.source.team);
    leave_out(statistics, result_.source.whole().pixels());
    mark_invalid(statistics);
    result_.source.accelerator = options_.accelerator;
    if (with_gram) find_dependent();
    return std::move(result_);
  }

 private:
  std::size_t block_rows() const {
    if (options_.block_rows != 0) return std::min(options_.block_rows, result_.source.extent.rows);
    const Extent extent = result_.input.info.extent;
    const std::size_t row = extent.cols * extent.bands * sizeof(float);
    const std::size_t budget = std::min(options_.memory / 16, std::size_t{128} << 20);
    const std::size_t rows = std::max<std::size_t>(1, budget / std::max<std::size_t>(row, 1));
    return std::min(extent.rows, rows >= 64 ? rows / 64 * 64 : rows);  // whole chunks of the file
  }

  void load() {
    const Timer timer(result_.seconds_reading);
    const Extent extent = result_.source.extent;
    result_.memory = std::make_shared<ScratchArray>(extent.size(), ScratchLimit{});
    const std::size_t step = block_rows(), row_size = extent.cols * extent.bands;
    std::vector<float> whole;
    for (std::size_t row = 0; row < extent.rows; row += step) {
      const std::size_t rows = std::min(step, extent.rows - row);
      read_bands(result_.input, result_.bands, result_.first_row + row, rows, whole,
                 result_.memory->values().subspan(row * row_size, rows * row_size));
    }
  }

  // Reads rows from the file, invalid pixels as zero.
  auto file_reader() const {
    return [input = result_.input, bands = result_.bands, valid = result_.source.valid, extent = result_.source.extent,
            first_row = result_.first_row, whole = std::make_shared<std::vector<float>>()](
               std::size_t row, std::size_t rows, std::vector<float>& scratch) {
      scratch.resize(rows * extent.cols * extent.bands);
      read_bands(input, bands, first_row + row, rows, *whole, scratch);
      if (!valid.empty())
        for (std::size_t p = 0; p < rows * extent.cols; ++p)
          if (valid[row * extent.cols + p] == 0)
            std::fill_n(scratch.begin() + static_cast<std::ptrdiff_t>(p * extent.bands), extent.bands, 0.0F);
      return std::span<const float>(scratch);
    };
  }

  void set_reader() {
    Source& source = result_.source;
    if (result_.streaming) {
      source.block_rows = block_rows();
      source.read = file_reader();
      return;
    }
    // Rows that were released come from the file again.
    const auto released = std::make_shared<std::size_t>(0);
    const std::size_t row_size = source.extent.cols * source.extent.bands;
    source.block_rows = options_.block_rows;
    source.read = [memory = result_.memory, again = file_reader(), released, row_size](
                      std::size_t row, std::size_t rows, std::vector<float>& scratch) {
      if (row < *released) return again(row, rows, scratch);
      return std::span<const float>(memory->values()).subspan(row * row_size, rows * row_size);
    };
    source.release = [memory = result_.memory, released, row_size](std::size_t row, std::size_t rows) {
      *released = std::max(*released, row + rows);
      memory->release(row * row_size, rows * row_size);
    };
  }

  void keep(const std::vector<std::size_t>& kept) {
    if (kept.size() == result_.bands.size()) return;
    if (kept.empty())
      throw bad_input("{}: no usable bands: {} constant, {} without values", result_.input.name,
                      result_.constant.size(), result_.empty.size());
    if (!result_.streaming)
      compact(result_.memory->values().first(result_.source.extent.size()), result_.bands.size(), kept);
    if (!result_.observed.empty()) {
      compact(std::span(result_.observed), result_.bands.size(), kept);
      result_.observed.resize(result_.source.extent.pixels() * kept.size());
    }
    result_.bands = pick(result_.bands, kept);
    result_.source.extent.bands = kept.size();
    set_reader();
  }

  void leave_out(BandStatistics& statistics, std::size_t pixels) {
    std::vector<std::size_t> kept;
    // A band that lacks most of its values while others have them is missing as a band; else its pixels are.
    std::size_t least = pixels;
    for (std::size_t missing : statistics.missing)
      least = std::min(least, missing);
    if (least == pixels) throw bad_input("{}: no value is finite: the cube has no data", result_.input.name);
    for (std::size_t b = 0; b < result_.bands.size(); ++b) {
      if (statistics.missing[b] == pixels || statistics.missing[b] > least + (pixels - least) / 2)
        result_.empty.push_back(result_.bands[b]);
      else if (statistics.low[b] == statistics.high[b])
        result_.constant.push_back(result_.bands[b]);
      else
        kept.push_back(b);
    }
    keep(kept);
    statistics.low = pick(statistics.low, kept);
    statistics.high = pick(statistics.high, kept);
    statistics.missing = pick(statistics.missing, kept);
    statistics.negative = pick(statistics.negative, kept);
    result_.low = *std::min_element(statistics.low.begin(), statistics.low.end());
    result_.high = *std::max_element(statistics.high.begin(), statistics.high.end());
    for (std::size_t n : statistics.negative)
      result_.negative_values += n;
  }

  void mark_invalid(const BandStatistics& statistics) {
    const Extent extent = result_.source.extent;
    const std::size_t pixels = extent.pixels(), bands = extent.bands, all_bands = result_.input.info.extent.bands;
    bool missing = options_.mask.has_value();
    for (std::size_t n : statistics.missing)
      missing = missing || n > 0;
    if (options_.partial_pixels) result_.observed.assign(pixels * bands, 1);
    if (!missing) return;
    std::vector<std::uint8_t> valid(pixels, 1);
    const auto masked = [&](std::size_t p, std::size_t k) {
      if (!options_.mask) return false;
      const std::size_t q = result_.first_row * extent.cols + p;
      return options_.mask->values[options_.mask->per_band ? q * all_bands + result_.bands[k] : q] == 0;
    };
    result_.source.each_block([&](std::size_t row, std::size_t rows, std::span<const float> spectra) {
      const std::size_t first = row * extent.cols;
      for (std::size_t p = 0; p < rows * extent.cols; ++p)
        for (std::size_t k = 0; k < bands; ++k)
          if (!std::isfinite(spectra[p * bands + k]) || masked(first + p, k)) {
            valid[first + p] = 0;
            if (options_.partial_pixels) result_.observed[(first + p) * bands + k] = 0;
          }
    });
    auto invalid = static_cast<double>(std::count(valid.begin(), valid.end(), std::uint8_t{0}));
    result_.source.sum_over_members({&invalid, 1});
    result_.invalid_pixels = static_cast<std::size_t>(invalid);
    if (result_.invalid_pixels == 0) return;
    if (result_.invalid_pixels == result_.source.whole().pixels())
      throw bad_input("{}: no pixel has all its {} bands", result_.input.name, bands);
    if (options_.partial_pixels) return;  // the method decides by `observed`
    result_.source.valid = valid;
    if (!result_.streaming)
      for (std::size_t p = 0; p < pixels; ++p)
        if (valid[p] == 0)
          std::fill_n(result_.memory->values().begin() + static_cast<std::ptrdiff_t>(p * bands), bands, 0.0F);
    set_reader();
  }

  void find_dependent() {
    // With pixels that lack some values, the complete ones say how bands depend on each other.
    const bool partial = result_.invalid_pixels > 0 && options_.partial_pixels;
    const Source whole = partial ? complete_only(result_.source, result_.observed) : result_.source;
    result_.gram = gram(whole);
    if (whole.valid_pixels() <= result_.bands.size() + 10)
      return;  // too few pixels to tell: any band would fit the others
    const std::vector<std::uint8_t> dependent = dependent_bands(result_.gram);
    const auto count = static_cast<std::size_t>(std::count(dependent.begin(), dependent.end(), std::uint8_t{1}));
    if (count == 0) return;
    if (2 * count > dependent.size()) {
      result_.below_precision = true;
      return;
    }
    std::vector<std::size_t> kept;
    for (std::size_t b = 0; b < dependent.size(); ++b)
      (dependent[b] != 0 ? result_.dependent : kept).push_back(dependent[b] != 0 ? result_.bands[b] : b);
    Matrix smaller(kept.size(), kept.size());
    for (std::size_t i = 0; i < kept.size(); ++i)
      for (std::size_t j = 0; j < kept.size(); ++j)
        smaller(i, j) = result_.gram(kept[i], kept[j]);
    keep(kept);
    result_.gram = std::move(smaller);
  }

  PrepareOptions options_;
  Prepared result_;
};

}  // namespace

std::size_t machine_memory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
}

Prepared prepare(CubeInput input, const PrepareOptions& options, bool with_gram) {
  return Preparation(std::move(input), options).run(with_gram);
}

ResultWriter::ResultWriter(const Prepared& prepared, CubeOutput& output, Element type, bool residual, bool fill_invalid)
    : prepared_(prepared),
      output_(output),
      type_(type),
      residual_(residual),
      fill_invalid_(fill_invalid),
      power_(prepared.bands.size()),
      lagged_(prepared.bands.size()) {
  const Extent extent = prepared.input.info.extent;
  if (residual_ && output.hdf5() != nullptr)
    output.hdf5()->create_dataset<float>(
        "/residual", {extent.rows, extent.cols, extent.bands},
        {prepared.input.info.units,
         "input minus result",
         {"rows", "cols", "bands"},
         {std::min<std::size_t>(64, extent.rows), std::min<std::size_t>(64, extent.cols), extent.bands},
         {}});
}

Sink ResultWriter::sink() {
  return [this](std::size_t row, std::size_t rows, std::span<const float> spectra) { take(row, rows, spectra); };
}

namespace {

// Adds to power and lag-1 products along a row of what was removed from valid pixels; float sums of a row at most.
FACHWERK_CLONES
void add_residual(const float* noisy, const float* clean, bool valid, std::size_t bands, const float* before,
                  float* __restrict__ here, float* __restrict__ power, float* __restrict__ lagged) {
#pragma omp simd
  for (std::size_t b = 0; b < bands; ++b) {
    const float d = noisy[b] - clean[b];
    const float v = valid && std::abs(d) < INFINITY ? d : 0.0F;
    here[b] = v;
    power[b] += v * v;
    lagged[b] += v * before[b];
  }
}

}  // namespace

void ResultWriter::add_to_statistics(std::size_t row, std::size_t rows, std::span<const float> spectra) {
  const std::size_t cols = prepared_.source.extent.cols, bands = prepared_.source.extent.bands;
  std::vector<float> scratch;
  const std::span<const float> noisy = prepared_.source.read(row, rows, scratch);
#pragma omp parallel
  {
    std::vector<double> power(bands), lagged(bands);
#pragma omp for schedule(static) nowait
    for (std::size_t r = 0; r < rows; ++r) {
      std::vector<float> here(bands), before(bands), row_power(bands), row_lagged(bands);
      for (std::size_t c = 0; c < cols; ++c) {
        const std::size_t p = r * cols + c;
        add_residual(&noisy[p * bands], &spectra[p * bands], prepared_.source.is_valid(row * cols + p), bands,
                     before.data(), here.data(), row_power.data(), row_lagged.data());
        std::swap(here, before);
      }
      for (std::size_t b = 0; b < bands; ++b) {
        power[b] += static_cast<double>(row_power[b]);
        lagged[b] += static_cast<double>(row_lagged[b]);
      }
    }
#pragma omp critical
    for (std::size_t b = 0; b < bands; ++b) {
      power_[b] += power[b];
      lagged_[b] += lagged[b];
    }
  }
}

void ResultWriter::take(std::size_t row, std::size_t rows, std::span<const float> spectra) {
  const Extent file = prepared_.input.info.extent, used = prepared_.source.extent;
  const std::size_t pixels = rows * file.cols, first = row * file.cols, bands = used.bands;
  add_to_statistics(row, rows, spectra);
  for (std::size_t p = 0; p < pixels; ++p)
    count_ += prepared_.source.is_valid(first + p) ? 1 : 0;
  const Timer timer(seconds_);
  row += prepared_.first_row;
  // Bands and pixels that were not worked on come from the file again, bit by bit when the type stays.
  const bool all_bands = bands == file.bands,
             untouched = all_bands && (prepared_.source.valid.empty() || fill_invalid_);
  const std::size_t size = bytes_of(type_);
  std::vector<std::byte> block(pixels * file.bands * size);
  if (untouched) {
    if (type_ == Element::f32)
      output_.write(row, rows, reinterpret_cast<const std::byte*>(spectra.data()));
    else
      convert_floats(spectra, type_, block.data());
  } else {
    if (type_ == prepared_.input.info.type) {
      prepared_.input.read(row, rows, block.data());
    } else {
      std::vector<float> original(pixels * file.bands);
      prepared_.input.read_float(row, rows, original);
      convert_floats(original, type_, block.data());
    }
    std::vector<std::byte> converted(spectra.size() * size);
    convert_floats(spectra, type_, converted.data());
#pragma omp parallel for schedule(static)
    for (std::size_t p = 0; p < pixels; ++p) {
      if (!fill_invalid_ && !prepared_.source.is_valid(first + p)) continue;
      for (std::size_t k = 0; k < bands; ++k)
        std::copy_n(&converted[(p * bands + k) * size], size, &block[(p * file.bands + prepared_.bands[k]) * size]);
    }
  }
  if (!(untouched && type_ == Element::f32)) output_.write(row, rows, block.data());
  if (residual_ && output_.hdf5() != nullptr) {
    std::vector<float> residual(pixels * file.bands), scratch;
    const std::span<const float> noisy = prepared_.source.read(row - prepared_.first_row, rows, scratch);
    for (std::size_t p = 0; p < pixels; ++p)
      for (std::size_t k = 0; k < bands; ++k)
        if (prepared_.source.is_valid(first + p))
          residual[p * file.bands + prepared_.bands[k]] = noisy[p * bands + k] - spectra[p * bands + k];
    output_.hdf5()->write_slab<float>("/residual", {row, 0, 0}, {rows, file.cols, file.bands},
                                      std::span<const float>(residual));
  }
}

void ResultWriter::finish() {
  const Source& source = prepared_.source;
  source.sum_over_members(power_);
  source.sum_over_members(lagged_);
  source.sum_over_members({&count_, 1});
}

std::vector<double> ResultWriter::residual_power() const {
  std::vector<double> power(power_);
  for (double& v : power)
    v /= std::max(count_, 1.0);
  return power;
}

double ResultWriter::residual_correlation() const {
  double sum = 0, count = 0;
  for (std::size_t b = 0; b < power_.size(); ++b)
    if (power_[b] > 0) {
      sum += lagged_[b] / power_[b];
      count += 1;
    }
  return count > 0 ? sum / count : 0;
}

std::vector<std::size_t> parse_bands(const std::string& text, std::size_t bands) {
  const auto number = [&](const std::string& s) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
    if (error != std::errc{} || end != s.data() + s.size())
      throw usage_error("bands \"{}\": expected numbers and ranges as in 0:10,15", text);
    return value;
  };
  std::set<std::size_t> chosen;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    const std::string part = text.substr(from, comma - from);
    const auto colon = part.find(':');
    const std::size_t first = number(part.substr(0, colon)),
                      last = colon == std::string::npos ? first + 1 : number(part.substr(colon + 1));
    if (first >= last || last > bands)
      throw usage_error("bands \"{}\": expected bands below {}, first < last", part, bands);
    for (std::size_t b = first; b < last; ++b)
      chosen.insert(b);
    from = comma + 1;
  }
  return {chosen.begin(), chosen.end()};
}

std::size_t parse_bytes(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const double factor = unit.empty() || unit == "B" ? 1
                        : unit == "K"               ? 1 << 10
                        : unit == "M"               ? 1 << 20
                        : unit == "G"               ? 1 << 30
                        : unit == "T"               ? 1099511627776.0
                                                    : 0;
  if (error != std::errc{} || !(value > 0) || factor == 0)
    throw usage_error("\"{}\": expected a size such as 512M or 4G", text);
  return static_cast<std::size_t>(value * factor);
}

}  // namespace fachwerk::hyde
