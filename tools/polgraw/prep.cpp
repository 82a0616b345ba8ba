#include "prep.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <map>

#include "cli/error.hpp"
#include "compute/fft.hpp"
#include "compute/random.hpp"

namespace fachwerk::polgraw {

namespace {

template <class T>
T load(const std::byte* from, bool swap) {
  std::array<std::byte, sizeof(T)> raw;
  std::copy_n(from, sizeof(T), raw.begin());
  if (swap) std::ranges::reverse(raw);
  return std::bit_cast<T>(raw);
}

/// Regularised incomplete beta function by its continued fraction (Lentz's method).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  const double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x)) / a;
  double f = 1, c = 1, d = 0;
  for (int i = 0; i < 400; ++i) {
    const int m = i / 2;
    const double numerator = i == 0       ? 1
                             : i % 2 == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                          : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + numerator * d);
    c = 1 + numerator / c;
    f *= c * d;
    if (std::abs(1 - c * d) < 1e-14) break;
  }
  return front * (f - 1);
}

/// Probability that Student's t with `nu` degrees of freedom exceeds t >= 0.
double student_tail(double t, double nu) {
  return incomplete_beta(nu / 2, 0.5, nu / (nu + t * t)) / 2;
}

double replacement_value(Replacement replacement, double sigma, compute::Stream& random) {
  // A drawn value is never exactly 0, which stands for missing data.
  return replacement == Replacement::zero ? 0 : sigma * random.normal();
}

}  // namespace

std::vector<ShortTransform> parse_sft(std::span<const std::byte> bytes, const std::string& file) {
  constexpr std::size_t header = 48;
  std::vector<ShortTransform> transforms;
  for (std::size_t at = 0; at < bytes.size();) {
    if (bytes.size() - at < header) throw bad_input("{}: truncated header at byte {}", file, at);
    const std::byte* h = bytes.data() + at;
    bool swap = false;
    double version = load<double>(h, swap);
    if (version != 2 && version != 3) swap = true, version = load<double>(h, swap);
    if (version != 2 && version != 3) throw bad_input("{}: byte {}: expected an SFT of version 2 or 3", file, at);
    ShortTransform t;
    t.gps = load<std::int32_t>(h + 8, swap) + 1e-9 * load<std::int32_t>(h + 12, swap);
    t.length = load<double>(h + 16, swap);
    const auto first = load<std::int32_t>(h + 24, swap), count = load<std::int32_t>(h + 28, swap),
               comment = load<std::int32_t>(h + 44, swap);
    if (!(t.length > 0 && t.length < 1e7) || first < 0 || count < 1 || comment < 0)
      throw bad_input("{}: byte {}: header with length {}, first bin {}, {} bins, {} bytes of comment", file, at,
                      t.length, first, count, comment);
    const std::size_t data = header + static_cast<std::size_t>(comment),
                      size = data + 8 * static_cast<std::size_t>(count);
    if (size > bytes.size() - at)
      throw bad_input("{}: byte {}: expected {} bytes, found {}", file, at, size, bytes.size() - at);
    t.first_bin = static_cast<std::size_t>(first);
    t.bins.resize(static_cast<std::size_t>(count));
    for (std::size_t k = 0; k < t.bins.size(); ++k) {
      t.bins[k] = {load<float>(h + data + 8 * k, swap), load<float>(h + data + 8 * k + 4, swap)};
      if (!std::isfinite(t.bins[k].real()) || !std::isfinite(t.bins[k].imag()))
        throw bad_input("{}: transform at GPS {:.0f}, bin {}: not finite", file, t.gps, t.first_bin + k);
    }
    transforms.push_back(std::move(t));
    at += size;
  }
  return transforms;
}

namespace {

/// The numbers of a line; false if something else is in it.
bool numbers_of(std::string_view line, std::vector<double>& numbers) {
  numbers.clear();
  for (;;) {
    const auto begin = line.find_first_not_of(" \t\r,");
    if (begin == std::string_view::npos) return true;
    line.remove_prefix(begin);
    const auto word = line.substr(0, line.find_first_of(" \t\r,"));
    double value = 0;
    const auto [at, error] = std::from_chars(word.data() + (word[0] == '+' ? 1 : 0), word.data() + word.size(), value);
    if (error != std::errc{} || at != word.data() + word.size() || !std::isfinite(value)) return false;
    numbers.push_back(value);
    line.remove_prefix(word.size());
  }
}

}  // namespace

