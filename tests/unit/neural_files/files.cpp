#include <set>

#include <doctest.h>

#include "neural/exchange.hpp"
#include "neural/import.hpp"
#include "neural/synthesis.hpp"

using namespace fachwerk::neural;
using fachwerk::Error;
using fachwerk::formats::File;

namespace {

File file_of(const std::string& text, const char* name = "test") {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return File::from_memory({bytes.begin(), bytes.end()}, name);
}

}  // namespace

TEST_CASE("categories of the training file are applied to the test file; new ones are counted, not shifted") {
  std::vector<File> training, test;
  training.push_back(file_of("colour,size,y\nred,1,no\nblue,?,yes\ngreen,3,no\n"));
  test.push_back(file_of("colour,size,y\ngreen,2,yes.\nviolet,4,no\n"));
  for (const bool onehot : {true, false}) {
    const CsvEncoder encoder(training, {.onehot = onehot});
    std::size_t none = 0, unknown = 0;
    const Split a = encoder.encode(training, none), b = encoder.encode(test, unknown);
    CHECK(none == 0);
    CHECK(unknown == 1);
    CHECK(b.labels == std::vector<std::int64_t>{1, 0});
    if (onehot) {  // blue, green, red, size; the missing size is the mean
      CHECK(a.reals == std::vector<float>{0, 0, 1, 1, 1, 0, 0, 2, 0, 1, 0, 3});
      CHECK(b.reals == std::vector<float>{0, 1, 0, 2, 0, 0, 0, 4});
    } else {
      CHECK(b.reals == std::vector<float>{2, 2, 0, 4});
    }
  }
}

TEST_CASE("LIBSVM text") {
  const Split s = read_libsvm(file_of("-1 1:0.5 3:2 # note\n+1 2:1\n"), false);
  CHECK(s.sample == Dims{3});
  CHECK(s.reals == std::vector<float>{0.5F, 0, 2, 0, 1, 0});
  CHECK(s.labels == std::vector<std::int64_t>{0, 1});
  CHECK_THROWS_AS(read_libsvm(file_of("1 0:3\n"), false), Error);
  CHECK_THROWS_AS(read_libsvm(file_of("1 x\n"), false), Error);
}

TEST_CASE("splits: every row once, classes in proportion, the same for the same seed") {
  Dataset data = synthesise("spiral", {.n = 1000, .classes = 4});
  Dataset other = data;
  const SplitRule rule{.fractions = {0.7, 0.2, 0.1}, .stratify = true, .seed = 3};
  split(data, rule);
  split(other, rule);
  CHECK(data.train.index == other.train.index);
  std::set<std::int64_t> seen;
  for (const Split* part : {&data.train, &data.val, &data.test})
    seen.insert(part->index.begin(), part->index.end());
  CHECK(seen.size() == 1000);
  CHECK(data.train.count + data.val.count + data.test.count == 1000);
  for (std::int64_t c = 0; c < 4; ++c) {
    const auto in = [&](const Split& s) {
      return static_cast<double>(std::count(s.labels.begin(), s.labels.end(), c));
    };
    CHECK(std::abs(in(data.train) - 0.7 * (in(data.train) + in(data.val) + in(data.test))) <= 1);
  }
  Dataset third = synthesise("spiral", {.n = 10, .classes = 2});
  split(third, {.every = 5});
  CHECK(third.test.index == std::vector<std::int64_t>{4, 9});
  CHECK_THROWS_AS(split(third, {.fractions = {0.5, 0.1}}), Error);
}

TEST_CASE("a larger synthetic set begins with the smaller one") {
  for (const std::string& name : synthesis_names()) {
    CAPTURE(name);
    const Dataset small = synthesise(name, {.n = 20}), large = synthesise(name, {.n = 50});
    CHECK(std::equal(small.train.reals.begin(), small.train.reals.end(), large.train.reals.begin()));
    CHECK(std::equal(small.train.bytes.begin(), small.train.bytes.end(), large.train.bytes.begin()));
    CHECK(std::equal(small.train.labels.begin(), small.train.labels.end(), large.train.labels.begin()));
    CHECK(std::equal(small.train.targets.begin(), small.train.targets.end(), large.train.targets.begin()));
  }
  CHECK(blobs_bayes_error(2, 2) == doctest::Approx(0.5 * std::erfc(1 / std::sqrt(2.0))).epsilon(1e-6));
}

TEST_CASE("standardisation: n - 1, constant features left alone, bytes as x / 255") {
  Split s;
  s.sample = {2};
  s.count = 3;
  s.reals = {1, 5, 2, 5, 3, 5};
  const Standard a = standard_of(s);
  CHECK(a.mean == std::vector<double>{2, 5});
  CHECK(a.std == std::vector<double>{1, 1});
  s.reals.clear();
  s.bytes = {0, 255, 0, 255, 0, 255};
  CHECK(standard_of(s).mean == std::vector<double>{0, 1});
}

TEST_CASE("weight files: broken and hostile ones are bad input, at every length") {
  const auto bytes_of = [](const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); };
  std::string safe = std::string("\x2a\0\0\0\0\0\0\0", 8) + R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  safe[0] = static_cast<char>(safe.size() - 8);
  safe += std::string(4, '\0');
  CHECK(read_safetensors(bytes_of(safe), "t").size() == 1);
  for (std::size_t n = 0; n < safe.size(); ++n)
    CHECK_THROWS_AS(read_safetensors(bytes_of(safe.substr(0, n)), "t"), Error);
  for (const std::string offsets : {"[0,8]", "[4,0]", "[0,99999999999999999]", "[0]"}) {
    std::string bad = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}}";
    std::string size(8, '\0');
    size[0] = static_cast<char>(bad.size());
    CHECK_THROWS_AS(read_safetensors(bytes_of(size + bad + std::string(4, '\0')), "t"), Error);
  }
  CHECK_THROWS_AS(read_onnx(bytes_of("\x3a\xff\xff\xff\xff\x0f"), "t"), Error);
  CHECK_THROWS_AS(read_torch(bytes_of("PK\x03\x04 no directory at all, just text"), "t"), Error);
}
