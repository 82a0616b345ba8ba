#include "io/hdf5.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include <doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/session.hpp"

using namespace fachwerk;
namespace fs = std::filesystem;

namespace {

/// A folder of its own for each test case, gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("fachwerk-unit-io-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return path / name; }
};

/// Every kind of id that a leak could show in.
hsize_t open_ids() {
  hsize_t total = 0;
  for (const H5I_type_t type :
       {H5I_FILE, H5I_GROUP, H5I_DATASET, H5I_ATTR, H5I_DATASPACE, H5I_DATATYPE, H5I_GENPROP_LST}) {
    hsize_t members = 0;
    if (H5Inmembers(type, &members) >= 0) total += members;
  }
  return total;
}

/// Runs `fn` twice: the first time may set up what lives as long as the process, the second must leave nothing.
hsize_t leaked(const std::function<void()>& fn) {
  fn();
  const hsize_t before = open_ids();
  fn();
  return open_ids() - before;
}

std::string message_of(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

cli::Session session(const std::string& line) {
  cli::Session result;
  result.tool = "a-tool";
  result.version = "9.9";
  result.command_line = line;
  return result;
}

}  // namespace

TEST_CASE("numbers, strings, attributes and groups round trip") {
  const Folder folder;
  const std::string file = folder / "a.h5";
  const std::vector<double> values = {1, 2, 3, 4, 5, 6};
  const std::vector<std::string> names = {"eins", "zwei", "", "größer"};
  {
    h5::Output out = h5::Output::create(file, false);
    out.write("/g/h/x", values, {2, 3}, {.units = "pu", .long_name = "an array", .dims = {"rows", "cols"}});
    out.column("/g/i", std::vector<std::int16_t>{-3, 7});
    out.write("/scalar", std::vector<float>{2.5F}, {});
    out.write("/complex", std::vector<std::complex<double>>{{1, -2}, {0, 3}}, {2});
    out.strings("/names", names);
    out.attribute("/g", "note", "völlig");
    out.attribute("/g", "count", 12);
    out.attribute("/g", "list", std::vector<double>{0.5, 1.5});
    out.attribute("/g", "words", std::vector<std::string>{"a", "bc"});
    CHECK_FALSE(fs::exists(file));
    out.commit();
  }
  const h5::Input in = h5::Input::open(file);
  const auto x = in.read<double>("/g/h/x", {.axes = {"rows", "cols"}});
  CHECK(x.values == values);
  CHECK(x.shape == h5::Shape{2, 3});
  CHECK(in.read<float>("/g/h/x").values == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(in.column<int>("/g/i", 2) == std::vector<int>{-3, 7});
  CHECK(in.column<double>("/g/i") == std::vector<double>{-3, 7});
  CHECK(in.read<float>("/scalar").values == std::vector<float>{2.5F});
  CHECK(in.read<std::complex<double>>("/complex").values[0] == std::complex<double>(1, -2));
  CHECK(in.strings("/names") == names);
  CHECK(in.text("/g", "note") == "völlig");
  CHECK(in.number("/g", "count") == 12);
  CHECK(in.numbers("/g", "list") == std::vector<double>{0.5, 1.5});
  CHECK(in.texts("/g", "words") == std::vector<std::string>{"a", "bc"});
  CHECK(in.text("/g/h/x", "units") == "pu");
  CHECK(in.texts("/g/h/x", "dims") == std::vector<std::string>{"rows", "cols"});
  CHECK(in.children("/g") == std::vector<std::string>{"h", "i"});
  CHECK(in.info("/g/i").name == "int16");
  CHECK(in.exists("/g/h/x"));
  CHECK_FALSE(in.exists("/g/none/x"));
}

TEST_CASE("every failure names file, dataset, what was expected and what was found") {
  const Folder folder;
  const std::string file = folder / "b.h5";
  {
    h5::Output out = h5::Output::create(file, false);
    out.write("/x", std::vector<double>{1, std::nan(""), 3, 4}, {2, 2});
    out.column("/big", std::vector<std::int64_t>{1, std::int64_t{1} << 40});
    out.strings("/s", {"a"});
    out.commit();
  }
  {
    const h5::Input in = h5::Input::open(file);
    CHECK(message_of([&] { in.read<double>("/y"); }) == file + ":/y: no such dataset");
    CHECK(message_of([&] {
            in.read<double>("/x", {.axes = {"rows", "cols", "bands"}});
          }) == file + ":/x: expected 3 dimensions (rows, cols, bands), found 2");
    CHECK(message_of([&] { in.read<double>("/x", {.finite = true}); }) ==
          file + ":/x[0, 1]: expected finite numbers, found NaN or infinity");
    CHECK(message_of([&] { in.read<int>("/x"); }) == file + ":/x: expected integers, found float64");
    CHECK(message_of([&] { in.read<double>("/s"); }) == file + ":/s: expected numbers, found string");
    CHECK(message_of([&] {
            in.read<double>("/x", {.shape = {2, 5}});
          }) == file + ":/x: expected shape (2, 5), found (2, 2)");
    CHECK(message_of([&] { in.column<std::int32_t>("/big"); }) == file + ":/big: a value does not fit into int32");
    CHECK(message_of([&] { in.require_kind({"hsi-cube"}); }) == file + ": expected kind hsi-cube, found none");
    CHECK(message_of([&] { in.strings("/s", 3); }) == file + ":/s: expected 3 strings, found 1");
  }
}

TEST_CASE("what is not an HDF5 file is named for what it is") {
  const Folder folder;
  std::ofstream(folder / "empty.h5");
  std::ofstream(folder / "text.h5") << "bus,vm\n1,1.06\n";
  {
    h5::Output out = h5::Output::create(folder / "whole.h5", false);
    out.column("/x", std::vector<double>(10000, 1.0));
    out.commit();
  }
  const auto size = fs::file_size(folder / "whole.h5");
  fs::copy_file(folder / "whole.h5", folder / "cut.h5");
  fs::resize_file(folder / "cut.h5", size - 5000);
  const auto open = [&](const std::string& name) { return message_of([&] { h5::Input::open(folder / name); }); };
  CHECK(open("none.h5") == (folder / "none.h5") + ": no such file");
  CHECK(open("empty.h5") == (folder / "empty.h5") + ": empty, expected an HDF5 file");
  CHECK(open("text.h5") == (folder / "text.h5") + ": not an HDF5 file");
  CHECK(open("cut.h5") == (folder / "cut.h5") + ": truncated HDF5 file: " + std::to_string(size - 5000) + " of " +
                              std::to_string(size) + " bytes");
  CHECK(message_of([&] { h5::Input::open(folder.path); }) ==
        folder.path.string() + ": is a directory, expected a file");
}

TEST_CASE("an output appears whole or not at all") {
  const Folder folder;
  const std::string file = folder / "c.h5";
  {
    h5::Output out = h5::Output::create(file, false);
    out.column("/x", std::vector<int>{1});
  }
  CHECK(fs::is_empty(folder.path));
  {
    h5::Output out = h5::Output::create(file, false);
    out.column("/x", std::vector<int>{1});
    out.commit();
  }
  CHECK(message_of([&] { h5::Output::create(file, false); }) == file + ": exists");
  {
    h5::Output out = h5::Output::create(file, true);
    out.column("/x", std::vector<int>{2});
    CHECK(h5::Input::open(file).column<int>("/x") == std::vector<int>{1});
    out.commit();
  }
  CHECK(h5::Input::open(file).column<int>("/x") == std::vector<int>{2});
  CHECK(message_of([&] { h5::Output::create(folder / "no/such/d.h5", false); }).find("no such folder") !=
        std::string::npos);
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
}

TEST_CASE("slabs of data larger than one wants in memory, growing and fixed") {
  const Folder folder;
  const std::string file = folder / "d.h5";
  {
    h5::Output out = h5::Output::create(file, false);
    out.create_dataset<float>("/cube", {100, 20, 30});
    out.create_dataset<double>("/log", {0, 2}, {}, true);
    for (std::size_t row = 0; row < 100; row += 10) {
      std::vector<float> slab(10 * 20 * 30);
      std::iota(slab.begin(), slab.end(), static_cast<float>(row * 600));
      out.write_slab<float>("/cube", {row, 0, 0}, {10, 20, 30}, slab);
      out.extend("/log", row / 10 + 1);
      const std::vector<double> line = {static_cast<double>(row), 1.0};
      out.write_slab<double>("/log", {row / 10, 0}, {1, 2}, line);
    }
    out.commit();
  }
  const h5::Input in = h5::Input::open(file);
  std::vector<float> slab(2 * 3 * 4);
  in.read_slab<float>("/cube", {50, 7, 11}, {2, 3, 4}, slab);
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t k = 0; k < 4; ++k)
        CHECK(slab[(i * 3 + j) * 4 + k] == static_cast<float>((50 + i) * 600 + (7 + j) * 30 + 11 + k));
  CHECK(in.info("/log").shape == h5::Shape{10, 2});
  CHECK_THROWS_AS(in.read_slab<float>("/cube", {99, 0, 0}, {2, 3, 4}, slab), Error);
}