std::vector<ShortTransform> parse_text_transforms(std::string_view text, const std::string& file) {
  std::vector<ShortTransform> transforms;
  std::vector<double> numbers;
  double length = 0, band_start = 0, scale = 1;
  for (int number = 1; !text.empty(); ++number) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('%')) {
      line.remove_prefix(std::min(line.find_first_not_of("% \t"), line.size()));
      const auto key = line.substr(0, line.find_first_of(" \t:="));
      line.remove_prefix(key.size());
      line.remove_prefix(std::min(line.find_first_not_of(" \t:="), line.size()));
      if (key != "gps" && key != "length" && key != "band_start" && key != "scale") continue;
      if (!numbers_of(line, numbers) || numbers.size() != 1)
        throw bad_input("{}: line {}: expected a number after {}", file, number, key);
      if (key == "length") length = numbers[0];
      if (key == "band_start") band_start = numbers[0];
      if (key == "scale") scale = numbers[0];
      if (key != "gps") continue;
      if (!(length > 0 && length < 1e7) || !(band_start >= 0 && band_start < 1e6))
        throw bad_input("{}: line {}: expected length (s) and band_start (Hz) before gps", file, number);
      transforms.push_back({numbers[0], length, static_cast<std::size_t>(std::llround(band_start * length)), {}});
      continue;
    }
    if (!numbers_of(line, numbers)) throw bad_input("{}: line {}: expected re im", file, number);
    if (numbers.empty()) continue;
    if (numbers.size() != 2 || transforms.empty())
      throw bad_input("{}: line {}: expected re im after a line % gps, found {} numbers", file, number, numbers.size());
    transforms.back().bins.push_back(scale * std::complex<double>(numbers[0], numbers[1]));
  }
  return transforms;
}

std::vector<double> band_from_transforms(std::span<const ShortTransform> transforms, double fpo, double dt,
                                         double start, std::size_t N) {
  std::vector<double> x(N);
  const double width = 0.5 / dt;
  std::map<std::size_t, compute::fft::Complex<double>> plans;
  for (const auto& t : transforms) {
    const auto low = static_cast<std::int64_t>(std::llround(fpo * t.length));
    const auto count = static_cast<std::int64_t>(std::llround(width * t.length));
    if (low < static_cast<std::int64_t>(t.first_bin) ||
        low + count > static_cast<std::int64_t>(t.first_bin + t.bins.size()))
      throw bad_input("the transform at GPS {:.0f} has {} to {} Hz: expected the band {} to {} Hz", t.gps,
                      static_cast<double>(t.first_bin) / t.length,
                      static_cast<double>(t.first_bin + t.bins.size()) / t.length, fpo, fpo + width);
    if (std::abs(static_cast<double>(count) - width * t.length) > 1e-6)
      throw bad_input("the transform at GPS {:.0f} lasts {} s: not a whole number of {} samples of {} s", t.gps,
                      t.length, 2 * count, dt);
    const auto length = static_cast<std::size_t>(2 * count);
    const auto plan =
        plans.try_emplace(length, length, compute::fft::Options{.directions = compute::fft::Directions::inverse}).first;
    std::vector<std::complex<double>> spectrum(length), series(length);
    std::copy_n(t.bins.begin() + static_cast<std::ptrdiff_t>(low - static_cast<std::int64_t>(t.first_bin)), count,
                spectrum.begin());
    plan->second.inverse(spectrum, series);
    // Phase of the mixing at this transform's start. fpo is not a bin: what is left of it turns slowly in the stretch.
    const double offset = fpo - static_cast<double>(low) / t.length;
    const double first = (t.gps - start) / dt;
    const auto begin = static_cast<std::int64_t>(std::llround(first));
    for (std::size_t k = length / 4; k < length - length / 4; ++k) {
      const std::int64_t at = begin + static_cast<std::int64_t>(k);
      if (at < 0 || at >= static_cast<std::int64_t>(N)) continue;
      const double phase = -2 * pi * (std::fmod(fpo * (t.gps - start), 1.0) + offset * dt * static_cast<double>(k));
      x[static_cast<std::size_t>(at)] = 2 / t.length * (series[k] * std::polar(1.0, phase)).real();
    }
  }
  return x;
}

