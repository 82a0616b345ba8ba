#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// HTTP with what services need: concurrency, a rate, retries that wait as the server asks, nothing of it blocking.
namespace fachwerk::wokie {

struct HttpRequest {
  std::string method = "POST";
  std::string url;
  std::vector<std::string> headers = {};
  std::string body = {};
  double timeout = 30;
};

struct HttpResponse {
  long status = 0;  ///< 0: no answer
  std::string body = {};
  std::optional<double> retry_after = {};  ///< seconds
  std::string error = {};                  ///< transport error; never holds the URL's query
};

/// What is to be done with a response.
enum class Verdict { done, retry, failed };

struct HttpPolicy {
  int concurrency = 4;
  double rate = 0;  ///< requests per second; 0 without limit
  int retries = 5;
  int breaker = 5;  ///< consecutive hard failures after which nothing more is sent
  std::uint64_t seed = 1;
  std::function<bool()> stop = {};  ///< asked between requests: true sends nothing more
};

struct HttpCounts {
  std::int64_t calls = 0, failures = 0, retries = 0;
  bool broken = false;  ///< the circuit breaker opened
};

/// Retry by status alone: connect failures, 408, 425, 429, 500, 502, 503, 504.
Verdict default_verdict(const HttpResponse& response);

/// Seconds until the next attempt: Retry-After, else min(60, 0.5 * 2^attempt) times a random factor from 0.5 to 1.5.
double retry_delay(const HttpResponse& response, int attempt, double random);

/// Seconds of a Retry-After value, a number or an HTTP date; `now` in seconds since 1970.
std::optional<double> parse_retry_after(const std::string& value, double now);

/// Performs all requests; `judge` decides on each response, `finished` is told each final one (index, response) as it
/// comes. Requests that were never sent come back with status 0.
HttpCounts perform(const std::vector<HttpRequest>& requests, const HttpPolicy& policy,
                   const std::function<Verdict(const HttpResponse&)>& judge,
                   const std::function<void(std::size_t, const HttpResponse&)>& finished);

/// Percent-encoding of everything but unreserved characters.
std::string url_encoded(std::string_view text);

}  // namespace fachwerk::wokie