TEST_CASE("a filter carries what it does not know and appends to the history") {
  const Folder folder;
  setenv("SOURCE_DATE_EPOCH", "0", 1);
  {
    h5::Output out = h5::Output::create(folder / "in.h5", false);
    out.column("/x", std::vector<double>{1, 2}, {.units = "m"});
    out.attribute("/x", "wavelength", 550.0);
    out.column("/foreign/y", std::vector<int>{3});
    out.strings("/foreign/deep/s", {"kept"});
    out.column("/old/result", std::vector<int>{9});
    out.attribute("/", "mission", "EnMAP");
    out.attribute("/foreign", "note", "n");
    out.stamp(session("a-tool one"), "array");
    out.commit();
  }
  {
    const h5::Input in = h5::Input::open(folder / "in.h5");
    h5::Output out = h5::Output::create(folder / "out.h5", false);
    out.column("/x", std::vector<double>{10, 20}, {.units = "km"});
    out.column("/foreign/new", std::vector<int>{4});
    out.stamp(session("a-tool two"), "series", &in);
    out.carry(in, {"/old/result"});
    out.commit();
  }
  const h5::Input in = h5::Input::open(folder / "out.h5");
  CHECK(in.column<double>("/x") == std::vector<double>{10, 20});
  CHECK(in.text("/x", "units") == "km");
  CHECK(in.number("/x", "wavelength") == 550);
  CHECK(in.column<int>("/foreign/y") == std::vector<int>{3});
  CHECK(in.column<int>("/foreign/new") == std::vector<int>{4});
  CHECK(in.strings("/foreign/deep/s") == std::vector<std::string>{"kept"});
  CHECK(in.text("/", "mission") == "EnMAP");
  CHECK(in.text("/foreign", "note") == "n");
  CHECK_FALSE(in.exists("/old/result"));
  CHECK(in.kind() == "series");
  CHECK(in.history() == std::vector<std::string>{"1970-01-01T00:00:00Z a-tool 9.9: a-tool one",
                                                 "1970-01-01T00:00:00Z a-tool 9.9: a-tool two"});
  unsetenv("SOURCE_DATE_EPOCH");
}

