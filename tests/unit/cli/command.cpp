#include "cli/command.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <doctest.h>

using namespace fachwerk;

namespace {

struct Parsed {
  std::string input, output, mode;
  std::vector<std::string> more;
  double tol = 1e-8;
  std::optional<int> rank;
  std::vector<double> bounds;
  bool exact = false;
  int code = -1;
  bool ran = false;
  cli::Session session;
};

/// Runs a small command with these words; what it would do is recorded, not done.
Parsed run(std::vector<std::string> words) {
  Parsed parsed;
  const cli::Command command{
      .name = "test-run",
      .purpose = "test",
      .description = "A test.",
      .arguments = {cli::choice("METHOD", parsed.mode, {"newton", "chord"}, "method"),
                    cli::input("IN", parsed.input, "input"), cli::output("OUT", parsed.output, "output")},
      .options = {{"--tol", &parsed.tol, "tolerance", {.minimum = 0, .maximum = 1}},
                  {"--rank", &parsed.rank, "rank", {.minimum = 1}},
                  {"--bounds", &parsed.bounds, "bounds"},
                  {"--exact", &parsed.exact, "exactly"}},
      .standard = {.threads = true, .seed = true},
  };
  words.insert(words.begin(), "test-run");
  std::vector<char*> argv;
  for (std::string& word : words)
    argv.push_back(word.data());
  parsed.code = command.run(static_cast<int>(argv.size()), argv.data(), [&](cli::Session& session) {
    parsed.ran = true;
    parsed.session = session;
  });
  return parsed;
}

}  // namespace

TEST_CASE("arguments are dealt in order, the output also by -o") {
  const Parsed plain = run({"newton", "a.h5", "no-such-b.h5"});
  CHECK(plain.code == 0);
  CHECK(plain.mode == "newton");
  CHECK(plain.input == "a.h5");
  CHECK(plain.output == "no-such-b.h5");
  const Parsed named = run({"newton", "-o", "no-such-b.h5", "a.h5"});
  CHECK(named.code == 0);
  CHECK(named.input == "a.h5");
  CHECK(named.output == "no-such-b.h5");
  const Parsed pipes = run({"chord", "-", "-"});
  CHECK(pipes.input == "-");
  CHECK(pipes.output == "-");
}

TEST_CASE("options are parsed with their types") {
  const Parsed parsed = run({"newton", "a", "-", "--tol", "1e-3", "--rank=4", "--bounds", "-1,2.5,3e2", "--exact",
                             "--seed", "77", "--threads", "3"});
  CHECK(parsed.code == 0);
  CHECK(parsed.tol == 1e-3);
  CHECK(parsed.rank == 4);
  CHECK(parsed.bounds == std::vector<double>{-1, 2.5, 300});
  CHECK(parsed.exact);
  CHECK(parsed.session.seed == 77);
  CHECK(parsed.session.threads == 3);
  CHECK(parsed.session.command_line ==
        "test-run newton a - --tol 1e-3 --rank=4 --bounds -1,2.5,3e2 --exact --seed 77 --threads 3");
}

TEST_CASE("wrong usage is exit code 2 and the body does not run") {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"newton", "a"},                           // missing output
                                             {"newton", "a", "b", "c"},                 // one too many
                                             {"nweton", "a", "b"},                      // not a choice
                                             {"newton", "a", "b", "--tolerance", "1"},  // unknown option
                                             {"newton", "a", "b", "--tol", "2"},        // out of range
                                             {"newton", "a", "b", "--tol", "x"},        // not a number
                                             {"newton", "a", "b", "--tol"},             // value missing
                                             {"newton", "a", "b", "--rank", "0"},
                                             {"newton", "a", "b", "--tol", "nan"},
                                             {"newton", "a", "b", "--rank", "1.5"}}) {
    const Parsed parsed = run(words);
    CAPTURE(words);
    CHECK(parsed.code == 2);
    CHECK_FALSE(parsed.ran);
  }
}