std::vector<ShortTransform> transforms_from_series(std::span<const double> strain, double rate, double series_start,
                                                   double length, double fpo, double width) {
  const auto n = static_cast<std::size_t>(std::llround(length * rate));
  if (n < 4 || fpo + width > rate / 2)
    throw bad_input("the series is sampled at {} Hz: expected more than {} Hz", rate, 2 * (fpo + width));
  std::vector<ShortTransform> transforms;
  if (strain.size() < n) return transforms;
  const compute::fft::Real<double> plan(n, {.directions = compute::fft::Directions::forward});
  const auto low = static_cast<std::size_t>(std::max(0.0, std::floor(fpo * length) - 1)),
             count = static_cast<std::size_t>(std::ceil(width * length) + 4);
  std::vector<std::complex<double>> spectrum(n / 2 + 1);
  for (std::size_t begin = 0; begin + n <= strain.size(); begin += n / 2) {
    const auto part = strain.subspan(begin, n);
    if (!std::ranges::all_of(part, [](double v) { return std::isfinite(v); })) continue;
    std::vector<double> copy(part.begin(), part.end());
    plan.forward(copy, spectrum);
    ShortTransform t{series_start + static_cast<double>(begin) / rate, length, low, {}};
    for (std::size_t k = low; k < std::min(low + count, spectrum.size()); ++k)
      t.bins.push_back(spectrum[k] / rate);
    transforms.push_back(std::move(t));
  }
  return transforms;
}

void apply_segments(std::span<double> x, double gps_start, double dt, std::span<const std::array<double, 2>> segments,
                    double taper) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gps = gps_start + dt * static_cast<double>(i);
    double weight = 0;
    for (const auto& s : segments) {
      if (gps < s[0] || gps >= s[1]) continue;
      const double edge = std::min({gps - s[0], s[1] - gps}), ramp = std::min(taper, (s[1] - s[0]) / 2);
      weight = std::max(weight, edge >= ramp || ramp == 0 ? 1.0 : 0.5 - 0.5 * std::cos(pi * edge / ramp));
    }
    x[i] *= weight;
  }
}

std::vector<std::array<double, 2>> narrowed_segments(std::span<const double> x, double gps_start, double dt,
                                                     std::span<const std::array<double, 2>> segments, double factor,
                                                     double reach) {
  const double limit = factor * std::sqrt(noise_variance(x));
  std::vector<std::array<double, 2>> kept;
  for (const auto& segment : segments) {
    const auto sample = [&](double gps) {
      return static_cast<std::size_t>(
          std::clamp(std::ceil((gps - gps_start) / dt), 0.0, static_cast<double>(x.size())));
    };
    auto [lo, hi] = segment;
    for (std::size_t i = sample(segment[0]); i < sample(std::min(segment[0] + reach, segment[1])); ++i)
      if (std::abs(x[i]) > limit) lo = gps_start + dt * static_cast<double>(i + 1);
    for (std::size_t i = sample(segment[1]); i-- > sample(std::max(segment[1] - reach, lo));)
      if (std::abs(x[i]) > limit) hi = gps_start + dt * static_cast<double>(i);
    if (lo < hi) kept.push_back({lo, hi});
  }
  return kept;
}

std::size_t replace_outliers(std::span<double> x, double factor, Replacement replacement, std::uint64_t seed) {
  const double sigma = std::sqrt(noise_variance(x));
  compute::Stream random(seed, 0, 6000);
  std::size_t count = 0;
  for (double& v : x)
    if (std::abs(v) > factor * sigma) v = replacement_value(replacement, sigma, random), ++count;
  return count;
}

double grubbs_critical(std::size_t n, double alpha) {
  const auto count = static_cast<double>(n);
  const double nu = count - 2, tail = alpha / (2 * count);
  double lo = 0, hi = 1e3;
  while (student_tail(hi, nu) > tail)
    hi *= 10;
  for (int step = 0; step < 200; ++step) {
    const double middle = (lo + hi) / 2;
    (student_tail(middle, nu) > tail ? lo : hi) = middle;
  }
  return (count - 1) / std::sqrt(count) * std::sqrt(lo * lo / (nu + lo * lo));
}

