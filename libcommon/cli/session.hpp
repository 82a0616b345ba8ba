#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/error.hpp"

namespace fachwerk::cli {

/// A table for people that is also an array of objects in `--json`.
struct Table {
  using Cell = std::variant<std::int64_t, double, std::string>;
  std::string name;                  ///< key in JSON, heading for people
  std::vector<std::string> columns;  ///< with units where they have them: "loading %"
  std::vector<std::vector<Cell>> rows = {};
};

/// Result summary: what a run found, printed once at its end, as text or (with --json) as one JSON object.
class Summary {
 public:
  using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

  void add(std::string key, double value, std::string unit = {}) { put(std::move(key), value, std::move(unit)); }
  void add(std::string key, bool value) { put(std::move(key), value, {}); }
  void add(std::string key, const char* value) { put(std::move(key), std::string(value), {}); }
  void add(std::string key, std::string value) { put(std::move(key), std::move(value), {}); }
  void add(std::string key, std::vector<double> value, std::string unit = {}) {
    put(std::move(key), std::move(value), std::move(unit));
  }
  void add(std::string key, std::vector<std::string> value) { put(std::move(key), std::move(value), {}); }
  template <class Integer>
  requires std::is_integral_v<Integer>
  void add(std::string key, Integer value, std::string unit = {}) {
    put(std::move(key), static_cast<std::int64_t>(value), std::move(unit));
  }
  void add(Table table) { tables_.push_back(std::move(table)); }

  bool empty() const { return entries_.empty() && tables_.empty(); }
  std::string text() const;  ///< aligned lines and tables
  /// One JSON object: keys with blanks as underscores, units appended ("losses_MW"), NaN and infinities as null.
  std::string json(const std::string& tool) const;

 private:
  struct Entry {
    std::string key;
    Value value;
    std::string unit;
  };
  void put(std::string key, Value value, std::string unit) {
    entries_.push_back({std::move(key), std::move(value), std::move(unit)});
  }
  std::vector<Entry> entries_;
  std::vector<Table> tables_;
};

/// What a tool's body gets: the standard options as parsed, and where it reports.
struct Session {
  std::string tool;          ///< name of the binary
  std::string version;       ///< "0.1.0"
  std::string command_line;  ///< as typed, quoted so that a shell reads it again: goes into `history`
  int threads = 1;
  std::string device = "auto";  ///< auto, cpu, cuda, cuda:N: for compute::Device
  std::uint64_t seed = 1;
  bool force = false;
  bool quiet = false;
  bool verbose = false;
  bool json = false;
  std::string checkpoint = {};  ///< file, empty when none was asked for
  bool resume = false;
  bool talks = true;  ///< false on every rank but 0: then nothing is printed
  Summary summary = {};

  /// The method failed but its results are worth writing: the run goes on, the summary is printed, the exit code is 1.
  void fail(std::string message) { failure = std::move(message); }
  std::string failure = {};

  /// A line on stderr unless --quiet. `note` only with --verbose.
  void warn(const std::string& message) const;
  void note(const std::string& message) const;
};

/// A line on stderr, whole. What stands in its way (a closed pipe) is ignored: a run does not fail for a message.
void say(const std::string& text) noexcept;

/// Version of the toolkit, e.g. "0.1.0".
std::string version();

/// What --threads defaults to: SLURM_CPUS_PER_TASK, else OMP_NUM_THREADS, else the cpu affinity divided by the ranks on
/// this node.
int default_threads();

/// True once SIGINT, SIGTERM or SIGUSR1 came in a run that has a checkpoint (other runs end at once, code 130): finish
/// the step, save, throw `stopped_error`.
bool stop_requested();

/// The error of a run that saved its state: exit code 75, and the hint how to resume.
Error stopped_error(const std::string& checkpoint);

/// Files that must not survive an interrupted run (at most 64 at a time). Used by io for its temporaries.
void register_temporary(const std::string& path);
void forget_temporary(const std::string& path);

}  // namespace fachwerk::cli
