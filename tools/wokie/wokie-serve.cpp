#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <signal.h>

#include "cli/command.hpp"
#include "io/bytes.hpp"
#include "language.hpp"
#include "resources.hpp"
#include "server.hpp"
#include "unicode.hpp"

using namespace fachwerk;
using namespace fachwerk::wokie;

namespace {

volatile std::sig_atomic_t asked_to_stop = 0;

}  // namespace

int main(int argc, char** argv) {
  std::int64_t port = 0, quota = 0;
  double latency = 0, seconds = 0;
  std::string fault, log, port_file, lexicon_file, dict_dir;
  std::vector<std::string> tm,
      languages = {"en", "de", "fr", "es", "it", "pt", "nl", "ru", "el", "ar", "hr", "hu", "sl", "sr", "uk", "la"};
  const cli::Command command{
      .name = "wokie-serve",
      .purpose = "loopback server that behaves like translation services and chat models",
      .description =
          "For tests and rehearsals of wokie-translate: listens on 127.0.0.1 and speaks the wire formats of "
          "libretranslate, deepl, "
          "google, google-v2, microsoft, lingvanex, modernmt, pons, yandex, mymemory, apertium-apy, and the chat "
          "interfaces "
          "openai-chat, openai-responses, anthropic, gemini, ollama. Answers come from a lexicon or memory, so that "
          "they are "
          "translations; what it does not know comes back untranslated, as those services do.\n\n"
          "--fault schedules failures by request number, separated by semicolons: "
          "[SERVICE:]KIND[@N[+]][,retry-after=S], KIND an "
          "HTTP status, truncate, badjson or html502, + for \"from the Nth on\", or slow=S. Keys are accepted and "
          "never logged. "
          "It stops by SIGINT or SIGTERM, or after --seconds.",
      .options = {{"--port", &port, "port on 127.0.0.1; 0 takes a free one", {.minimum = 0, .maximum = 65535}},
                  {"--port-file", &port_file, "file to write the port to once it listens", {.value_name = "FILE"}},
                  {"--tm", &tm, "memory to answer from: TMX, CSV, TSV, thesaurus", {.value_name = "FILE"}},
                  {"--lexicon", &lexicon_file, "compiled lexicon to answer from", {.value_name = "FILE"}},
                  {"--languages", &languages, "languages that are served", {.value_name = "LANG"}},
                  {"--fault", &fault, "schedule of failures", {.value_name = "LIST"}},
                  {"--latency", &latency, "before every answer", {.unit = "s", .minimum = 0}},
                  {"--quota", &quota, "characters per service; 0 without limit", {.minimum = 0}},
                  {"--log", &log, "request log, JSON lines, written at the end", {.value_name = "FILE"}},
                  {"--seconds", &seconds, "stop after so long; 0 runs on", {.unit = "s", .minimum = 0}}},
      .examples =
          {{"wokie-serve --port 5000 --tm glossary.csv", "a LibreTranslate of one's own terms"},
           {"wokie-serve --port-file port --tm tm.csv --fault 'libretranslate:429@2,retry-after=1;truncate@5' &",
            "rehearse failures"}},
      .reference = "Interfaces as documented by their vendors up to 2025.",
      .reads = "kind wokie-lexicon (--lexicon), kind thesaurus (--tm)",
      .writes = "nothing",
  };
  return command.run(argc, argv, [&](cli::Session& session) {
    Memory memory;
    for (const std::string& path : tm)
      add_memory(memory, path);
    Lexicon lexicon;
    if (!lexicon_file.empty()) lexicon = load_lexicon(session, lexicon_file, dict_dir);
    if (memory.empty() && lexicon.words.empty())
      throw usage_error("--tm or --lexicon is needed: answers come from there");
    const auto translate = [&](const std::string& from, const std::string& to,
                               const std::string& text) -> std::optional<std::string> {
      const auto known = memory.look_up({from, text}, to);
      if (!known.empty()) return known.front().text;
      for (const std::string& key : dictionary_keys(text, from)) {
        const auto found = word_translations(lexicon, long_code(from), long_code(to), key, true, true);
        if (!found.empty()) return found.front().text;
      }
      return std::nullopt;
    };
    Service service(translate, {languages.begin(), languages.end()}, parse_faults(fault), latency, quota);
    struct sigaction action {};
    action.sa_handler = [](int) { asked_to_stop = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    const auto start = std::chrono::steady_clock::now();
    const auto stop = [&] {
      return asked_to_stop != 0 ||
             (seconds > 0 && std::chrono::steady_clock::now() - start > std::chrono::duration<double>(seconds));
    };
    serve_loopback(
        static_cast<int>(port), service,
        [&](int own) {
          session.warn(fmt::format("listening on 127.0.0.1:{}", own));
          if (port_file.empty()) return;
          const std::string partial = port_file + ".part";
          formats::Sink sink = formats::Sink::create(partial, true, false);
          sink.write(fmt::format("{}\n", own));
          sink.commit();
          std::filesystem::rename(partial, port_file);
        },
        stop);
    if (!log.empty()) {
      formats::Sink sink = formats::Sink::create(log, true, false);
      for (const std::string& line : service.log())
        sink.write(line + "\n");
      sink.commit();
    }
    for (const auto& [name, count] : service.counts())
      session.summary.add(name, count);
  });
}
