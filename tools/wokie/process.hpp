#pragma once

#include <string>
#include <string_view>

namespace fachwerk::wokie {

/// Runs a shell command in a UTF-8 locale, feeds it `input` and returns what it prints. Throws method_failed when it
/// fails or does not answer within `seconds`.
std::string run_shell(const std::string& command, std::string_view input, double seconds = 600);

/// A word that the shell takes as it is.
std::string shell_quoted(std::string_view word);

}  // namespace fachwerk::wokie
