#include "compute/device.hpp"

#include <cstdint>
#include <numeric>
#include <vector>

#include <doctest.h>

#include "cli/error.hpp"
#include "compute/buffer.hpp"
#include "compute/isa.hpp"

using namespace fachwerk;
using namespace fachwerk::compute;

namespace {
Exit code_of(const std::string& text) {
  try {
    Device::parse(text);
  } catch (const Error& error) {
    return error.code();
  }
  return Exit::done;
}
}  // namespace

TEST_CASE("--device words") {
  CHECK(Device::parse("cpu").is_cpu());
  CHECK(Device::parse("cpu").name() == "cpu");
  CHECK(Device::parse("auto").is_cpu());
  for (const char* wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda 0", "CPU"})
    CHECK_MESSAGE(code_of(wrong) == Exit::usage, wrong);
  CHECK(code_of("cuda:1000") == Exit::absent);
  if (cuda_devices() == 0) {
    CHECK(code_of("cuda") == Exit::absent);
    CHECK(code_of("cuda:0") == Exit::absent);
    std::string reason;
    cuda_devices(&reason);
    if (built_with_cuda()) MESSAGE("CUDA: ", reason);
  } else {
    CHECK(Device::parse("cuda").index() == 0);
  }
}

TEST_CASE("memory of the CPU") {
  CHECK(Device().free_memory() > 1'000'000);
  for (const std::size_t n : {1UL, 3UL, 1000UL}) {
    Buffer<float> buffer(Device(), n);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    CHECK(buffer.size() == n);
  }
  CHECK_THROWS_AS(Buffer<double>(Device(), std::size_t(1) << 62), std::length_error);
  try {
    Buffer<double> huge(Device(), std::size_t(1) << 50);
    FAIL("2^53 bytes were allocated");
  } catch (const Error& error) {
    CHECK(error.code() == Exit::absent);
  }
}

TEST_CASE("a Buffer holds, moves and copies values") {
  std::vector<double> values(100);
  std::iota(values.begin(), values.end(), 1.0);
  Buffer<double> a(Device(), values);
  CHECK(a.vector() == values);
  Buffer<double> b = a.to(Device());
  b.span()[0] = -1;
  CHECK(a.span()[0] == 1);
  Buffer<double> c = std::move(b);
  CHECK(b.size() == 0);  // NOLINT: moved from on purpose
  CHECK(c.span()[0] == -1);
  b = std::move(c);
  CHECK(b.size() == 100);
  CHECK(sizeof(Buffer<double>::zeros(Device(), 7).vector()[0]) == 8);
  for (const double zero : Buffer<double>::zeros(Device(), 7).vector())
    CHECK(zero == 0);
  CHECK_THROWS_AS(copy<double>(a.view(), b.view().part(0, 99)), std::invalid_argument);
  CHECK_THROWS_AS((void)a.view().part(90, 11), std::out_of_range);
  copy<double>(a.view().part(10, 5), b.view().part(0, 5));
  CHECK(b.span()[4] == 15);
  CHECK(Buffer<int>().vector().empty());
}

TEST_CASE("views of vectors, spans and arrays") {
  std::vector<int> vector{1, 2, 3};
  const std::vector<int>& constant = vector;
  CHECK(View<int>(vector).data() == vector.data());
  CHECK(View<const int>(constant).size() == 3);
  CHECK(View<const int>(std::span(vector).subspan(1)).size() == 2);
  const Matrix<int> m = matrix(vector, 1, 3);
  CHECK(m.t().rows == 3);
  CHECK(m.block(0, 1, 1, 2).data == vector.data() + 1);
  CHECK_THROWS_AS((void)m.block(0, 2, 1, 2), std::out_of_range);
  CHECK_THROWS_AS(matrix(vector, 2, 2), std::invalid_argument);
}

TEST_CASE("memory of a CUDA device") {
  std::string reason;
  if (cuda_devices(&reason) == 0) {
    MESSAGE("skipped, needs a CUDA device: ", reason);
    return;
  }
  const Device device = Device::parse("cuda");
  CHECK(device.free_memory() > 0);
  const std::vector<float> values{1, 2, 3, 4};
  Buffer<float> a(device, values);
  CHECK_THROWS_AS((void)a.span(), std::logic_error);
  CHECK(a.vector() == values);
  CHECK(a.to(device).to(Device()).vector() == values);
  CHECK(Buffer<float>::zeros(device, 2).vector() == std::vector<float>{0, 0});
}
