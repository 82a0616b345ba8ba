#include "cli/command.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <numeric>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include "cli/render.hpp"
#include "cli/signals.hpp"

namespace fachwerk::cli {

namespace {

namespace fs = std::filesystem;

// ---- options -------------------------------------------------------------------------------------

/// What is wrong with one word given for a number, or nothing.
template <class Number>
std::string check_number(const std::string& text, const Domain& domain) {
  Number value = {};
  if (!CLI::detail::lexical_cast(text, value))
    return fmt::format("\"{}\" is not a {}number", text, std::is_integral_v<Number> ? "whole " : "");
  if (domain.minimum && !(static_cast<double>(value) >= *domain.minimum))
    return fmt::format("{} is below {:g}", text, *domain.minimum);
  if (domain.maximum && !(static_cast<double>(value) <= *domain.maximum))
    return fmt::format("{} is above {:g}", text, *domain.maximum);
  return {};
}

template <class T>
struct Element {
  using type = T;
  static constexpr bool list = false;
};
template <class T>
struct Element<std::optional<T>> {
  using type = T;
  static constexpr bool list = false;
};
template <class T>
struct Element<std::vector<T>> {
  using type = T;
  static constexpr bool list = true;
};

void add_option(CLI::App& app, const Option& option) {
  const Domain& domain = option.domain;
  const auto add = [&]<class T>(T* target) {
    if constexpr (std::is_same_v<T, bool>) {
      app.add_flag(option.name, *target);
    } else {
      using Value = typename Element<T>::type;
      CLI::Option* added = app.add_option(option.name, *target)->required(domain.required);
      if constexpr (Element<T>::list) added->delimiter(',')->allow_extra_args(false);
      if constexpr (std::is_arithmetic_v<Value>)
        added->check([domain](const std::string& text) { return check_number<Value>(text, domain); });
    }
  };
  std::visit(add, option.target);
  if (domain.choices.empty()) return;
  app.get_option(option.name.substr(option.name.find("--")))
      ->check([choices = domain.choices](const std::string& text) {
        if (std::find(choices.begin(), choices.end(), text) != choices.end()) return std::string();
        return fmt::format("\"{}\" is not one of {}", text, fmt::join(choices, ", "));
      });
}

/// What CLI11 found wrong, in this project's words.
std::string parse_message(const CLI::ParseError& error) {
  std::string message = error.what();
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    return message.substr(0, message.find(':')) + ": expected one value";
  return message;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known)
    if (const std::size_t distance = edit_distance(word, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  // --tolerance for --tol, or the other way round
  const auto extends = [&](const std::string& name) {
    return name.size() >= 4 && word.size() >= 4 && (word.starts_with(name) || name.starts_with(word));
  };
  if (const auto found = std::find_if(known.begin(), known.end(), extends); best.empty() && found != known.end())
    return *found;
  return best;
}

Error unknown_option(const std::string& word, const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
  const std::string name = word.substr(0, word.find('='));
  const std::string near = nearest(name, names);
  const Error error = usage_error("unknown option {}", name);
  return near.empty() ? error : error.with_hint(fmt::format("did you mean {}?", near));
}

// ---- arguments -----------------------------------------------------------------------------------

bool takes_many(const Argument& argument) {
  return argument.role == Role::inputs || argument.role == Role::texts;
}

bool required(const Argument& argument, bool output_given) {
  if (argument.role == Role::texts || argument.optional) return false;
  return !(argument.role == Role::output && output_given);
}

/// Deals the words of the command line out to the declared arguments, in order; one that takes many takes the surplus.
void deal(const Command& command, const std::vector<std::string>& words, const std::string& output) {
  std::size_t needed = 0;
  for (const Argument& argument : command.arguments)
    needed += required(argument, !output.empty()) ? 1 : 0;
  std::size_t next = 0;
  std::size_t surplus = words.size() > needed ? words.size() - needed : 0;
  for (const Argument& argument : command.arguments) {
    if (argument.role == Role::output && !output.empty()) {
      *std::get<std::string*>(argument.target) = output;
      continue;
    }
    const bool must = required(argument, !output.empty());
    std::size_t take = must ? 1 : 0;
    if (takes_many(argument))
      take += std::exchange(surplus, 0);
    else if (!must && surplus > 0) {
      take = 1;
      --surplus;
    }
    if (next + take > words.size())
      throw usage_error("missing {}", argument.name).with_hint(fmt::format("see {} --help", command.name));
    for (std::size_t i = 0; i < take; ++i) {
      const std::string& word = words[next++];
      if (argument.role == Role::choice &&
          std::find(argument.choices.begin(), argument.choices.end(), word) == argument.choices.end()) {
        const std::string near = nearest(word, argument.choices);
        const Error error =
            usage_error("{} \"{}\" is not one of {}", argument.name, word, fmt::join(argument.choices, ", "));
        throw near.empty() ? error : error.with_hint(fmt::format("did you mean {}?", near));
      }
      if (auto* const* one = std::get_if<std::string*>(&argument.target))
        **one = word;
      else
        std::get<std::vector<std::string>*>(argument.target)->push_back(word);
    }
  }
  if (next < words.size())
    throw usage_error("unexpected argument \"{}\"", words[next]).with_hint(fmt::format("see {} --help", command.name));
}

std::vector<std::string> files_of(const Command& command, bool outputs) {
  std::vector<std::string> files;
  for (const Argument& argument : command.arguments) {
    const bool wanted =
        outputs ? argument.role == Role::output : argument.role == Role::input || argument.role == Role::inputs;
    if (!wanted) continue;
    if (auto* const* one = std::get_if<std::string*>(&argument.target)) {
      if (!(*one)->empty()) files.push_back(**one);
    } else {
      const auto& many = *std::get<std::vector<std::string>*>(argument.target);
      files.insert(files.end(), many.begin(), many.end());
    }
  }
  return files;
}

void check_files(const Command& command, const Session& session) {
  const std::vector<std::string> inputs = files_of(command, false);
  if (std::count(inputs.begin(), inputs.end(), "-") > 1) throw usage_error("stdin (-) can be only one of the inputs");
  for (const std::string& output : files_of(command, true)) {
    if (output == "-") continue;
    std::error_code ignored;
    for (const std::string& input : inputs)
      if (input != "-" && fs::equivalent(input, output, ignored))
        throw usage_error("{}: the output is also an input", output).with_hint("write to another file");
    if (!session.force && fs::is_regular_file(output, ignored))
      throw io_error("{}: exists", output).with_hint("--force overwrites it");
  }
}

// ---- the run -------------------------------------------------------------------------------------

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                          "-_./=:,+@%^") == std::string::npos;
  if (plain) return word;
  std::string result = "'";
  for (const char c : word)
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string command_line(const std::string& name, int argc, char** argv) {
  std::string line = name;
  for (int i = 1; i < argc; ++i)
    line += " " + quoted(argv[i]);
  return line;
}

void put(const std::string& text, std::FILE* stream) {
  if (std::fwrite(text.data(), 1, text.size(), stream) != text.size() || std::fflush(stream) != 0)
    throw io_error("cannot write to {}: {}", stream == stdout ? "stdout" : "stderr", std::strerror(errno));
}

/// Text that was asked for; whoever closes the pipe (`| head`) has read enough of it.
void answer(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// --help and its like win over anything else on the line and load nothing.
bool answer_at_once(const Command& command, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") return false;
    if (word == "--help" || word == "-h") return answer(help_text(command)), true;
    if (word == "--version") return answer(fmt::format("{} (Fachwerk) {}\n", command.name, version())), true;
    if (word == "--man") return answer(man_page(command)), true;
    if (word == "--completion") return answer(bash_completion(command)), true;
  }
  return false;
}

void parse(const Command& command, int argc, char** argv, Session& session) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  StandardTargets targets;
  std::vector<std::string> words;
  for (const Option& option : command.options)
    add_option(app, option);
  for (const Option& option : standard_options(command, session, targets))
    if (option.name != "--config") add_option(app, option);
  app.set_config("--config")->expected(1);
  app.add_option("arguments", words)->configurable(false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool file = dynamic_cast<const CLI::FileError*>(&error) != nullptr;
    throw Error(file ? Exit::io : Exit::usage, parse_message(error))
        .with_hint(fmt::format("see {} --help", command.name));
  }
  for (const std::string& word : app.remaining())
    throw unknown_option(word, app);
  deal(command, words, targets.output);
  session.threads = targets.threads.value_or(default_threads());
}

bool writes_to_stdout(const Command& command) {
  const auto outputs = files_of(command, true);
  return std::find(outputs.begin(), outputs.end(), "-") != outputs.end();
}

void print_summary(const Command& command, const Session& session) {
  if (!session.talks || session.summary.empty() || (session.quiet && !session.json)) return;
  put(session.json ? session.summary.json(session.tool) : session.summary.text(),
      writes_to_stdout(command) ? stderr : stdout);
}

/// A rank that does not talk waits: where all ranks fail alike, the first one says so and its launcher ends the others.
/// A rank that is left after that has failed alone.
int report(const Session& session, Exit code, const std::string& message, const std::string& hint = {}) {
  if (!session.talks) std::this_thread::sleep_for(std::chrono::seconds(3));
  say(fmt::format("{}: {}\n", session.tool, message));
  if (!hint.empty()) say(fmt::format("{}: hint: {}\n", session.tool, hint));
  return static_cast<int>(code);
}

}  // namespace

