#pragma once

#include <functional>
#include <memory>

#include "amplitude.hpp"
#include "compute/fft.hpp"
#include "fstatistic.hpp"
#include "grid.hpp"

/// All-sky search of one frame and band: the F-statistic on every grid point, and the triggers above threshold
/// (Poghosyan et al. 2015, sec. 2; Astone et al. 2010).
namespace fachwerk::polgraw {

/// Data of one frame and band, from every detector, with the grid on which it is searched.
struct Observation {
  Band band;
  std::vector<Series> detectors;
  Grid grid;
  std::optional<SkyPosition> directed = {};  ///< the only one; the grid's sky vectors have no meaning then
  double obliquity = mean_obliquity;
  std::optional<double> mixing_gps = {};  ///< when the phase of the mixing down to fpo was 0, s
};

enum class Precision { double_precision, mixed };

/// How F is computed. The defaults are the method as it should be; `compatible` gives the original's serial branch.
struct SearchSettings {
  Form form = Form::full;
  Norm norm = Norm::block;
  Peaks peaks = Peaks::run;
  double threshold = 20;
  std::size_t nav = normalisation_block;
  double guard_hz = -1;           ///< band edge left out at both ends; negative: the original's 4096 B bins
  bool mask_gaps = true;          ///< a = b = 0 where data is missing
  bool common_shift = true;       ///< one shift_0 for all detectors, and the spindown phase that follows from it
  bool drop_remainder = false;    ///< the original's error: bins after the last whole block stay raw
  bool einstein_in_axes = false;  ///< shift = n.(r + einstein (1,1,1)), the original's ephemeris
  bool refine_times = true;       ///< second step of the inversion t + delay(t) = i
  bool interbin = false;          ///< F between the bins too (fftpad 1)
  bool keep_tail = true;          ///< the resampled series is as much longer than N as the delay grows
  int interpolation_pad = 4;      ///< plain form: oversampling before the spline; the original's is 2
  compute::fft::Planner planner = compute::fft::Planner::measure;
};
SearchSettings compatible(bool openmp_branch);

struct Bins {
  std::size_t lo = 0, hi = 0;  ///< searched bins [lo, hi) of fftpad * nfft
};
Bins search_bins(const Band& band, int fftpad, const SearchSettings& settings);

struct Trigger {
  double omega = 0, s = 0, delta = 0, alpha = 0, snr = 0;
  int hemisphere = 1, mm = 0, nn = 0, ss = 0, bin = 0;
  int tt = 0;     ///< number of the second spindown
  double s2 = 0;  ///< second spindown, pi fddot dt^3 / 3, rad/sample^3
  int half = 0;   ///< 1: half a bin above `bin` (interbinning)
};

/// Frequency intervals in omega that are not searched, in increasing order, and the part of the band that is.
struct Exclusions {
  std::vector<std::array<double, 2>> omega;
  double narrowdown = 0.5;  ///< triggers with |omega - pi/2| >= narrowdown pi are dropped; 0.5 is off
  bool rejects(double value) const;
};

/// The plain form: libm sincos for every sample, detector and spindown; full-rate transforms. Not fast; each line is an
/// equation. Holds buffers: one object a thread.
class PlainEngine {
 public:
  PlainEngine(const Observation& observation, const SearchSettings& settings);

  /// Demodulates, resamples and weights the data for one sky point.
  void set_sky(const SkyPoint& point);
  void move_to(const SkyPoint& point) { point_ = point; }  ///< another second spindown at the same sky position
  void adopt(const PlainEngine& other);                    ///< the sky point of another engine
  /// F in the searched bins for spindown number ss of the current sky point, normalised; with interbinning each
  /// followed by the value half a bin above.
  const std::vector<double>& f_statistic(int ss);
  const AntennaSums& sums() const { return sums_; }

 private:
  struct Resampled {
    std::vector<std::complex<double>> a, b;
    std::vector<double> shift;
  };
  std::vector<double> f_of_bins(int ss, bool half);
  const Observation& observation_;
  SearchSettings settings_;
  Bins bins_;
  std::vector<std::size_t> blocks_;
  std::vector<AmplitudeModulation> modulation_;
  struct Plans;
  std::shared_ptr<Plans> plans_;
  std::vector<Resampled> resampled_;
  SkyPoint point_;
  AntennaSums sums_, half_sums_;
  std::vector<double> F_;
};

/// The window of half-bins (Poghosyan et al. 2015, interbinning): half a bin above bin k F is that of the data times 2
/// cos(pi (t - (N - 1) / 2) / nfft), whose transform there is the sum of X_k and X_k+1 with the middle of the data as
/// origin. For N = nfft that is (X_k - X_k+1) / sqrt 2 but for its scale.
inline double half_bin_window(const Band& band, double t) {
  return 2 * std::cos(pi * (t - static_cast<double>(band.N - 1) / 2) / static_cast<double>(band.nfft));
}

/// How many samples more than N the resampled series has: the most by which a delay can grow in the frame, as far as
/// the transform has room. Without them the last samples of data are lost wherever the detector moves away from the
/// source.
std::size_t resampled_tail(const Observation& observation);

/// n.r, plus the Einstein delay, less the Shapiro delay where the ephemeris has the Sun, at every sample, in samples.
void barycentric_shift(const Ephemeris& ephemeris, const Vector3& n, double dt, bool einstein_in_axes,
                       std::span<double> shift);

/// Triggers of one template from its F values.
void collect_triggers(const Observation& observation, const SearchSettings& settings, const SkyPoint& point, int ss,
                      std::span<const double> F, const Exclusions& exclusions, std::vector<Trigger>& out);
Trigger make_trigger(const Observation& observation, const SkyPoint& point, int ss, double bin, double F);

/// Spindowns of the sky point that `engine` is at: a PlainEngine, a FastEngine or a DeviceEngine.
template <class Engine>
void search_spindowns(Engine& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out);
/// The same after moving there.
template <class Engine>
void search_sky_point(Engine& engine, const Observation& observation, const SearchSettings& settings,
                      const SkyPoint& point, Range spindowns, const Exclusions& exclusions, std::vector<Trigger>& out) {
  engine.set_sky(point);
  search_spindowns(engine, observation, settings, point, spindowns, exclusions, out);
}

}  // namespace fachwerk::polgraw
