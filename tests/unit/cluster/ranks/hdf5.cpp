#include "cluster/hdf5.hpp"

#include <complex>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <doctest.h>
#include <unistd.h>

#include "cli/session.hpp"
#include "cluster/partition.hpp"
#include "world.hpp"

using namespace fachwerk;
using namespace fachwerk::cluster;

namespace {

namespace fs = std::filesystem;

/// A folder that all ranks see and rank 0 removes.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "fachwerk-ranks-XXXXXX").string();
    if (world().root()) name = mkdtemp(name.data());
    path = world().broadcast_text(name);
  }
  ~Folder() {
    world().barrier();
    if (world().root()) fs::remove_all(path);
  }
  std::size_t files() const {
    world().barrier();
    const auto count = std::distance(fs::directory_iterator(path), {});
    world().barrier();
    return static_cast<std::size_t>(count);
  }
};

double value(std::size_t i, std::size_t j) {
  return 1000.0 * double(i) + double(j);
}

/// This rank's rows of a matrix.
std::vector<double> rows(Block block, std::size_t columns) {
  std::vector<double> values;
  for (std::size_t i = block.begin; i < block.end(); ++i)
    for (std::size_t j = 0; j < columns; ++j)
      values.push_back(value(i, j));
  return values;
}

}  // namespace

TEST_CASE("every rank writes and reads its rows") {
  const Folder folder;
  const std::string path = folder.path / "matrix.h5";
  const std::size_t n = 200, columns = 37;
  const auto ranks = static_cast<std::size_t>(world().size()), me = static_cast<std::size_t>(world().rank());
  const Block mine = block_of(n, ranks, me);
  cli::Session session{.tool = "unit-ranks", .version = "1", .command_line = "unit-ranks"};
  for (const Transfer transfer : {Transfer::collective, Transfer::independent}) {
    const bool collective = transfer == Transfer::collective;
    {
      h5::Output output = create_output(world(), path, true, transfer);
      output.stamp(session, "array");
      output.create_dataset<double>("/group/x", {n, columns}, {.units = "m", .long_name = "x", .dims = {"i", "j"}});
      output.write_slab<double>("/group/x", {mine.begin, 0}, {mine.count, columns}, rows(mine, columns));
      // Rank 0 has nothing to write here.
      const Block others = ranks == 1 ? block_of(n, 1, 0) : (me == 0 ? Block{0, 0} : block_of(n, ranks - 1, me - 1));
      output.create_dataset<float>("/y", {n}, {.units = "", .long_name = "y", .dims = {"i"}});
      output.write_slab<float>("/y", {others.begin}, {others.count}, std::vector<float>(others.count, 2.5F));
      if (collective) {  // compressed, in chunks that do not fit the rows of a rank
        output.create_dataset<double>(
            "/packed", {n, columns},
            {.units = "m", .long_name = "x", .dims = {"i", "j"}, .chunk = {32, 10}, .deflate = 1});
        output.write_slab<double>("/packed", {mine.begin, 0}, {mine.count, columns}, rows(mine, columns));
      }
      output.column<int>("/same", {1, 2, 3}, {.units = "", .long_name = "same", .dims = {"i"}});
      output.strings("/names", {"one", "zwölf", ""}, {.units = "", .long_name = "names", .dims = {"i"}});
      CHECK(folder.files() == (collective ? 1 : 2));
      output.commit();
    }
    CHECK(folder.files() == 1);

    h5::Input input = open_input(world(), path, transfer);
    input.require_kind({"array"});
    CHECK(input.history().size() == 1);
    CHECK(input.info("/group/x").shape == h5::Shape{n, columns});
    CHECK(input.text("/group/x", "units") == "m");
    // Read the rows of the next rank.
    const Block next = block_of(n, ranks, (me + 1) % ranks);
    for (const char* name : {"/group/x", "/packed"}) {
      if (!input.exists(name)) continue;
      std::vector<double> values(next.count * columns);
      input.read_slab<double>(name, {next.begin, 0}, {next.count, columns}, values);
      CHECK(values == rows(next, columns));
    }
    CHECK(input.exists("/packed") == collective);
    std::vector<double> none;
    input.read_slab<double>("/group/x", {0, 0}, {me == 0 ? 0UL : 1UL, 0UL}, none);
    CHECK(input.column<float>("/y") == std::vector<float>(n, 2.5F));
    CHECK(input.column<int>("/same") == std::vector<int>{1, 2, 3});
    CHECK(input.strings("/names") == std::vector<std::string>{"one", "zwölf", ""});
  }
}

TEST_CASE("an output without commit leaves nothing, one that exists is refused") {
  const Folder folder;
  const std::string path = folder.path / "out.h5";
  {
    h5::Output output = create_output(world(), path, false);
    output.column<int>("/x", {1}, {.units = "", .long_name = "x", .dims = {"i"}});
  }
  CHECK(folder.files() == 0);
  create_output(world(), path, false).commit();
  CHECK_THROWS_AS(create_output(world(), path, false), Error);
  world().barrier();
  create_output(world(), path, true).commit();
  {  // made by someone else in between
    const std::string other = folder.path / "other.h5";
    h5::Output output = create_output(world(), other, false);
    world().on_root([&] { fs::copy_file(path, other); });
    try {
      output.commit();
      FAIL("overwritten");
    } catch (const Error& error) {
      CHECK(error.code() == Exit::io);
    }
  }
  CHECK(folder.files() == 2);
  CHECK_THROWS_AS(open_input(world(), folder.path / "missing.h5"), Error);
  if (world().size() > 1) {
    CHECK_THROWS_AS(open_input(world(), "-"), Error);
    CHECK_THROWS_AS(create_output(world(), "-", false), Error);
  }
}