Argument input(std::string name, std::string& target, std::string help) {
  return {Role::input, std::move(name), &target, std::move(help)};
}
Argument optional_input(std::string name, std::string& target, std::string help) {
  return {Role::input, std::move(name), &target, std::move(help), true};
}
Argument inputs(std::string name, std::vector<std::string>& target, std::string help) {
  return {Role::inputs, std::move(name), &target, std::move(help)};
}
Argument output(std::string name, std::string& target, std::string help) {
  return {Role::output, std::move(name), &target, std::move(help)};
}
Argument optional_output(std::string name, std::string& target, std::string help) {
  return {Role::output, std::move(name), &target, std::move(help), true};
}
Argument choice(std::string name, std::string& target, std::vector<std::string> choices, std::string help) {
  return {Role::choice, std::move(name), &target, std::move(help), false, std::move(choices)};
}
Argument text(std::string name, std::string& target, std::string help) {
  return {Role::text, std::move(name), &target, std::move(help)};
}

namespace {

/// False on the ranks but the first of an MPI job. MPI is not up yet, but its launcher says so. Under Slurm PMI_RANK is
/// set for tasks that have nothing to do with one another, too.
bool first_of_its_job() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (rank == nullptr && std::getenv("SLURM_JOB_ID") == nullptr) rank = std::getenv("PMI_RANK");
  return rank == nullptr || std::atoi(rank) == 0;
}

}  // namespace

int Command::run(int argc, char** argv, const std::function<void(Session&)>& body) const {
  Session session;
  session.tool = name;
  session.version = fachwerk::cli::version();
  session.command_line = command_line(name, argc, argv);
  session.talks = first_of_its_job();
  try {
    install_signal_handlers(false);
    if (answer_at_once(*this, argc, argv)) return 0;
    parse(*this, argc, argv, session);
    check_files(*this, session);
    install_signal_handlers(!session.checkpoint.empty());
    omp_set_num_threads(session.threads);
    body(session);
    print_summary(*this, session);
    if (!session.failure.empty()) return report(session, Exit::failed, session.failure);
    return static_cast<int>(Exit::done);
  } catch (const Error& error) {
    return report(session, error.code(), error.what(), error.hint());
  } catch (const std::bad_alloc&) {
    return report(session, Exit::absent, "out of memory", "free some, or use a machine that has more");
  } catch (const std::exception& error) {
    return report(session, Exit::failed, error.what());
  }
}

}  // namespace fachwerk::cli
