#include "io/delimited.hpp"

#include <cmath>

#include <doctest.h>

#include "helpers.hpp"

using namespace fachwerk;
using namespace fachwerk::formats;

namespace {

template <class T>
std::vector<T> values(const DelimitedTable& table, std::size_t column) {
  return std::get<std::vector<T>>(table.columns.at(column).values);
}
using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;
using Texts = std::vector<std::string>;

DelimitedTable read(const std::string& text, const DelimitedOptions& options = {}) {
  return read_delimited(text, "t.csv", options);
}

std::string message(const std::string& text) {
  try {
    read(text);
  } catch (const Error& error) {
    CHECK(error.code() == Exit::bad_input);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("columns get the narrowest type that holds them") {
  const auto table = read("id,v,name\n1,0.5,a\n2,1e3,b\n-3,7,c\n");
  CHECK(table.has_header);
  CHECK(values<std::int64_t>(table, 0) == Integers{1, 2, -3});
  CHECK(values<double>(table, 1) == Reals{0.5, 1000, 7});
  CHECK(values<std::string>(table, 2) == Texts{"a", "b", "c"});
  CHECK(table.columns[1].name == "v");
}

TEST_CASE("quoted fields hold delimiters, line ends and quotes") {
  const auto table = read("a,b\r\n\"x,\r\ny\",\"say \"\"hi\"\"\"\r\n\"\",z\r\n");
  CHECK(values<std::string>(table, 0) == Texts{"x,\r\ny", ""});
  CHECK(values<std::string>(table, 1) == Texts{"say \"hi\"", "z"});
}

TEST_CASE("delimiters are found out") {
  CHECK(read("1;2\n3;4\n").delimiter == ';');
  CHECK(read("1\t2 x\n3\t4\n").delimiter == '\t');
  CHECK(read("1|2\n3|4\n").delimiter == '|');
  CHECK(read("  1   2\n 3 4  \n").delimiter == ' ');
  CHECK(read("2016-07-01 00:00:00,5.8\n2016-07-01 01:00:00,5.9\n").delimiter == ',');
  const auto blank = read("  1   2\n 3 4  # note\n\n# comment\n5 6");
  CHECK(values<std::int64_t>(blank, 1) == Integers{2, 4, 6});
}

TEST_CASE("headers, and data without one") {
  CHECK_FALSE(read("1,2\n3,4\n").has_header);
  CHECK_FALSE(read("bus1,2\nbus2,4\n").has_header);
  CHECK(read("1,2\n3,4\n").columns[1].name == "column2");
  const auto unit = read("time [s],|V| [pu],v\n0,1,2\n");
  CHECK(unit.columns[0].name == "time");
  CHECK(unit.columns[0].units == "s");
  CHECK(unit.columns[1].units == "pu");
  const auto savetxt = read("# x y\n1 2\n3 4\n");
  CHECK(savetxt.columns[1].name == "y");
  CHECK(values<std::int64_t>(savetxt, 0) == Integers{1, 3});
  const auto forced = read("1,2\n3,4\n", {.header = true});
  CHECK(forced.columns[0].name == "1");
  CHECK(values<std::int64_t>(forced, 0) == Integers{3});
  CHECK(read("a,a,\n1,2,3\n").columns[1].name == "a_2");
  CHECK(read("a,a,\n1,2,3\n").columns[2].name == "column3");
  CHECK(values<std::int64_t>(read("a,b\n"), 0).empty());
}

TEST_CASE("missing values and spellings of numbers") {
  const auto table = read("x,y\n1,NA\n,+2.5\n3,1.5D+01\n4,-inf\n");
  const auto x = values<double>(table, 0), y = values<double>(table, 1);
  CHECK(x[0] == 1);
  CHECK(std::isnan(x[1]));
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 2.5);
  CHECK(y[2] == 15);
  CHECK(y[3] == -INFINITY);
  CHECK(*parse_real("1e999") == INFINITY);
  CHECK(*parse_real("-1e-999") == 0);
  CHECK_FALSE(parse_real("1.5x"));
  CHECK_FALSE(parse_real("+-1"));
  CHECK(values<double>(read("1,5;2\n3,25;4\n", {.delimiter = ';', .decimal = ','}), 0) == Reals{1.5, 3.25});
  // Beyond 64 bits an integer is a real.
  CHECK(values<double>(read("a\n92233720368547758070\n"), 0) == Reals{92233720368547758070.0});
}

TEST_CASE("a column may turn out to be text late") {
  std::string text = "n,v\n";
  for (int i = 0; i < 100000; ++i)
    text += "1,2\n";
  text += "last,0.5\n";
  const auto table = read(text);
  CHECK(values<std::string>(table, 0).size() == 100001);
  CHECK(values<std::string>(table, 0).back() == "last");
  CHECK(values<double>(table, 1).back() == 0.5);
}

TEST_CASE("byte order mark, Latin-1, line ends") {
  CHECK(read("\xef\xbb\xbfx,y\n1,2\n").columns[0].name == "x");
  CHECK(read("Gr\xf6\xdf"
             "e,y\n1,2\n")
            .columns[0]
            .name == "Größe");
  CHECK(values<std::int64_t>(read("1,2\r\n3,4"), 1) == Integers{2, 4});
}

TEST_CASE("errors say where") {
  CHECK(message("a,b\n1,2\n3\n") == "t.csv: line 3: expected 2 fields as in the first record, found 1");
  CHECK(message("a,b\n1,\"2\n3\n") == "t.csv: line 2, column 3: quote is never closed");
  CHECK(message("a,b\n\"1\"x,2\n") == "t.csv: line 2, column 4: text after a closing quote");
  CHECK(message("") == "t.csv: is empty, expected a table of text");
  CHECK(message("# nothing\n\n") == "t.csv: holds no records, only blank lines or comments");
  CHECK(message(std::string("a,b\n\0", 5)) == "t.csv: offset 4: expected text, found binary data");
}

TEST_CASE("what is written reads back exactly") {
  const std::vector<Variable> columns = {
      {.name = "i", .shape = {3}, .values = Integers{1, -2, INT64_MAX}},
      {.name = "r", .shape = {3}, .values = Reals{0.1, 1e-300, NAN}},
      {.name = "say \"x\"", .shape = {3}, .values = Texts{"plain", "a,b\n", "# no comment"}},
  };
  for (const char delimiter : {',', ';', '\t'}) {
    const auto text = test::written([&](Sink& sink) {
      DelimitedWriter writer(sink, delimiter);
      writer.header({"i", "r", "say \"x\""});
      writer.rows(columns);
    });
    const auto table = read(text, {.delimiter = delimiter});
    CHECK(values<std::int64_t>(table, 0) == std::get<Integers>(columns[0].values));
    CHECK(values<double>(table, 1)[0] == 0.1);
    CHECK(values<double>(table, 1)[1] == 1e-300);
    CHECK(std::isnan(values<double>(table, 1)[2]));
    CHECK(values<std::string>(table, 2) == std::get<Texts>(columns[2].values));
    CHECK(table.columns[2].name == "say \"x\"");
  }
}

TEST_CASE("every beginning of a table is read or refused") {
  test::survives_truncation("# c\n\"a\",b c,\"d\"\"e\"\r\n1,2.5,\"x\ny\"\r\n", [](Bytes bytes) {
    read_delimited({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "t.csv");
  });
}

TEST_CASE("a sink leaves nothing without commit, and refuses what exists") {
  const test::Folder folder;
  { Sink::create(folder / "a.csv", false).write("x"); }
  CHECK(std::filesystem::is_empty(folder / ""));
  {
    Sink sink = Sink::create(folder / "a.csv", false);
    sink.write("x");
    sink.commit();
  }
  CHECK_THROWS_WITH(Sink::create(folder / "a.csv", false), (folder / "a.csv: exists").c_str());
  CHECK_THROWS_AS(Sink::create(folder / "no/a.csv", false), Error);
  CHECK_THROWS_AS(File::open(folder / "none"), Error);
  CHECK_THROWS_AS(File::open(folder / ""), Error);
}
