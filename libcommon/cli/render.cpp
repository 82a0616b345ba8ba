#include "cli/render.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

namespace fachwerk::cli {

namespace {

constexpr std::size_t text_width = 96;

template <class... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overload(Ts...) -> Overload<Ts...>;

std::string upper(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string value_name(const Option& option) {
  if (!option.domain.value_name.empty()) return option.domain.value_name;
  if (!option.domain.choices.empty()) return fmt::format("{}", fmt::join(option.domain.choices, "|"));
  return std::visit(
      Overload{[](bool*) { return ""; }, [](int*) { return "N"; }, [](std::int64_t*) { return "N"; },
               [](std::uint64_t*) { return "N"; }, [](double*) { return "X"; }, [](std::string*) { return "WORD"; },
               [](std::optional<int>*) { return "N"; }, [](std::optional<std::int64_t>*) { return "N"; },
               [](std::optional<double>*) { return "X"; }, [](std::optional<std::string>*) { return "WORD"; },
               [](std::vector<int>*) { return "N,..."; }, [](std::vector<std::int64_t>*) { return "N,..."; },
               [](std::vector<double>*) { return "X,..."; }, [](std::vector<std::string>*) { return "WORD,..."; }},
      option.target);
}

/// The default as a user would type it; empty where there is none worth showing.
std::string default_text(const Target& target) {
  return std::visit(Overload{[](bool*) { return std::string(); }, [](double* v) { return fmt::format("{:g}", *v); },
                             [](std::string* v) { return *v; },
                             []<class T>(std::optional<T>* v) { return *v ? fmt::format("{}", **v) : std::string(); },
                             []<class T>(std::vector<T>* v) { return fmt::format("{}", fmt::join(*v, ",")); },
                             [](auto* v) { return fmt::format("{}", *v); }},
                    target);
}

std::string option_head(const Option& option) {
  std::string head = option.name;
  if (const auto comma = head.find(','); comma != std::string::npos) head.insert(comma + 1, " ");
  const std::string value = value_name(option);
  return value.empty() ? head : head + " " + value;
}

std::string option_help(const Option& option) {
  std::vector<std::string> facts;
  const Domain& domain = option.domain;
  if (!domain.unit.empty()) facts.push_back("in " + domain.unit);
  if (domain.minimum && domain.maximum)
    facts.push_back(fmt::format("{:g} to {:g}", *domain.minimum, *domain.maximum));
  else if (domain.minimum)
    facts.push_back(fmt::format("at least {:g}", *domain.minimum));
  else if (domain.maximum)
    facts.push_back(fmt::format("at most {:g}", *domain.maximum));
  if (domain.required) facts.emplace_back("required");
  if (const std::string text = default_text(option.target); !text.empty()) facts.push_back("default " + text);
  return facts.empty() ? option.help : fmt::format("{} ({})", option.help, fmt::join(facts, "; "));
}

/// Words of one paragraph in lines of at most `columns`, each after `indent` blanks.
std::string wrapped(const std::string& paragraph, std::size_t indent, std::size_t columns = text_width) {
  std::istringstream words(paragraph);
  std::string word, line, result;
  const std::string blanks(indent, ' ');
  while (words >> word) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > columns) {
      result += blanks + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty()) result += blanks + line + "\n";
  return result;
}

std::vector<std::string> paragraphs(const std::string& text) {
  std::vector<std::string> result(1);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t") == std::string::npos) {
      if (!result.back().empty()) result.emplace_back();
    } else {
      result.back() += line + " ";
    }
  }
  if (result.back().empty()) result.pop_back();
  return result;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    result.push_back(line);
  return result;
}

/// "  head      text", the text wrapped in its own column.
std::string entry(const std::string& head, const std::string& text) {
  constexpr std::size_t column = 30;
  const std::string body = wrapped(text, column);
  if (head.size() + 4 > column) return "  " + head + "\n" + body;
  return body.empty() ? "  " + head + "\n" : "  " + head + body.substr(head.size() + 2);
}

