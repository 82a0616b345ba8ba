#include "io/image.hpp"

#include <doctest.h>

#include "helpers.hpp"

using namespace fachwerk;
using namespace fachwerk::formats;

namespace {

std::string message(const std::string& file) {
  try {
    is_png(test::as_bytes(file)) ? read_png(test::as_bytes(file), "f") : read_netpbm(test::as_bytes(file), "f");
  } catch (const Error& error) {
    CHECK(error.code() == Exit::bad_input);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("PGM and PPM, text and binary, 8 and 16 bits") {
  const auto gray = read_netpbm(test::as_bytes("P2 # comment\n3 2\n255\n0 1 2\n3 4 255\n"), "f");
  CHECK(gray.shape == Shape{2, 3});
  CHECK(std::get<std::vector<std::uint8_t>>(gray.values) == std::vector<std::uint8_t>{0, 1, 2, 3, 4, 255});
  const auto deep = read_netpbm(test::as_bytes(std::string("P5 2 1 1000\n\x01\x02\x03\xe8", 16)), "f");
  CHECK(std::get<std::vector<std::uint16_t>>(deep.values) == std::vector<std::uint16_t>{0x102, 1000});
  const auto colour = read_netpbm(test::as_bytes("P6 1 2 255\nabcdef"), "f");
  CHECK(colour.shape == Shape{2, 1, 3});
  CHECK(std::get<std::vector<std::uint8_t>>(colour.values)[5] == 'f');
}

TEST_CASE("hostile images") {
  CHECK(message("P5 100000 100000 255\nabc").find("only 3 bytes can follow") != std::string::npos);
  CHECK(message("P5 2 2 255\nabc").find("array of shape (2, 2)") != std::string::npos);
  CHECK(message("P5 2 2 70000\nabcd").find("largest value 70000") != std::string::npos);
  CHECK(message("P2 2 1 10\n11 3\n").find("pixel of 11 above the largest value 10") != std::string::npos);
  CHECK(message("P2 2 x 10\n").find("height expected") != std::string::npos);
  CHECK(message("GIF89a") == "f: offset 0: expected a PGM or PPM image, found another beginning");
}

TEST_CASE("PNG images of every kind come back") {
  for (const std::size_t channels : {1U, 2U, 3U, 4U}) {
    const Shape shape = channels == 1 ? Shape{5, 7} : Shape{5, 7, channels};
    std::vector<std::uint8_t> bytes(35 * channels);
    std::vector<std::uint16_t> words(35 * channels);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::uint8_t>(37 * i);
      words[i] = static_cast<std::uint16_t>(4099 * i);
    }
    for (const Values& values : {Values(bytes), Values(words)}) {
      const auto file =
          test::written([&](Sink& sink) { write_png(sink, {.name = "a", .shape = shape, .values = values}); });
      const auto back = read_png(test::as_bytes(file), "f.png");
      CHECK(back.shape == shape);
      CHECK(back.values == values);
      test::survives_truncation(file, [](Bytes part) { read_png(part, "f.png"); });
      auto huge = file;  // 16 million pixels a side; the checksum of the header no longer fits either
      huge[16] = huge[20] = 1;
      CHECK_FALSE(message(huge).empty());
    }
  }
  CHECK_THROWS_AS(test::written([](Sink& sink) {
                    write_png(sink, {.name = "a", .shape = {2}, .values = std::vector<std::uint8_t>{1, 2}});
                  }),
                  Error);
  CHECK_THROWS_AS(test::written([](Sink& sink) {
                    write_png(sink, {.name = "a", .shape = {1, 1}, .values = std::vector<double>{1}});
                  }),
                  Error);
}