TEST_CASE("big data is chunked, shuffled and compressed; small data is not") {
  const Folder folder;
  {
    h5::Output out = h5::Output::create(folder / "e.h5", false);
    out.write("/big", std::vector<float>(512 * 1024, 1.0F), {512, 1024});
    out.write("/small", std::vector<float>(16, 1.0F), {16});
    out.commit();
  }
  CHECK(fs::file_size(folder / "e.h5") < 200000);
  const h5::Input in = h5::Input::open(folder / "e.h5");
  const h5::Handle big(H5Dopen2(in.id(), "/big", H5P_DEFAULT), H5Dclose);
  const h5::Handle properties(H5Dget_create_plist(big.get()), H5Pclose);
  CHECK(H5Pget_layout(properties.get()) == H5D_CHUNKED);
  CHECK(H5Pget_nfilters(properties.get()) == 2);
  CHECK(in.read<float>("/big").values[77] == 1.0F);
}

TEST_CASE("no id is leaked, by success or by failure") {
  const Folder folder;
  const auto everything = [&] {
    h5::Output out = h5::Output::create(folder / "f.h5", true);
    out.write("/g/x", std::vector<std::complex<float>>{{1, 2}}, {1}, {.units = "V"});
    out.strings("/s", {"a", "b"});
    out.attribute("/g", "words", std::vector<std::string>{"a"});
    out.create_dataset<int>("/i", {0}, {}, true);
    out.extend("/i", 3);
    out.stamp(session("a-tool"), "array");
    CHECK_THROWS_AS(out.attribute("/none", "a", 1), Error);
    CHECK_THROWS_AS(out.group("/s/below"), Error);
    out.commit();
    const h5::Input in = h5::Input::open(folder / "f.h5");
    CHECK(in.strings("/s").size() == 2);
    CHECK(in.text("/", "kind") == "array");
    CHECK_THROWS_AS(in.read<int>("/g/x"), Error);
    CHECK_THROWS_AS(in.read<int>("/nothing"), Error);
    in.visit([](const std::string&, bool) {});
    h5::Output copy = h5::Output::create(folder / "g.h5", true);
    copy.carry(in);
    copy.commit();
    CHECK_THROWS_AS(h5::Input::open(folder / "none.h5"), Error);
  };
  CHECK(leaked(everything) == 0);
}