std::string usage_words(const Command& command) {
  std::string words = command.name + " [options]";
  for (const Argument& argument : command.arguments) {
    std::string word = argument.role == Role::choice ? upper(argument.name) : argument.name;
    if (argument.role == Role::inputs) word += "...";
    if (argument.role == Role::texts)
      word = "[" + word + "...]";
    else if (argument.optional)
      word = "[" + word + "]";
    words += " " + word;
  }
  return words;
}

std::string argument_help(const Argument& argument) {
  if (argument.role == Role::choice) return fmt::format("{}: {}", argument.help, fmt::join(argument.choices, ", "));
  return argument.help;
}

const char* const exit_codes =
    "0 done; 1 the method failed; 2 wrong usage; 3 bad input; 4 I/O error; 5 something needed is absent; "
    "75 stopped with a checkpoint; 130 interrupted";

std::vector<Option> shown_standard(const Command& command) {
  Session session;
  session.threads = 0;
  StandardTargets targets;
  std::vector<Option> options = standard_options(command, session, targets);
  for (Option& option : options) {
    // The targets die with this function: show the defaults in words instead.
    option.help = option_help(option);
    option.domain.value_name = value_name(option);
    option.domain.unit.clear();
    option.domain.minimum.reset();
    option.domain.maximum.reset();
    if (!std::holds_alternative<bool*>(option.target)) option.target = static_cast<std::string*>(nullptr);
  }
  return options;
}

// ---- man(7) --------------------------------------------------------------------------------------

std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n'))
      result += std::string("\\&") + c;
    else
      result += c;
  }
  return result;
}

std::string roff_lines(const std::string& text) {
  std::string result = ".nf\n";
  for (const std::string& line : lines_of(text))
    result += roff(line) + "\n";
  return result + ".fi\n";
}

}  // namespace

bool has_output(const Command& command) {
  return std::any_of(command.arguments.begin(), command.arguments.end(),
                     [](const Argument& argument) { return argument.role == Role::output; });
}

std::vector<Option> standard_options(const Command& command, Session& session, StandardTargets& targets) {
  std::vector<Option> options;
  const Standard& standard = command.standard;
  if (standard.threads)
    options.push_back({"--threads",
                       &targets.threads,
                       "CPU threads; by default all that the job may use",
                       {.minimum = 1, .maximum = 4096}});
  if (standard.device)
    options.push_back({"--device", &session.device, "where to compute", {.value_name = "auto|cpu|cuda[:N]"}});
  if (standard.seed) options.push_back({"--seed", &session.seed, "seed of the random numbers", {}});
  if (standard.checkpoint) {
    options.push_back({"--checkpoint",
                       &session.checkpoint,
                       "save the state here on SIGINT, SIGTERM or SIGUSR1 and as the work goes on",
                       {.value_name = "FILE"}});
    options.push_back({"--resume", &session.resume, "go on from the checkpoint", {}});
  }
  if (has_output(command)) {
    options.push_back(
        {"-o,--output", &targets.output, "the output; then all other words are inputs", {.value_name = "FILE"}});
    options.push_back({"-f,--force", &session.force, "overwrite an existing output", {}});
  }
  options.push_back({"-q,--quiet", &session.quiet, "errors only", {}});
  options.push_back({"-v,--verbose", &session.verbose, "say more", {}});
  if (standard.json) options.push_back({"--json", &session.json, "the summary as one JSON object", {}});
  options.push_back(
      {"--config", &targets.config, "read options from a file, lines of name = value", {.value_name = "FILE"}});
  options.push_back({"--version", &targets.version, "print the version", {}});
  options.push_back({"-h,--help", &targets.help, "print this text", {}});
  return options;
}

