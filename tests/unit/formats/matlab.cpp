#include "io/matlab.hpp"

#include <doctest.h>

#include "helpers.hpp"

using namespace fachwerk;
using namespace fachwerk::formats;

namespace {

/// An unpacked file put together by hand, of either byte order.
class Builder {
 public:
  explicit Builder(bool big) : big_(big) {
    bytes_.assign(124, ' ');
    number<std::uint16_t>(0x0100);
    number<std::uint16_t>(0x4d49);
  }
  template <class T>
  Builder& number(T value) {
    std::string text(reinterpret_cast<const char*>(&value), sizeof value);
    if (big_) text.assign(text.rbegin(), text.rend());
    bytes_ += text;
    return *this;
  }
  Builder& tag(std::uint32_t type, std::uint32_t size) { return number(type).number(size); }
  Builder& text(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  bool big_;
};

/// x = [1 2 3; 4 5 6], a double stored as bytes (as MATLAB does for small whole numbers), name in a small element.
std::string matrix(bool big) {
  Builder file(big);
  file.tag(14, 16 + 16 + 8 + 16);
  file.tag(6, 8).number<std::uint32_t>(6).number<std::uint32_t>(0);
  file.tag(5, 8).number<std::int32_t>(2).number<std::int32_t>(3);
  file.number<std::uint32_t>(1U << 16 | 1U).text(std::string("x\0\0\0", 4));
  file.tag(2, 6).text(std::string("\x01\x04\x02\x05\x03\x06\0\0", 8));
  return file.bytes();
}

std::string message(const std::string& file) {
  try {
    read_matlab5(test::as_bytes(file), "f.mat");
  } catch (const Error& error) {
    CHECK(error.code() == Exit::bad_input);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a matrix keeps its rows and columns in either byte order") {
  for (const bool big : {false, true}) {
    const auto file = matrix(big);
    CHECK(is_matlab5(test::as_bytes(file)));
    const auto read = read_matlab5(test::as_bytes(file), "f.mat");
    REQUIRE(read.variables.size() == 1);
    CHECK(read.variables[0].name == "x");
    CHECK(read.variables[0].shape == Shape{2, 3});
    CHECK(std::get<std::vector<double>>(read.variables[0].values) == std::vector<double>{1, 2, 3, 4, 5, 6});
    test::survives_truncation(file, [](Bytes bytes) { read_matlab5(bytes, "f.mat"); });
  }
}

TEST_CASE("hostile files") {
  auto file = matrix(false);
  const auto with = [&](std::size_t at, std::uint32_t value) {
    auto changed = file;
    std::memcpy(changed.data() + at, &value, 4);
    return message(changed);
  };
  CHECK(with(132, 0x7fffffff) ==
        "f.mat: offset 136: 2147483647 bytes of element expected, 56 left in the file (truncated?)");
  CHECK(with(160, 0xffffffff).find("negative dimension -1") != std::string::npos);
  CHECK(with(160, 0x7fffffff).find("array of shape (2147483647, 3)") != std::string::npos);
  CHECK(with(176, 9).find("expected 6 elements of 8 bytes, found 6 bytes") != std::string::npos);
  file[126] = 'X';
  CHECK(message(file) == "f.mat: offset 126: expected the byte order mark IM or MI");
}

TEST_CASE("what is written comes back") {
  std::vector<double> cube(2 * 3 * 4);
  for (std::size_t i = 0; i < cube.size(); ++i)
    cube[i] = static_cast<double>(i) + 0.5;
  const std::vector<Variable> variables = {
      {.name = "cube", .shape = {2, 3, 4}, .values = cube},
      {.name = "v", .shape = {3}, .values = std::vector<std::int64_t>{1, INT64_MIN, 3}},
      {.name = "s", .shape = {}, .values = std::vector<float>{1.5F}},
      {.name = "z", .shape = {2, 2}, .values = std::vector<std::complex<double>>{{1, 2}, {3, 4}, {5, 6}, {7, 8}}},
      {.name = "t", .shape = {}, .values = std::vector<std::string>{"grün 𝄞"}},
      {.name = "list", .shape = {2}, .values = std::vector<std::string>{"a", "日本"}},
  };
  const auto file = test::written([&](Sink& sink) { write_matlab5(sink, variables); });
  const auto back = read_matlab5(test::as_bytes(file), "f.mat").variables;
  REQUIRE(back.size() == variables.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    CHECK(back[i].name == variables[i].name);
    CHECK(back[i].shape == variables[i].shape);
    CHECK(back[i].values == variables[i].values);
  }
  test::survives_truncation(file, [](Bytes bytes) { read_matlab5(bytes, "f.mat"); });
}

TEST_CASE("names become MATLAB's") {
  const std::vector<Variable> variables = {{.name = "bus/v m", .values = std::vector<double>{1}},
                                           {.name = "bus_v_m", .values = std::vector<double>{2}},
                                           {.name = "1st", .values = std::vector<double>{3}}};
  const auto file = test::written([&](Sink& sink) { write_matlab5(sink, variables); });
  const auto back = read_matlab5(test::as_bytes(file), "f.mat").variables;
  CHECK(back[0].name == "bus_v_m");
  CHECK(back[1].name == "bus_v_m_2");
  CHECK(back[2].name == "x1st");
}

TEST_CASE("axes reverse in any number of dimensions") {
  const Shape shape = {2, 3, 4, 5};
  std::vector<std::int32_t> rows(120), columns(120);
  for (int i = 0, n = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        for (int l = 0; l < 5; ++l, ++n) {
          rows[static_cast<std::size_t>(n)] = n;
          columns[static_cast<std::size_t>(i + 2 * (j + 3 * (k + 4 * l)))] = n;
        }
  CHECK(std::get<std::vector<std::int32_t>>(to_column_major(rows, shape)) == columns);
  CHECK(std::get<std::vector<std::int32_t>>(from_column_major(columns, shape)) == rows);
}