TEST_CASE("reals whose low bytes are noise: those stay as they are, the rest is compressed, and HDF5 reads it") {
  const Folder folder;
  const std::string path = folder / "a.h5";
  std::vector<double> values(20 * 1501);
  std::uint64_t state = 1;
  for (double& x : values)
    x = 1 + 0x1p-53 * static_cast<double>((state = state * 6364136223846793005U + 1442695040888963407U) >> 11) / 64;
  {
    h5::Output out = h5::Output::create(path, false);
    out.write("/x", values, {20, 1501}, {.chunk = {8, 1501}, .deflate = 1});
    out.commit();
  }
  const h5::Input in = h5::Input::open(path);
  CHECK(in.read<double>("/x").values == values);
  // HDF5's own filters: a column is too little for ours.
  std::vector<double> column(20);
  in.read_slab<double>("/x", {0, 700}, {20, 1}, column);
  for (std::size_t i = 0; i < 20; ++i)
    CHECK(column[i] == values[i * 1501 + 700]);
  CHECK(std::filesystem::file_size(path) < values.size() * 8 * 9 / 10);
}

TEST_CASE("a dataset in one piece has a place in the file from the start, others have none") {
  const Folder folder;
  const std::string path = folder / "a.h5";
  {
    h5::Output out = h5::Output::create(path, false);
    out.create_dataset<double>("/x", {3, 4}, {.deflate = 0});
    out.create_dataset<double>("/chunks", {3, 4}, {.chunk = {1, 4}});
    CHECK(!out.place("/chunks"));
    const auto place = out.place("/x");
    REQUIRE(place);
    std::fstream file(place->file, std::ios::binary | std::ios::in | std::ios::out);
    const std::vector<double> row = {5, 6, 7, 8};
    file.seekp(static_cast<std::streamoff>(place->offset + 2 * 4 * sizeof(double)));
    file.write(reinterpret_cast<const char*>(row.data()), 4 * sizeof(double));
    file.close();
    out.write_slab<double>("/x", {0, 0}, {2, 4}, std::vector<double>{1, 2, 3, 4, 1, 2, 3, 4});
    out.commit();
  }
  CHECK(h5::Input::open(path).read<double>("/x").values == std::vector<double>{1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("chunks compressed by all threads are what HDF5's own filters read and write") {
  const Folder folder;
  const h5::Shape shape = {70, 130, 45};
  std::vector<float> values(70 * 130 * 45);
  std::vector<std::int16_t> noise(values.size());
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i / 7);
    noise[i] = static_cast<std::int16_t>((state = state * 1664525U + 1013904223U) >> 16);
  }
  const auto file_of = [&](const std::string& name) { return folder / name; };
  {
    h5::Output out = h5::Output::create(file_of("a.h5"), false);
    out.write("/smooth", values, shape, {.chunk = {32, 32, 45}, .deflate = 1});  // edges on two axes
    out.write("/noise", noise, shape, {.chunk = {16, 130, 45}, .deflate = 1});   // not worth compressing: kept plain
    out.create_dataset<float>("/parts", shape, {.chunk = {16, 130, 45}, .deflate = 1});
    for (std::size_t row = 0; row < 70; row += 10)  // slabs that cut through chunks, and some that do not
      out.write_slab<float>("/parts", {row, 0, 0}, {10, 130, 45},
                            std::span<const float>(values).subspan(row * 130 * 45, 10 * 130 * 45));
    out.create_dataset<float>("/hole", {600, 1024}, {.chunk = {100, 1024}, .deflate = 1});
    out.commit();
  }
  // HDF5's own way: through a buffer of another type, for which the fast path is not taken.
  const h5::Input in = h5::Input::open(file_of("a.h5"));
  const std::vector<double> wide(values.begin(), values.end());
  CHECK(in.read<double>("/smooth").values == wide);
  CHECK(in.read<double>("/parts").values == wide);
  CHECK(in.read<std::int32_t>("/noise").values == std::vector<std::int32_t>(noise.begin(), noise.end()));
  // Ours
  CHECK(in.read<float>("/smooth").values == values);
  CHECK(in.read<float>("/parts").values == values);
  CHECK(in.read<std::int16_t>("/noise").values == noise);
  CHECK(in.read<float>("/hole").values == std::vector<float>(600 * 1024, 0.0F));
  std::vector<float> slab(60 * 125 * 40);
  in.read_slab<float>("/smooth", {5, 3, 2}, {60, 125, 40}, slab);
  bool same = true;
  for (std::size_t i = 0; i < 60; ++i)
    for (std::size_t j = 0; j < 125; ++j)
      for (std::size_t k = 0; k < 40; ++k)
        same = same && slab[(i * 125 + j) * 40 + k] == values[((i + 5) * 130 + j + 3) * 45 + k + 2];
  CHECK(same);
  // A chunk damaged on disk is an error, not zeros.
  haddr_t address = 0;
  {
    const h5::Handle dataset(H5Dopen2(in.id(), "/smooth", H5P_DEFAULT), H5Dclose);
    const hsize_t origin[] = {32, 32, 0};
    unsigned mask = 0;
    hsize_t size = 0;
    REQUIRE(H5Dget_chunk_info_by_coord(dataset.get(), origin, &mask, &address, &size) >= 0);
  }
  fs::copy_file(file_of("a.h5"), file_of("b.h5"));
  std::fstream damaged(file_of("b.h5"), std::ios::in | std::ios::out | std::ios::binary);
  damaged.seekp(static_cast<std::streamoff>(address) + 2);
  damaged << "damaged damaged";
  damaged.close();
  CHECK_THROWS_AS(h5::Input::open(file_of("b.h5")).read<float>("/smooth"), Error);
}
