#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answers.hpp"
#include "http.hpp"
#include "llm.hpp"
#include "offline.hpp"

/// Online translation services and chat models by their documented interfaces (spec 2.6). Every base URL can be
/// replaced.
namespace fachwerk::wokie {

/// What the configuration knows of a service. Keys live here only, and nowhere in logs or outputs.
struct ServiceSettings {
  std::string name;  ///< "libretranslate", "deepl", ..., "generic:NAME"
  std::string endpoint = {};
  std::string key = {};
  std::string region = {}, project = {}, email = {};
  std::string definition = {};  ///< JSON text of a generic service
  std::string command = {};     ///< of a command service
  HttpPolicy policy = {};
};

/// How one wire format works: languages, requests, answers.
struct WireFormat {
  std::string name;
  std::string default_endpoint;
  std::size_t batch = 1;            ///< texts a request
  std::size_t batch_bytes = 20000;  ///< bytes of text a request
  /// The service's code of a language; empty if it has none.
  std::function<std::string(const std::string& language, bool target)> code;
  std::function<HttpRequest(const ServiceSettings&, const std::string& from, const std::string& to,
                            const std::vector<std::string>& texts)>
      request;
  enum class Outcome { ok, retry, unsupported, quota, failed };
  /// Reads an answer to `count` texts.
  std::function<Outcome(const HttpResponse&, std::size_t count, std::vector<std::string>& texts, std::string& message)>
      read;
};

/// Names of all services, in the order of the documentation.
std::vector<std::string> service_names();
/// Throws usage_error for an unknown name or a bad generic definition.
WireFormat wire_format(const ServiceSettings& settings);

/// Chat wire formats: openai-chat, openai-responses, anthropic, gemini, ollama.
struct ChatFormat {
  std::string name, default_endpoint;
  std::function<HttpRequest(const ServiceSettings&, const std::string& model, const Prompt&)> request;
  std::function<std::optional<std::string>(const HttpResponse&)> read;
};
ChatFormat chat_format(const std::string& name);
std::vector<std::string> chat_names();

struct ServiceUse {
  std::int64_t calls = 0, chars = 0, failures = 0, retries = 0, cached = 0;
  double cost = 0;
  bool broken = false, quota = false;
  std::string last_error = {};
};

/// Where answers come from and go to.
struct AnswerStores {
  Answers* cache = nullptr;
  Answers* journal = nullptr;
  bool cache_only = false;
};

/// A service that is asked through sockets: batches, remembers, retries, gives up as a whole when it is broken.
class OnlineService {
 public:
  OnlineService(ServiceSettings settings, AnswerStores stores);
  std::vector<std::vector<Proposal>> propose(const std::vector<SourceText>& sources, const std::string& target);
  const ServiceSettings& settings() const { return settings_; }
  const ServiceUse& use() const { return use_; }
  std::string endpoint() const;

 private:
  std::string key_of(const SourceText& source, const std::string& target) const;
  ServiceSettings settings_;
  WireFormat format_;
  AnswerStores stores_;
  ServiceUse use_;
};

/// A chat model over HTTP with the same memory.
class OnlineModel {
 public:
  OnlineModel(ServiceSettings settings, std::string model, AnswerStores stores, std::uint64_t seed);
  std::optional<std::string> ask(const Prompt& prompt);
  const ServiceUse& use() const { return use_; }
  const ServiceSettings& settings() const { return settings_; }
  const std::string& model() const { return model_; }
  std::int64_t prompt_bytes = 0, reply_bytes = 0;

 private:
  ServiceSettings settings_;
  std::string model_;
  ChatFormat format_;
  AnswerStores stores_;
  ServiceUse use_;
};

/// A program that translates: lines "id TAB text" in, "id TAB translation" out.
std::vector<std::vector<Proposal>> propose_by_command(const std::string& command,
                                                      const std::vector<SourceText>& sources,
                                                      const std::string& target);

/// USD per million tokens (in, out) of a model, per million characters of a service; nothing when unknown.
std::optional<std::pair<double, double>> price_of(const std::string& name);

}  // namespace fachwerk::wokie
