#include "http.hpp"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <queue>
#include <random>

#include <curl/curl.h>
#include <fmt/format.h>

#include "cli/error.hpp"

namespace fachwerk::wokie {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

constexpr std::size_t largest_answer = 64u << 20;

size_t on_body(char* data, size_t size, size_t count, void* target) {
  auto& response = *static_cast<HttpResponse*>(target);
  if (response.body.size() + size * count > largest_answer) return 0;
  response.body.append(data, size * count);
  return size * count;
}

size_t on_header(char* data, size_t size, size_t count, void* target) {
  auto& response = *static_cast<HttpResponse*>(target);
  const std::string line(data, size * count);
  const std::size_t colon = line.find(':');
  if (colon != std::string::npos) {
    std::string name = line.substr(0, colon);
    for (char& c : name)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (name == "retry-after") response.retry_after = parse_retry_after(line.substr(colon + 1), seconds_since_epoch());
  }
  return size * count;
}

/// One transfer under way.
struct Transfer {
  std::size_t request;
  int attempt;
  HttpResponse response = {};
  std::unique_ptr<CURL, EasyDeleter> easy;
  std::unique_ptr<curl_slist, ListDeleter> headers;
};

std::unique_ptr<Transfer> start(const HttpRequest& request, std::size_t index, int attempt) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = index;
  transfer->attempt = attempt;
  transfer->easy.reset(curl_easy_init());
  CURL* easy = transfer->easy.get();
  if (easy == nullptr) throw absent_error("libcurl does not start");
  curl_slist* list = nullptr;
  for (const std::string& header : request.headers)
    list = curl_slist_append(list, header.c_str());
  list = curl_slist_append(list, "Expect:");
  transfer->headers.reset(list);
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(1000 * request.timeout));
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "fachwerk-wokie");
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer->response);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer->response);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer.get());
  if (request.method == "GET") {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  } else {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
  }
  return transfer;
}

}  // namespace

Verdict default_verdict(const HttpResponse& response) {
  switch (response.status) {
    case 200:
    case 201:
      return Verdict::done;
    case 0:
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return Verdict::retry;
    default:
      return Verdict::failed;
  }
}

double retry_delay(const HttpResponse& response, int attempt, double random) {
  if (response.retry_after) return std::min(*response.retry_after, 3600.0);
  return std::min(60.0, 0.5 * std::pow(2.0, attempt)) * (0.5 + random);
}

std::optional<double> parse_retry_after(const std::string& value, double now) {
  const std::size_t first = value.find_first_not_of(" \t");
  if (first == std::string::npos) return std::nullopt;
  std::string text = value.substr(first);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.pop_back();
  if (std::all_of(text.begin(), text.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)); }))
    return text.size() > 8 ? 1e8 : std::stod(text);
  const time_t date = curl_getdate(text.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return std::max(0.0, static_cast<double>(date) - now);
}

HttpCounts perform(const std::vector<HttpRequest>& requests, const HttpPolicy& policy,
                   const std::function<Verdict(const HttpResponse&)>& judge,
                   const std::function<void(std::size_t, const HttpResponse&)>& finished) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (!ready) throw absent_error("libcurl does not start");
  HttpCounts counts;
  const std::unique_ptr<CURLM, MultiDeleter> multi(curl_multi_init());
  curl_multi_setopt(multi.get(), CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(policy.concurrency));
  curl_multi_setopt(multi.get(), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  struct Due {
    Clock::time_point when;
    std::size_t request;
    int attempt;
    bool operator>(const Due& other) const { return when != other.when ? when > other.when : request > other.request; }
  };
  std::priority_queue<Due, std::vector<Due>, std::greater<>> queue;
  const auto now = [] { return Clock::now(); };
  for (std::size_t i = 0; i < requests.size(); ++i)
    queue.push({now(), i, 0});
  std::map<Transfer*, std::unique_ptr<Transfer>> running;
  std::mt19937_64 random(policy.seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  Clock::time_point next_slot = now();
  int hard_failures = 0;
  const auto give_up = [&](std::size_t request, const HttpResponse& response) {
    ++counts.failures;
    if (++hard_failures >= policy.breaker) counts.broken = true;
    finished(request, response);
  };
  while (!queue.empty() || !running.empty()) {
    const bool stop = counts.broken || (policy.stop && policy.stop());
    if (stop)
      for (; !queue.empty(); queue.pop())
        finished(queue.top().request, HttpResponse{});
    while (!queue.empty() && running.size() < static_cast<std::size_t>(policy.concurrency) &&
           queue.top().when <= now() && next_slot <= now()) {
      const Due due = queue.top();
      queue.pop();
      auto transfer = start(requests[due.request], due.request, due.attempt);
      curl_multi_add_handle(multi.get(), transfer->easy.get());
      running.emplace(transfer.get(), std::move(transfer));
      ++counts.calls;
      if (policy.rate > 0)
        next_slot = std::max(next_slot, now()) +
                    std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / policy.rate));
    }
    int active = 0;
    curl_multi_perform(multi.get(), &active);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      HttpResponse response = std::move(transfer->response);
      if (message->data.result == CURLE_OK)
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &response.status);
      else
        response.error = curl_easy_strerror(message->data.result);
      if (message->data.result != CURLE_OK) response.status = 0;
      curl_multi_remove_handle(multi.get(), message->easy_handle);
      const std::size_t request = transfer->request;
      const int attempt = transfer->attempt;
      running.erase(transfer);
      const Verdict verdict = judge(response);
      if (verdict == Verdict::done) {
        hard_failures = 0;
        finished(request, response);
      } else if (verdict == Verdict::retry && attempt < policy.retries && !counts.broken) {
        ++counts.retries;
        const double delay = retry_delay(response, attempt, uniform(random));
        queue.push({now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(delay)), request,
                    attempt + 1});
      } else {
        give_up(request, response);
      }
    }
    if (!running.empty()) {
      curl_multi_poll(multi.get(), nullptr, 0, 50, nullptr);
    } else if (!queue.empty()) {
      const auto until = std::max(queue.top().when, next_slot) - now();
      const auto wait =
          std::clamp<std::int64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(until).count(), 0, 200);
      curl_multi_poll(multi.get(), nullptr, 0, static_cast<int>(wait), nullptr);
    }
  }
  return counts;
}

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '~')
      out += c;
    else
      out += fmt::format("%{:02X}", byte);
  }
  return out;
}

}  // namespace fachwerk::wokie