TEST_CASE("an output that exists or equals the input is refused") {
  const auto folder = std::filesystem::temp_directory_path() / "fachwerk-unit-cli";
  std::filesystem::create_directories(folder);
  const std::string file = folder / "x.h5";
  std::ofstream(file) << "x";
  CHECK(run({"newton", "-", file}).code == 4);
  CHECK(run({"newton", "-", file, "--force"}).code == 0);
  CHECK(run({"newton", file, (folder / "." / "x.h5").string(), "--force"}).code == 2);
  std::filesystem::remove_all(folder);
}

TEST_CASE("errors of the body become exit codes") {
  const cli::Command command{.name = "t", .purpose = "t", .description = "t"};
  std::string name = "t";
  char* argv[] = {name.data()};
  const auto code = [&](auto error) { return command.run(1, argv, [&](cli::Session&) { throw error; }); };
  CHECK(code(bad_input("x")) == 3);
  CHECK(code(io_error("x")) == 4);
  CHECK(code(absent_error("x")) == 5);
  CHECK(code(method_failed("x")) == 1);
  CHECK(code(std::bad_alloc()) == 5);
  CHECK(code(cli::stopped_error("c.h5")) == 75);
  CHECK(command.run(1, argv, [](cli::Session& session) { session.fail("no"); }) == 1);
}

TEST_CASE("summary as JSON and as text") {
  cli::Summary summary;
  summary.add("buses", 14);
  summary.add("losses", 13.39, "MW");
  summary.add("worst", std::nan(""));
  summary.add("method", "nr \"quoted\"\n");
  summary.add(
      cli::Table{"worst branches", {"branch", "loading %"}, {{std::int64_t{7}, 99.5}, {std::int64_t{8}, 12.0}}});
  CHECK(summary.json("dpf-solve") ==
        "{\"tool\":\"dpf-solve\",\"version\":\"" + cli::version() +
            "\",\"buses\":14,\"losses_MW\":13.39,\"worst\":null,\"method\":\"nr \\\"quoted\\\"\\n\",\"worst_branches\":"
            "[{\"branch\":7,\"loading_percent\":99.5},{\"branch\":8,\"loading_percent\":12.0}]}\n");
  CHECK(summary.text().find("losses  13.39 MW") != std::string::npos);
}

TEST_CASE("threads follow the job") {
  setenv("SLURM_CPUS_PER_TASK", "5", 1);
  CHECK(cli::default_threads() == 5);
  unsetenv("SLURM_CPUS_PER_TASK");
  setenv("OMP_NUM_THREADS", "3", 1);
  CHECK(cli::default_threads() == 3);
  unsetenv("OMP_NUM_THREADS");
  CHECK(cli::default_threads() >= 1);
}

TEST_CASE("help, man page and completion name every option") {
  double tol = 0.5;
  std::string in;
  const cli::Command command{.name = "a-b",
                             .purpose = "do it",
                             .description = "First.\n\nSecond.",
                             .arguments = {cli::input("IN", in, "the input")},
                             .options = {{"--tol", &tol, "tolerance", {.unit = "pu", .minimum = 0}}},
                             .examples = {{"a-b x.h5", "An example."}},
                             .reference = "Somebody, 2020."};
  for (const std::string& text : {cli::help_text(command), cli::bash_completion(command)}) {
    CHECK(text.find("--tol") != std::string::npos);
    CHECK(text.find("--json") != std::string::npos);
  }
  CHECK(cli::help_text(command).find("in pu; at least 0; default 0.5") != std::string::npos);
  const std::string page = cli::man_page(command);
  CHECK(page.starts_with(".TH \"A-B\" 1"));
  CHECK(page.find("\\-\\-tol X") != std::string::npos);
  CHECK(page.find("Somebody, 2020.") != std::string::npos);
}