std::size_t replace_grubbs(std::span<double> x, double alpha, std::size_t buffer, Replacement replacement,
                           std::uint64_t seed) {
  std::vector<std::size_t> present;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] != 0) present.push_back(i);
  compute::Stream random(seed, 1, 6000);
  std::size_t count = 0;
  for (std::size_t begin = 0; begin < present.size(); begin += buffer) {
    std::vector<std::size_t> order(
        present.begin() + static_cast<std::ptrdiff_t>(begin),
        present.begin() + static_cast<std::ptrdiff_t>(std::min(present.size(), begin + buffer)));
    std::ranges::sort(order, {}, [&](std::size_t i) { return x[i]; });
    // Outliers leave from the two ends of the sorted values; sums follow.
    std::size_t lo = 0, hi = order.size();
    double sum = 0, squares = 0;
    for (std::size_t i : order)
      sum += x[i], squares += x[i] * x[i];
    while (hi - lo > 3) {
      const auto n = static_cast<double>(hi - lo);
      const double mean = sum / n, sigma = std::sqrt(std::max(0.0, (squares - n * mean * mean) / (n - 1)));
      const bool low = mean - x[order[lo]] > x[order[hi - 1]] - mean;
      const std::size_t at = low ? order[lo] : order[hi - 1];
      if (!(std::abs(x[at] - mean) > grubbs_critical(hi - lo, alpha) * sigma)) break;
      sum -= x[at];
      squares -= x[at] * x[at];
      x[at] = replacement_value(replacement, sigma, random);
      ++count;
      low ? ++lo : --hi;
    }
  }
  return count;
}

std::vector<FoundLine> find_lines(std::span<const double> data, const Band& band, const LineSearch& settings) {
  std::vector<double> x(data.begin(), data.end());
  const std::size_t n = band.nfft * static_cast<std::size_t>(settings.pad), half = n / 2;
  const compute::fft::Real<double> plan(n, {.directions = compute::fft::Directions::forward});
  const double threshold =
      -std::log(-std::expm1(std::log1p(-settings.alpha) / static_cast<double>(half)));  // power of noise is exponential
  std::vector<FoundLine> found;
  std::vector<double> padded(n), power(half);
  std::vector<std::complex<double>> spectrum(half + 1);
  const std::size_t least = std::max<std::size_t>(settings.exclude, 1), last = half - std::min(half, settings.exclude);
  while (found.size() < settings.most) {
    std::fill(std::ranges::copy(x, padded.begin()).out, padded.end(), 0.0);
    plan.forward(padded, spectrum);
    for (std::size_t k = 0; k < half; ++k)
      power[k] = std::norm(spectrum[k]);
    std::size_t peak = 0;
    double highest = 0;
    for (std::size_t begin = 0; begin < half; begin += settings.nav) {
      const std::size_t end = std::min(half, begin + settings.nav);
      double mean = 0;
      for (std::size_t k = begin; k < end; ++k)
        mean += power[k] / static_cast<double>(end - begin);
      for (std::size_t k = std::max(begin, least); k < std::min(end, last); ++k)
        if (mean > 0 && power[k] / mean > highest) highest = power[k] / mean, peak = k;
    }
    if (!(highest > threshold) || peak + 1 >= half) break;
    // The periodogram's maximum by a parabola, then the sinusoid's amplitudes by least squares.
    const double a = power[peak - 1], b = power[peak], c = power[peak + 1], bend = a - 2 * b + c;
    const double bin = static_cast<double>(peak) + (settings.refine && bend < 0 ? 0.5 * (a - c) / bend : 0);
    const double omega = 2 * pi * bin / static_cast<double>(n);
    double cc = 0, ss = 0, cs = 0, xc = 0, xs = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] == 0) continue;
      const double co = std::cos(omega * static_cast<double>(i)), si = std::sin(omega * static_cast<double>(i));
      cc += co * co, ss += si * si, cs += co * si, xc += x[i] * co, xs += x[i] * si;
    }
    const double D = cc * ss - cs * cs;
    if (!(D > 0)) break;
    const double p = (ss * xc - cs * xs) / D, q = (cc * xs - cs * xc) / D;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (x[i] != 0)
        x[i] -= p * std::cos(omega * static_cast<double>(i)) + q * std::sin(omega * static_cast<double>(i));
    found.push_back({band.frequency(omega), std::hypot(p, q), highest, std::atan2(-q, p)});
  }
  return found;
}

}  // namespace fachwerk::polgraw
