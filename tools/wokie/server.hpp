#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "offline.hpp"

/// A loopback server that speaks the wire formats of the services and of chat models, for tests and rehearsals.
namespace fachwerk::wokie {

struct ServeRequest {
  std::string method, path, query, body;
  std::map<std::string, std::string> headers;  ///< names in lower case
};
struct ServeResponse {
  int status = 200;
  std::string body;
  std::vector<std::string> headers = {};
  bool truncate = false;  ///< send half of the body, then hang up
  double delay = 0;
};

/// A fault that a service shows from some request on: "libretranslate:429@5" answers the fifth request with 429.
struct Fault {
  std::string service;  ///< empty: all
  std::string kind;     ///< a status code, "truncate", "badjson", "html502"
  std::int64_t at = 1;  ///< first request that shows it
  bool once = true;     ///< that one only; otherwise all from it on
  std::optional<double> retry_after = {};
};
/// "libretranslate:429@5,retry-after=1;deepl:456@100+;slow=2s;truncate@3" (+ : from that request on).
struct Faults {
  std::vector<Fault> list;
  double slow = 0;
};
Faults parse_faults(const std::string& text);

class Service {
 public:
  /// `translate` answers for one text; nothing: it has no translation (services then return the text as it is).
  using Translate = std::function<std::optional<std::string>(const std::string& from, const std::string& to,
                                                             const std::string& text)>;
  Service(Translate translate, std::set<std::string> languages, Faults faults, double latency, std::int64_t quota)
      : translate_(std::move(translate)),
        languages_(std::move(languages)),
        faults_(std::move(faults)),
        latency_(latency),
        quota_(quota) {}

  /// Answers one request; safe to call from several threads.
  ServeResponse answer(const ServeRequest& request);
  std::map<std::string, std::int64_t> counts() const;  ///< requests by service
  std::vector<std::string> log() const;                ///< one JSON line per request, without keys

 private:
  ServeResponse dispatch(const std::string& service, const ServeRequest& request);
  ServeResponse chat(const ServeRequest& request);
  std::string reply_of_model(const std::string& system, const std::string& user);

  Translate translate_;
  std::set<std::string> languages_;
  Faults faults_;
  double latency_;
  std::int64_t quota_;
  mutable std::mutex mutex_;
  std::map<std::string, std::int64_t> counts_, characters_;
  std::vector<std::string> log_;
};

/// Listens on 127.0.0.1 (port 0: any free one, told to `ready`) until `stop` says so; keep-alive, a thread a
/// connection.
void serve_loopback(int port, Service& service, const std::function<void(int)>& ready,
                    const std::function<bool()>& stop);

}  // namespace fachwerk::wokie