std::string help_text(const Command& command) {
  std::string text = fmt::format("{} - {}\n\nusage: {}\n", command.name, command.purpose, usage_words(command));
  for (const std::string& paragraph : paragraphs(command.description))
    text += "\n" + wrapped(paragraph, 0);
  if (!command.arguments.empty()) {
    text += "\narguments:\n";
    for (const Argument& argument : command.arguments)
      text += entry(argument.name, argument_help(argument));
  }
  if (!command.options.empty()) {
    text += "\noptions:\n";
    for (const Option& option : command.options)
      text += entry(option_head(option), option_help(option));
  }
  text += "\nstandard options:\n";
  for (const Option& option : shown_standard(command))
    text += entry(option_head(option), option.help);
  if (!command.examples.empty()) text += "\nexamples:\n";
  for (const Example& example : command.examples)
    text += "  " + example.command + "\n" + wrapped(example.help, 6);
  const auto layout = [&](const char* heading, const std::string& lines) {
    if (lines.empty()) return;
    text += fmt::format("\n{}:\n", heading);
    for (const std::string& line : lines_of(lines))
      text += "  " + line + "\n";
  };
  layout("reads (HDF5; - is stdin)", command.reads);
  layout("writes (HDF5; - is stdout)", command.writes);
  text += "\nexit codes:\n" + wrapped(exit_codes, 2);
  if (!command.reference.empty()) text += "\nreference:\n" + wrapped(command.reference, 2);
  return text;
}

std::string man_page(const Command& command) {
  std::string page = fmt::format(
      ".TH \"{}\" 1 \"\" \"Fachwerk {}\" \"Fachwerk\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n", upper(command.name),
      version(), roff(command.name), roff(command.purpose), roff(usage_words(command)));
  page += ".SH DESCRIPTION\n";
  bool first = true;
  for (const std::string& paragraph : paragraphs(command.description)) {
    page += (first ? "" : ".PP\n") + roff(wrapped(paragraph, 0));
    first = false;
  }
  const auto item = [&](const std::string& head, const std::string& text) {
    page += fmt::format(".TP\n.B {}\n{}\n", roff(head), roff(text));
  };
  if (!command.arguments.empty()) page += ".SH ARGUMENTS\n";
  for (const Argument& argument : command.arguments)
    item(argument.name, argument_help(argument));
  if (!command.options.empty()) page += ".SH OPTIONS\n";
  for (const Option& option : command.options)
    item(option_head(option), option_help(option));
  page += ".SH STANDARD OPTIONS\n";
  for (const Option& option : shown_standard(command))
    item(option_head(option), option.help);
  if (!command.examples.empty()) page += ".SH EXAMPLES\n";
  for (const Example& example : command.examples)
    page += fmt::format("{}\n.PP\n.nf\n.RS\n{}\n.RE\n.fi\n.PP\n", roff(example.help), roff(example.command));
  if (!command.reads.empty()) page += ".SH HDF5 READ\n" + roff_lines(command.reads);
  if (!command.writes.empty()) page += ".SH HDF5 WRITTEN\n" + roff_lines(command.writes);
  page += ".SH EXIT STATUS\n" + roff(wrapped(exit_codes, 0));
  if (!command.reference.empty()) page += ".SH REFERENCE\n" + roff(wrapped(command.reference, 0));
  return page;
}

std::string bash_completion(const Command& command) {
  std::string words;
  std::string cases;
  const auto add = [&](const Option& option) {
    std::string names = option.name;
    std::replace(names.begin(), names.end(), ',', ' ');
    words += (words.empty() ? "" : " ") + names;
    std::replace(names.begin(), names.end(), ' ', '|');
    if (!option.domain.choices.empty())
      cases += fmt::format("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$word\")); return ;;\n", names,
                           fmt::join(option.domain.choices, " "));
  };
  for (const Option& option : command.options)
    add(option);
  for (const Option& option : shown_standard(command))
    add(option);
  std::string plain;
  for (const Argument& argument : command.arguments)
    if (argument.role == Role::choice) plain += fmt::format("{} ", fmt::join(argument.choices, " "));
  std::string function = command.name;
  std::replace(function.begin(), function.end(), '-', '_');
  return fmt::format(
      "# bash completion of {0}\n_{1}() {{\n  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" "
      "before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n"
      "  case \"$before\" in\n{2}    *) ;;\n  esac\n  if [[ \"$word\" == -* ]]; then\n    COMPREPLY=($(compgen -W "
      "\"{3}\" -- \"$word\"))\n"
      "  else\n    COMPREPLY=($(compgen -W \"{4}\" -- \"$word\") $(compgen -f -- \"$word\"))\n  fi\n}}\ncomplete -o "
      "filenames -F _{1} {0}\n",
      command.name, function, cases, words, plain);
}

}  // namespace fachwerk::cli
