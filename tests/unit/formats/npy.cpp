#include "io/npy.hpp"

#include <cmath>

#include <doctest.h>

#include "helpers.hpp"

using namespace fachwerk;
using namespace fachwerk::formats;

namespace {

/// A version 1.0 file put together by hand from the format's description.
std::string npy(const std::string& descr, const std::string& order, const std::string& shape, const std::string& data) {
  std::string header = "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + data;
}

Variable one(const std::string& file) {
  return read_npy(test::as_bytes(file), "f.npy", "a").at(0);
}

std::string message(const std::string& file) {
  try {
    is_npz(test::as_bytes(file)) ? read_npz(test::as_bytes(file), "f.npz")
                                 : read_npy(test::as_bytes(file), "f.npy", "a");
  } catch (const Error& error) {
    CHECK(error.code() == Exit::bad_input);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("both orders of axes and of bytes") {
  const std::string little("\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00", 12);
  const std::string big("\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06", 12);
  const std::vector<std::int16_t> rows = {1, 2, 3, 4, 5, 6}, columns = {1, 3, 5, 2, 4, 6};
  CHECK(std::get<std::vector<std::int16_t>>(one(npy("'<i2'", "False", "(2, 3)", little)).values) == rows);
  CHECK(std::get<std::vector<std::int16_t>>(one(npy("'>i2'", "False", "(2, 3)", big)).values) == rows);
  CHECK(std::get<std::vector<std::int16_t>>(one(npy("'<i2'", "True", "(2, 3)", little)).values) == columns);
  CHECK(one(npy("'<i2'", "False", "(2, 3)", little)).shape == Shape{2, 3});
  CHECK(one(npy("'<i2'", "False", "(6,)", little)).shape == Shape{6});
  CHECK(one(npy("'<i2'", "False", "()", little)).shape.empty());
}

TEST_CASE("half precision") {
  // 1, -2, 65504 (largest), 2^-24 (smallest), infinity
  const std::string data("\x00\x3c\x00\xc0\xff\x7b\x01\x00\x00\x7c", 10);
  CHECK(std::get<std::vector<float>>(one(npy("'<f2'", "False", "(5,)", data)).values) ==
        std::vector<float>{1, -2, 65504, std::ldexp(1.0F, -24), INFINITY});
}

TEST_CASE("text and structured arrays") {
  const std::string data("a\0\0\0\xe9\0\0\0\0\0\0\0\0\0\0\0", 16);
  CHECK(std::get<std::vector<std::string>>(one(npy("'<U2'", "False", "(2,)", data)).values) ==
        std::vector<std::string>{"aé", ""});
  const std::string records("\x01\x00\x00\x00\x07\x02\x00\x00\x00\x08", 10);
  const auto fields = read_npy(test::as_bytes(npy("[('n', '<i4'), ('k', '|u1')]", "False", "(2,)", records)), "f", "a");
  CHECK(fields.size() == 2);
  CHECK(fields[0].name == "n");
  CHECK(std::get<std::vector<std::int32_t>>(fields[0].values) == std::vector<std::int32_t>{1, 2});
  CHECK(std::get<std::vector<std::uint8_t>>(fields[1].values) == std::vector<std::uint8_t>{7, 8});
}

TEST_CASE("hostile headers") {
  CHECK(message("hello there") == "f.npy: offset 0: expected an npy file, found another beginning");
  CHECK(message(npy("'<f8'", "False", "(4611686018427387904, 4)", "12345678")).find("only 8 bytes can follow") !=
        std::string::npos);
  CHECK(message(npy("'<f8'", "False", "(99999999999999999999999,)", "")).find("length is too large") !=
        std::string::npos);
  CHECK(message(npy("'|O'", "False", "(1,)", "x")).find("Python objects") != std::string::npos);
  CHECK(message(npy("'<f16'", "False", "(1,)", "x")).find("type '<f16' is not supported") != std::string::npos);
  CHECK(message(npy("'<f8'", "Maybe", "(1,)", "x")).find("expected True or False") != std::string::npos);
  CHECK(message(npy("'<f8'", "False", "(2,)", "12345678")) ==
        "f.npy: offset 128: array of shape (2) with 8 bytes an element, but only 8 bytes can follow");
}

TEST_CASE("arrays of every type come back from npy and npz") {
  const std::vector<Variable> variables = {
      {.name = "f", .shape = {2, 1}, .values = std::vector<double>{0.1, -3}},
      {.name = "g/c", .shape = {2}, .values = std::vector<std::complex<float>>{{1, 2}, {3, -4}}},
      {.name = "u", .shape = {}, .values = std::vector<std::uint64_t>{UINT64_MAX}},
      {.name = "t", .shape = {2}, .values = std::vector<std::string>{"grün", "日本語"}},
      {.name = "empty", .shape = {0, 4}, .values = std::vector<std::int8_t>{}},
  };
  for (const bool deflated : {true, false}) {
    const auto archive = test::written([&](Sink& sink) { write_npz(sink, variables, deflated); });
    const auto back = read_npz(test::as_bytes(archive), "f.npz");
    REQUIRE(back.size() == variables.size());
    for (std::size_t i = 0; i < back.size(); ++i) {
      CHECK(back[i].name == variables[i].name);
      CHECK(back[i].shape == variables[i].shape);
      CHECK(back[i].values == variables[i].values);
    }
    test::survives_truncation(archive, [](Bytes bytes) { read_npz(bytes, "f.npz"); });
    auto corrupt = archive;
    corrupt[60] = static_cast<char>(corrupt[60] ^ 0x55);
    CHECK_FALSE(message(corrupt).empty());
  }
  const auto file = test::written([&](Sink& sink) { write_npy(sink, variables[0]); });
  CHECK(file.size() == 128 + 16);
  CHECK(one(file).values == variables[0].values);
  test::survives_truncation(file, [](Bytes bytes) { read_npy(bytes, "f", "a"); });
}
