#include "compute/fft.hpp"

#include <cmath>
#include <complex>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include <doctest.h>

#include "algebra.hpp"
#include "cli/error.hpp"

using namespace fachwerk;
using namespace fachwerk::compute;
using fachwerk::test::unit;

namespace {

template <class T>
using Values = std::vector<std::complex<T>>;

template <class T>
Values<T> random_complex(std::size_t n, std::uint64_t seed) {
  Values<T> x(n);
  Stream stream(seed, 1);
  for (auto& value : x) {
    const double re = stream.normal();
    value = std::complex<T>(T(re), T(stream.normal()));
  }
  return x;
}

template <class T>
std::vector<T> random_real(std::size_t n, std::uint64_t seed) {
  std::vector<T> x(n);
  Stream stream(seed, 2);
  for (T& value : x)
    value = T(stream.normal());
  return x;
}

constexpr long double pi = 3.141592653589793238462643383279502884L;

/// The definition, over a (rows x columns) array.
template <class T>
Values<T> plain_dft(const Values<T>& x, std::size_t rows, std::size_t columns, int sign) {
  using Wide = long double;
  Values<T> result(x.size());
  for (std::size_t p = 0; p < rows; ++p)
    for (std::size_t q = 0; q < columns; ++q) {
      std::complex<Wide> s = 0;
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j)
          s += std::complex<Wide>(x[i * columns + j]) *
               std::polar(Wide(1),
                          sign * 2 * pi * (Wide(p * i % rows) / Wide(rows) + Wide(q * j % columns) / Wide(columns)));
      result[p * columns + q] = std::complex<T>(s);
    }
  return result;
}

template <class T>
double distance(const Values<T>& a, const Values<T>& b) {
  double most = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double d = std::abs(std::complex<double>(a[i]) - std::complex<double>(b[i]));
    if (!(d <= most)) most = d;
  }
  return most;
}

template <class T>
void check_complex(Device device) {
  for (const std::size_t n : {1UL, 2UL, 7UL, 16UL, 30UL}) {
    const std::size_t batch = 3;
    const Values<T> x = random_complex<T>(n * batch, n);
    for (const bool in_place : {false, true}) {
      const fft::Complex<T> transform({n, batch}, {.in_place = in_place, .device = device});
      Buffer<std::complex<T>> in(device, x), out(device, x.size());
      Buffer<std::complex<T>>& result = in_place ? in : out;
      transform.forward(in, result);
      const Values<T> spectrum = result.vector();
      for (std::size_t b = 0; b < batch; ++b) {
        const Values<T> one(x.begin() + long(b * n), x.begin() + long((b + 1) * n));
        const Values<T> got(spectrum.begin() + long(b * n), spectrum.begin() + long((b + 1) * n));
        CHECK(distance(got, plain_dft(one, 1, n, -1)) < 100 * unit<T>);
      }
      transform.inverse(result, in);
      Values<T> back = in.vector();
      for (auto& value : back)
        value /= T(n);
      CHECK(distance(back, x) < 20 * unit<T>);
    }
  }
  const Values<T> x = random_complex<T>(6 * 10, 5);
  const fft::Complex<T> plane(std::vector<std::size_t>{6, 10}, {.device = device});
  Buffer<std::complex<T>> in(device, x), out(device, x.size());
  plane.forward(in, out);
  CHECK(distance(out.vector(), plain_dft(x, 6, 10, -1)) < 200 * unit<T>);
  plane.inverse(in, out);
  CHECK(distance(out.vector(), plain_dft(x, 6, 10, +1)) < 200 * unit<T>);
}

template <class T>
void check_real(Device device) {
  for (const std::size_t rows : {1UL, 4UL})
    for (const std::size_t n : {1UL, 2UL, 9UL, 32UL}) {
      const std::size_t batch = 2, half = n / 2 + 1;
      const std::vector<T> x = random_real<T>(rows * n * batch, n);
      const fft::Real<T> transform(fft::Layout({rows, n}, batch), {.device = device});
      CHECK(transform.layout().half_length() == rows * half);
      const Buffer<T> in(device, x);
      Buffer<std::complex<T>> out(device, rows * half * batch);
      transform.forward(in, out);
      const Values<T> spectrum = out.vector();
      for (std::size_t b = 0; b < batch; ++b) {
        const Values<T> one(x.begin() + long(b * rows * n), x.begin() + long((b + 1) * rows * n));
        const Values<T> full = plain_dft(one, rows, n, -1);
        for (std::size_t p = 0; p < rows; ++p)
          for (std::size_t q = 0; q < half; ++q)
            REQUIRE(std::abs(std::complex<double>(spectrum[(b * rows + p) * half + q]) -
                             std::complex<double>(full[p * n + q])) < 200 * unit<T>);
      }
      Buffer<T> back(device, x.size());
      transform.inverse(out, back);
      std::vector<T> scaled = back.vector();
      for (T& value : scaled)
        value /= T(rows * n);
      CHECK(test::distance(scaled, x) < 20 * unit<T>);
    }
}

template <class T>
void check_cosine() {
  using Wide = long double;
  const std::size_t rows = 3, n = 8;
  const std::vector<T> x = random_real<T>(rows * n, 1);
  std::vector<T> expected(x.size()), got(x.size()), back(x.size());
  for (std::size_t p = 0; p < rows; ++p)
    for (std::size_t q = 0; q < n; ++q) {
      Wide s = 0;
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < n; ++j)
          s += 4 * Wide(x[i * n + j]) * std::cos(pi * (Wide(i) + 0.5L) * Wide(p) / Wide(rows)) *
               std::cos(pi * (Wide(j) + 0.5L) * Wide(q) / Wide(n));
      expected[p * n + q] = T(s);
    }
  const fft::Cosine<T> transform(std::vector<std::size_t>{rows, n});
  transform.forward(x, got);
  CHECK(test::distance(got, expected) < 200 * unit<T>);
  transform.inverse(got, back);
  for (T& value : back)
    value /= T(4 * rows * n);
  CHECK(test::distance(back, x) < 20 * unit<T>);
}

