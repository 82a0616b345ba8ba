#include "resampling.hpp"

#include <algorithm>

namespace fachwerk::polgraw {

void natural_spline(std::span<const std::complex<double>> y, std::span<const double> at,
                    std::span<std::complex<double>> out) {
  const std::size_t n = y.size();
  // Second derivatives m: m_{i-1} + 4 m_i + m_{i+1} = 6 (y_{i-1} - 2 y_i + y_{i+1}), zero at both ends.
  std::vector<std::complex<double>> m(n);
  std::vector<double> pivot(n);
  for (std::size_t i = 1; i + 1 < n; ++i) {
    pivot[i] = 1 / (4 - pivot[i - 1]);
    m[i] = (6.0 * (y[i - 1] - 2.0 * y[i] + y[i + 1]) - m[i - 1]) * pivot[i];
  }
  for (std::size_t i = n - 1; i-- > 1;)
    m[i] -= pivot[i] * m[i + 1];
  for (std::size_t k = 0; k < at.size(); ++k) {
    const double t = at[k];
    if (!(t >= 0 && t <= static_cast<double>(n - 1))) {
      out[k] = 0;
      continue;
    }
    const auto i = std::min(static_cast<std::size_t>(t), n - 2);
    const double b = t - static_cast<double>(i), a = 1 - b;
    out[k] = a * y[i] + b * y[i + 1] + ((a * a * a - a) * m[i] + (b * b * b - b) * m[i + 1]) / 6.0;
  }
}

PlainResampler::PlainResampler(std::size_t N, std::size_t nfft, int pad, compute::fft::Planner planner)
    : N_(N),
      nfft_(nfft),
      padded_(nfft * static_cast<std::size_t>(pad)),
      pad_(pad),
      forward_(nfft, {.planner = planner, .directions = compute::fft::Directions::forward, .in_place = true}),
      backward_(padded_, {.planner = planner, .directions = compute::fft::Directions::inverse, .in_place = true}),
      work_(nfft),
      spectrum_(padded_) {}

void PlainResampler::operator()(std::span<const std::complex<double>> y, std::span<const double> time,
                                std::span<std::complex<double>> out) {
  std::fill(std::ranges::copy(y, work_.begin()).out, work_.end(), 0.0);
  forward_.forward(work_, work_);
  // Bins 0..nfft/2 stay at the bottom, the others go to the top of the longer spectrum.
  const auto low = static_cast<std::ptrdiff_t>(nfft_ / 2 + 1);
  std::ranges::fill(spectrum_, 0.0);
  std::copy(work_.begin(), work_.begin() + low, spectrum_.begin());
  std::copy_backward(work_.begin() + low, work_.end(), spectrum_.end());
  backward_.inverse(spectrum_, spectrum_);
  const std::size_t points = N_ * static_cast<std::size_t>(pad_);
  const double scale = 1 / static_cast<double>(nfft_);
  for (std::size_t i = 0; i < points; ++i)
    spectrum_[i] *= scale;
  at_.resize(time.size());
  std::ranges::transform(time, at_.begin(), [&](double t) { return pad_ * t; });
  natural_spline({spectrum_.data(), points}, at_, out);
}

void extend_delay(std::span<double> delay, std::size_t n) {
  const double slope = delay[n - 1] - delay[n - 2];
  for (std::size_t i = n; i < delay.size(); ++i)
    delay[i] = delay[n - 1] + static_cast<double>(i - n + 1) * slope;
}

void detector_times(std::span<const double> delay, bool refine, std::span<double> time) {
  std::vector<double> extended(std::max(time.size(), delay.size()) + 1);
  std::ranges::copy(delay, extended.begin());
  extend_delay(extended, delay.size());
  const auto last = static_cast<double>(delay.size() - 1);
  for (std::size_t i = 0; i < time.size(); ++i) {
    const auto barycentric = static_cast<double>(i);
    time[i] = barycentric - extended[i];
    if (!refine) continue;
    const double inside = std::clamp(time[i], 0.0, last);
    const auto k = static_cast<std::size_t>(inside);
    time[i] = barycentric - (extended[k] + (inside - static_cast<double>(k)) * (extended[k + 1] - extended[k]));
  }
}

}  // namespace fachwerk::polgraw
