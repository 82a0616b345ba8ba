#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/error.hpp"
#include "cli/session.hpp"

/// A command declared as data. From the declaration come parsing, `--help`, the man page and the bash completion.
namespace fachwerk::cli {

/// Where an option's value goes. The value held at declaration is the default that `--help` shows.
using Target =
    std::variant<bool*, int*, std::int64_t*, std::uint64_t*, double*, std::string*, std::optional<int>*,
                 std::optional<std::int64_t>*, std::optional<double>*, std::optional<std::string>*, std::vector<int>*,
                 std::vector<std::int64_t>*, std::vector<double>*, std::vector<std::string>*>;

/// What a value may be. A list option takes its values separated by commas.
struct Domain {
  std::string unit = {};                  ///< printed after the value name: "pu", "deg", "MW"
  std::optional<double> minimum = {};     ///< inclusive
  std::optional<double> maximum = {};     ///< inclusive
  std::vector<std::string> choices = {};  ///< the only words allowed
  std::string value_name = {};            ///< "FILE", "N"; chosen by type when empty
  bool required = false;
};

struct Option {
  std::string name;  ///< long GNU name with dashes, "--tol"; the universal short ones may stand before it: "-x,--long"
  Target target;
  std::string help;
  Domain domain = {};
};

enum class Role {
  input,   ///< a file that is read; `-` is stdin
  inputs,  ///< one or more of them
  output,  ///< a file that is written; `-` is stdout; may also be given as -o/--output
  choice,  ///< one word out of `choices`
  text,    ///< any word
  texts    ///< zero or more words
};

struct Argument {
  Role role;
  std::string name;  ///< as in the usage line: "CASE", "OUT"
  std::variant<std::string*, std::vector<std::string>*> target;
  std::string help;
  bool optional = false;
  std::vector<std::string> choices = {};
};

/// The standard options that this tool honours beyond those that every tool has
/// (--quiet, --verbose, --json, --config, --version, --help; --force when there is an output).
struct Standard {
  bool threads = false;
  bool device = false;      ///< has device code
  bool seed = false;        ///< uses random numbers
  bool checkpoint = false;  ///< can stop on a signal and resume: adds --checkpoint FILE and --resume
  bool json = true;         ///< prints a summary
};

struct Example {
  std::string command;
  std::string help;
};

struct Command {
  std::string name;         ///< "dpf-solve"
  std::string purpose;      ///< one line, no full stop: "solve the AC power flow of a grid"
  std::string description;  ///< paragraphs separated by blank lines
  std::vector<Argument> arguments = {};
  std::vector<Option> options = {};
  std::vector<Example> examples = {};
  std::string reference = {};  ///< the paper
  std::string reads = {};      ///< HDF5 layout read, one dataset a line
  std::string writes = {};     ///< HDF5 layout written
  Standard standard = {};

  /// Parses, runs `body`, prints the summary or the error line. Returns the exit code: `main` is one call.
  int run(int argc, char** argv, const std::function<void(Session&)>& body) const;
};

Argument input(std::string name, std::string& target, std::string help);
Argument optional_input(std::string name, std::string& target, std::string help);
Argument inputs(std::string name, std::vector<std::string>& target, std::string help);
Argument output(std::string name, std::string& target, std::string help);
/// An output that may be missing (empty string then): for tools whose main result is the summary.
Argument optional_output(std::string name, std::string& target, std::string help);
Argument choice(std::string name, std::string& target, std::vector<std::string> choices, std::string help);
Argument text(std::string name, std::string& target, std::string help);

/// The texts made from the declaration, for `--help`, `man/NAME.1` (man macros) and bash completion.
std::string help_text(const Command& command);
std::string man_page(const Command& command);
std::string bash_completion(const Command& command);

}  // namespace fachwerk::cli