/// A folder that goes away.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fachwerk-wisdom-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("complex transforms, double") {
  check_complex<double>({});
}
TEST_CASE("complex transforms, float") {
  check_complex<float>({});
}
TEST_CASE("real transforms, double") {
  check_real<double>({});
}
TEST_CASE("real transforms, float") {
  check_real<float>({});
}
TEST_CASE("cosine transforms, double") {
  check_cosine<double>();
}
TEST_CASE("cosine transforms, float") {
  check_cosine<float>();
}

TEST_CASE("transforms on a CUDA device") {
  std::string reason;
  if (cuda_devices(&reason) == 0) {
    MESSAGE("skipped, needs a CUDA device: ", reason);
    return;
  }
  const Device device = Device::parse("cuda");
  check_complex<double>(device);
  check_complex<float>(device);
  check_real<double>(device);
  check_real<float>(device);
}

TEST_CASE("three axes: a plane wave has one coefficient") {
  const std::size_t a = 4, b = 3, c = 5;
  Values<double> wave(a * b * c), spectrum(a * b * c);
  for (std::size_t i = 0; i < a; ++i)
    for (std::size_t j = 0; j < b; ++j)
      for (std::size_t k = 0; k < c; ++k)
        wave[(i * b + j) * c + k] =
            std::polar(1.0, 2 * double(pi) * (double(3 * i) / 4 + double(j) / 3 + double(2 * k) / 5));
  fft::Complex<double>(std::vector{a, b, c}).forward(wave, spectrum);
  for (std::size_t i = 0; i < spectrum.size(); ++i)
    CHECK(std::abs(spectrum[i] - (i == (3 * b + 1) * c + 2 ? 60.0 : 0.0)) < 1e-13);
}

TEST_CASE("arrays that are not aligned, planned with more effort and threads") {
  const std::size_t n = 120;
  const std::vector<float> x = random_real<float>(n + 1, 1);
  Values<float> y(n / 2 + 1), z(n / 2 + 1);
  const fft::Real<float> transform(n, {.planner = fft::Planner::measure, .threads = 2});
  transform.forward(std::span(x).subspan(1), y);
  transform.forward(std::vector<float>(x.begin() + 1, x.end()), z);
  CHECK(distance(y, z) < 1e-4);
  CHECK(std::abs(y[0]) > 0);
}

TEST_CASE("plans may be made, used and destroyed by several threads") {
  const std::size_t n = 512;
  const Values<double> x = random_complex<double>(n, 3);
  const Values<double> expected = plain_dft(x, 1, n, -1);
  const fft::Complex<double> shared(n);
  std::vector<double> error(8);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < error.size(); ++t)
    threads.emplace_back([&, t] {
      Values<double> y(n), z(n);
      shared.forward(x, y);
      fft::Complex<double>(n, {.planner = fft::Planner::measure}).forward(x, z);
      error[t] = distance(y, expected) + distance(z, expected);
    });
  for (std::thread& thread : threads)
    thread.join();
  for (const double e : error)
    CHECK(e < 1e-11);
}

TEST_CASE("transforms refuse what was not planned") {
  Values<double> x(8), y(8);
  const fft::Complex<double> transform(8, {.directions = fft::Directions::forward});
  CHECK_THROWS_AS(transform.inverse(x, y), std::logic_error);
  CHECK_THROWS_AS(transform.forward(x, x), std::invalid_argument);
  CHECK_THROWS_AS(transform.forward(std::span(x).subspan(1), y), std::invalid_argument);
  CHECK_THROWS_AS(fft::Complex<double>(0), std::invalid_argument);
  CHECK_THROWS_AS(fft::Complex<double>(std::vector<std::size_t>{}), std::invalid_argument);
  CHECK_THROWS_AS(fft::Real<double>(8, {.in_place = true}), std::invalid_argument);
  Values<double> none;
  CHECK_NOTHROW(fft::Complex<double>({8, 0}).forward(none, none));
}

TEST_CASE("wisdom of both precisions in one file") {
  const Folder folder;
  const std::string path = folder.path / "new" / "wisdom";
  CHECK(!fft::load_wisdom(path));
  fft::Complex<double>(360, {.planner = fft::Planner::measure});
  fft::Complex<float>(360, {.planner = fft::Planner::measure});
  fft::save_wisdom(path);
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  CHECK(text.find("fftw_wisdom") != std::string::npos);
  CHECK(text.find("fftwf_wisdom") != std::string::npos);
  CHECK(fft::load_wisdom(path));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path / "new"), {}) == 1);
  for (const char* wrong : {"", "not wisdom", "(fftw", ")(", "(fftw-9 fftw_wisdom #x0 #x0 #x0 #x0\n)"}) {
    const std::string damaged = folder.path / "damaged";
    std::ofstream(damaged) << wrong;
    CHECK_THROWS_AS(fft::load_wisdom(damaged), Error);
    CHECK_NOTHROW(fft::save_wisdom(damaged));
    CHECK(fft::load_wisdom(damaged));
  }
  CHECK_THROWS_AS(fft::save_wisdom(folder.path / "damaged" / "below-a-file"), Error);
  setenv("XDG_CACHE_HOME", folder.path.c_str(), 1);
  CHECK(fft::wisdom_path().starts_with((folder.path / "fachwerk" / "wisdom-").string()));
  unsetenv("XDG_CACHE_HOME");
}
