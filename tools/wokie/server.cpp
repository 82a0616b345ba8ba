#include "server.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "labels.hpp"
#include "language.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

using Json = nlohmann::json;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
ServeResponse json_answer(int status, const Json& json) {
  return {status, dumped(json), {"Content-Type: application/json"}};
}

std::string url_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1])) &&
        std::isxdigit(static_cast<unsigned char>(text[i + 2]))) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string query_value(const std::string& query, std::string_view name) {
  for (const std::string_view part : split(query, '&'))
    if (part.starts_with(name) && part.size() > name.size() && part[name.size()] == '=')
      return url_decoded(part.substr(name.size() + 1));
  return {};
}

/// "sr-Cyrl_RS", "EN-GB", "deu" -> "sr", "en", "de".
std::string plain_code(std::string code) {
  return short_code(lower(split(replaced(std::move(code), "_", "-"), '-')[0]));
}

std::string service_of(const ServeRequest& request) {
  const auto has = [&](const char* name) { return request.headers.contains(name); };
  const std::string& path = request.path;
  if (path == "/v2/translate") return "deepl";
  if (path.starts_with("/v3/projects/")) return "google";
  if (path == "/language/translate/v2") return "google-v2";
  if (path == "/b1/api/v3/translate") return "lingvanex";
  if (path == "/v1/translate") return "pons";
  if (path == "/translate/v2/translate") return "yandex";
  if (path == "/get") return "mymemory";
  if (path == "/v1/chat/completions") return "openai-chat";
  if (path == "/v1/responses") return "openai-responses";
  if (path == "/v1/messages") return "anthropic";
  if (path.starts_with("/v1beta/models/")) return "gemini";
  if (path == "/api/chat") return "ollama";
  if (path == "/translate") {
    if (has("mmt-apikey") || has("x-http-method-override")) return "modernmt";
    if (request.query.find("api-version=3.0") != std::string::npos) return "microsoft";
    if (request.query.find("langpair=") != std::string::npos) return "apertium-apy";
    return "libretranslate";
  }
  if (path == "/languages") return "languages";
  return {};
}

std::vector<std::string> texts_of(const Json& value, const char* key = nullptr) {
  std::vector<std::string> out;
  const auto add = [&](const Json& one) {
    if (key == nullptr && one.is_string()) out.push_back(one.get<std::string>());
    if (key != nullptr && one.is_object() && one.contains(key) && one[key].is_string())
      out.push_back(one[key].get<std::string>());
  };
  if (value.is_array())
    for (const Json& one : value)
      add(one);
  else
    add(value);
  return out;
}

std::string text(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : std::string{};
}

}  // namespace

Faults parse_faults(const std::string& given) {
  Faults out;
  for (const std::string_view part : split(given, ';')) {
    if (trimmed(part).empty()) continue;
    std::string item(trimmed(part));
    if (item.starts_with("slow=")) {
      out.slow = std::strtod(item.c_str() + 5, nullptr);
      continue;
    }
    Fault fault;
    if (const std::size_t comma = item.find(",retry-after="); comma != std::string::npos) {
      fault.retry_after = std::strtod(item.c_str() + comma + 13, nullptr);
      item.resize(comma);
    }
    if (const std::size_t colon = item.find(':'); colon != std::string::npos) {
      fault.service = item.substr(0, colon);
      item.erase(0, colon + 1);
    }
    if (item.ends_with("+")) {
      fault.once = false;
      item.pop_back();
    }
    if (const std::size_t at = item.find('@'); at != std::string::npos) {
      fault.at = std::strtoll(item.c_str() + at + 1, nullptr, 10);
      item.resize(at);
    }
    fault.kind = item;
    const bool status =
        item.size() == 3 && std::all_of(item.begin(), item.end(), [](char c) { return c >= '0' && c <= '9'; });
    if ((!status && item != "truncate" && item != "badjson" && item != "html502") || fault.at < 1)
      throw usage_error(
          "--fault {}: expected [SERVICE:](STATUS|truncate|badjson|html502)[@N[+]][,retry-after=S], or slow=S", part);
    out.list.push_back(fault);
  }
  return out;
}

std::map<std::string, std::int64_t> Service::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}
std::vector<std::string> Service::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

ServeResponse Service::answer(const ServeRequest& request) {
  const std::string service = service_of(request);
  if (service.empty()) return json_answer(404, {{"error", "no such path"}});
  std::int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++counts_[service];
    log_.push_back(dumped({{"service", service},
                           {"number", number},
                           {"method", request.method},
                           {"path", request.path},
                           {"bytes", request.body.size()}}));
  }
  ServeResponse response;
  const Fault* shown = nullptr;
  for (const Fault& fault : faults_.list)
    if ((fault.service.empty() || fault.service == service) && (fault.once ? number == fault.at : number >= fault.at))
      shown = &fault;
  if (shown != nullptr && shown->kind == "html502") {
    response = {502, "<html><body><h1>502 Bad Gateway</h1></body></html>", {"Content-Type: text/html"}};
  } else if (shown != nullptr && shown->kind != "truncate" && shown->kind != "badjson") {
    const int status = std::stoi(shown->kind);
    // MyMemory reports its errors with HTTP 200 and a text in the place of the translation.
    if (service == "mymemory")
      response = json_answer(
          200, {{"responseStatus", status == 429 ? Json("429") : Json(status)},
                {"responseDetails", "MYMEMORY WARNING: YOU USED ALL AVAILABLE FREE TRANSLATIONS"},
                {"responseData", {{"translatedText", "MYMEMORY WARNING: YOU USED ALL AVAILABLE FREE TRANSLATIONS"}}}});
    else if (service == "microsoft")
      response =
          json_answer(status, {{"error", {{"code", status * 1000 + 1}, {"message", "The request is refused."}}}});
    else if (service == "libretranslate")
      response = json_answer(status, {{"error", status == 429 ? "Slowdown: 30 per 1 minute" : "error"}});
    else
      response = json_answer(status, {{"error", {{"message", "refused"}}}, {"message", "refused"}});
    if (shown->retry_after) response.headers.push_back(fmt::format("Retry-After: {}", *shown->retry_after));
  } else {
    response = dispatch(service, request);
    if (shown != nullptr && shown->kind == "badjson")
      response.body = response.body.substr(0, response.body.size() / 2) + "#";
    response.truncate = shown != nullptr && shown->kind == "truncate";
  }
  response.delay = latency_ + faults_.slow;
  return response;
}

ServeResponse Service::dispatch(const std::string& service, const ServeRequest& request) {
  if (service == "languages") {
    Json list = Json::array();
    for (const std::string& code : languages_)
      list.push_back({{"code", code}, {"name", english_name(code)}, {"targets", languages_}});
    return json_answer(200, list);
  }
  if (service.starts_with("openai") || service == "anthropic" || service == "gemini" || service == "ollama")
    return chat(request);
  const Json body = request.body.empty() ? Json::object() : Json::parse(request.body, nullptr, false);
  if (body.is_discarded()) return json_answer(400, {{"error", "body is not JSON"}, {"message", "body is not JSON"}});
  std::string from, to;
  std::vector<std::string> texts;
  if (service == "libretranslate")
    from = text(body, "source"), to = text(body, "target"), texts = texts_of(body.value("q", Json()));
  if (service == "deepl")
    from = text(body, "source_lang"), to = text(body, "target_lang"), texts = texts_of(body.value("text", Json()));
  if (service == "google")
    from = text(body, "sourceLanguageCode"), to = text(body, "targetLanguageCode"),
    texts = texts_of(body.value("contents", Json()));
  if (service == "google-v2" || service == "modernmt")
    from = text(body, "source"), to = text(body, "target"), texts = texts_of(body.value("q", Json()));
  if (service == "microsoft")
    from = query_value(request.query, "from"), to = query_value(request.query, "to"), texts = texts_of(body, "Text");
  if (service == "lingvanex")
    from = text(body, "from"), to = text(body, "to"), texts = texts_of(body.value("data", Json()));
  if (service == "pons")
    from = text(body, "sourceLanguage"), to = text(body, "targetLanguage"),
    texts = texts_of(body.value("segments", Json()), "text");
  if (service == "yandex")
    from = text(body, "sourceLanguageCode"), to = text(body, "targetLanguageCode"),
    texts = texts_of(body.value("texts", Json()));
  if (service == "mymemory" || service == "apertium-apy") {
    const std::string pair = query_value(request.query, "langpair");
    const auto parts = split(pair, '|');
    if (parts.size() == 2) from = parts[0], to = parts[1];
    texts = {query_value(request.query, "q")};
  }
  from = plain_code(from);
  to = plain_code(to);
  std::int64_t used = 0;
  for (const std::string& one : texts)
    used += static_cast<std::int64_t>(code_points(one).size());
  {
    const std::lock_guard lock(mutex_);
    characters_[service] += used;
    if (quota_ > 0 && characters_[service] > quota_) {
      if (service == "deepl")
        return json_answer(456, {{"message", "Quota for this billing period has been exceeded."}});
      if (service == "mymemory")
        return json_answer(200, {{"responseStatus", 429},
                                 {"quotaFinished", true},
                                 {"responseDetails", "quota"},
                                 {"responseData", {{"translatedText", "quota"}}}});
      if (service == "microsoft")
        return json_answer(403, {{"error", {{"code", 403001}, {"message", "Out of call volume quota."}}}});
      return json_answer(403, {{"error", "quota"}, {"message", "quota"}});
    }
  }
  if (!languages_.contains(from) || !languages_.contains(to)) {
    const std::string which = !languages_.contains(from) ? from : to;
    if (service == "libretranslate") return json_answer(400, {{"error", which + " is not supported"}});
    if (service == "microsoft")
      return json_answer(400, {{"error", {{"code", 400036}, {"message", "The target language is not valid."}}}});
    if (service == "mymemory")
      return json_answer(200, {{"responseStatus", "403"},
                               {"responseDetails", "INVALID LANGUAGE PAIR SPECIFIED"},
                               {"responseData", {{"translatedText", "INVALID LANGUAGE PAIR SPECIFIED"}}}});
    if (service == "apertium-apy")
      return json_answer(400, {{"status", "error"}, {"code", 400}, {"message", "That pair is not installed"}});
    if (service == "lingvanex") return json_answer(200, {{"err", which + " is not supported"}, {"result", nullptr}});
    return json_answer(
        400, {{"message", "unsupported language " + which}, {"error", {{"message", "unsupported language " + which}}}});
  }
  std::vector<std::string> answers;
  for (const std::string& one : texts)
    answers.push_back(translate_(from, to, one).value_or(service == "apertium-apy" ? "*" + one : one));
  const auto objects = [&](const char* key) {
    Json list = Json::array();
    for (const std::string& one : answers)
      list.push_back({{key, one}});
    return list;
  };
  if (service == "libretranslate")
    return json_answer(
        200, {{"translatedText", body["q"].is_array() ? Json(answers) : Json(answers.empty() ? "" : answers[0])}});
  if (service == "deepl" || service == "yandex") return json_answer(200, {{"translations", objects("text")}});
  if (service == "google") return json_answer(200, {{"translations", objects("translatedText")}});
  if (service == "google-v2") return json_answer(200, {{"data", {{"translations", objects("translatedText")}}}});
  if (service == "modernmt") return json_answer(200, {{"data", objects("translation")}});
  if (service == "lingvanex")
    return json_answer(
        200,
        {{"err", nullptr},
         {"result", body.value("data", Json()).is_array() ? Json(answers) : Json(answers.empty() ? "" : answers[0])}});
  if (service == "pons") return json_answer(200, {{"segments", objects("text")}});
  if (service == "microsoft") {
    Json list = Json::array();
    for (const std::string& one : answers)
      list.push_back({{"translations", Json::array({{{"text", one}, {"to", to}}})}});
    return json_answer(200, list);
  }
  Json answer = {{"responseData", {{"translatedText", answers.empty() ? "" : answers[0]}}},
                 {"responseStatus", 200},
                 {"responseDetails", ""}};
  return json_answer(200, answer);
}

/// A model that knows the lexicon: it translates the quoted terms of a prompt, and picks candidates by it.
std::string Service::reply_of_model(const std::string& system, const std::string& user) {
  std::string target;
  for (const std::string& code : languages_)
    if (system.find(english_name(code)) != std::string::npos) target = code;
  std::vector<std::pair<std::string, std::string>> quoted;  // language, text
  std::vector<std::string> candidates;
  bool in_candidates = false;
  for (const std::string_view line : split(user, '\n')) {
    if (line.starts_with("Candidates:")) in_candidates = true;
    if (line.starts_with("Details:")) continue;
    const std::size_t close = line.rfind("»");
    const std::size_t open = line.rfind("«", close);
    if (open == std::string_view::npos || close == std::string_view::npos || close < open) continue;
    const std::string inside(line.substr(open + 2, close - open - 2));
    if (in_candidates) {
      candidates.push_back(inside);
      continue;
    }
    for (const std::string& code : languages_)
      if (line.find(english_name(code)) < open || line.size() < 3) quoted.emplace_back(code, inside);
    if (quoted.empty() || quoted.back().second != inside)
      for (const std::string& code : languages_)
        quoted.emplace_back(code, inside);
  }
  std::string best;
  for (const auto& [from, term] : quoted)
    if (auto found = translate_(from, target, term); found && best.empty()) best = *found;
  if (candidates.empty()) return best.empty() ? "I cannot translate this." : best;
  std::size_t choice = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (fold(candidates[i]) == fold(best)) choice = i + 1;
  if (system.find("\"choice\"") != std::string::npos)
    return dumped({{"choice", choice},
                   {"translation", choice > 0 ? candidates[choice - 1] : best},
                   {"confidence", best.empty() ? 0.1 : 0.8}});
  return choice > 0 ? candidates[choice - 1] + "; 0.8" : candidates[0] + "; 0.3";
}

ServeResponse Service::chat(const ServeRequest& request) {
  const Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return json_answer(400, {{"error", {{"message", "body is not JSON"}}}});
  std::string system, user;
  const auto read_messages = [&](const Json& list) {
    if (!list.is_array()) return;
    for (const Json& m : list)
      (text(m, "role") == "system" ? system : user) += text(m, "content");
  };
  const std::string service = service_of(request);
  if (service == "openai-chat" || service == "ollama") read_messages(body.value("messages", Json()));
  if (service == "openai-responses") system = text(body, "instructions"), user = text(body, "input");
  if (service == "anthropic") {
    system = text(body, "system");
    read_messages(body.value("messages", Json()));
  }
  if (service == "gemini") {
    const auto parts = [](const Json& holder) {
      std::string out;
      if (holder.is_object() && holder.contains("parts") && holder["parts"].is_array())
        for (const Json& part : holder["parts"])
          out += text(part, "text");
      return out;
    };
    system = parts(body.value("systemInstruction", Json()));
    if (body.contains("contents") && body["contents"].is_array())
      for (const Json& content : body["contents"])
        user += parts(content);
  }
  const std::string reply = reply_of_model(system, user);
  if (service == "openai-chat")
    return json_answer(200, {{"choices", Json::array({{{"index", 0},
                                                       {"finish_reason", "stop"},
                                                       {"message", {{"role", "assistant"}, {"content", reply}}}}})}});
  if (service == "ollama")
    return json_answer(200, {{"message", {{"role", "assistant"}, {"content", reply}}}, {"done", true}});
  if (service == "openai-responses")
    return json_answer(
        200, {{"output", Json::array({{{"type", "message"},
                                       {"content", Json::array({{{"type", "output_text"}, {"text", reply}}})}}})}});
  if (service == "anthropic")
    return json_answer(200,
                       {{"content", Json::array({{{"type", "text"}, {"text", reply}}})}, {"stop_reason", "end_turn"}});
  return json_answer(
      200, {{"candidates",
             Json::array({{{"content", {{"parts", Json::array({{{"text", reply}}})}}}, {"finishReason", "STOP"}}})}});
}

// ---- sockets -------------------------------------------------------------------------------------
namespace {

constexpr std::size_t largest_request = 16u << 20;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// Reads one request; nothing at the end of the connection or for what is no HTTP.
std::optional<ServeRequest> read_request(int fd, std::string& buffer, const std::function<bool()>& stop) {
  const auto more = [&] {
    char block[16384];
    for (;;) {
      pollfd watched{fd, POLLIN, 0};
      if (poll(&watched, 1, 200) > 0) break;
      if (stop()) return false;
    }
    const ssize_t n = recv(fd, block, sizeof block, 0);
    if (n <= 0 || buffer.size() > largest_request) return false;
    buffer.append(block, static_cast<std::size_t>(n));
    return true;
  };
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos)
    if (!more()) return std::nullopt;
  ServeRequest request;
  const auto lines = split(std::string_view(buffer).substr(0, end), '\n');
  const auto first = words(lines[0]);
  if (first.size() != 3) return std::nullopt;
  request.method = first[0];
  const std::size_t mark = first[1].find('?');
  request.path = first[1].substr(0, mark);
  if (mark != std::string::npos) request.query = first[1].substr(mark + 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::size_t colon = lines[i].find(':');
    if (colon != std::string_view::npos)
      request.headers[lower(lines[i].substr(0, colon))] = std::string(trimmed(lines[i].substr(colon + 1)));
  }
  std::size_t length = 0;
  if (const auto found = request.headers.find("content-length"); found != request.headers.end())
    length = std::strtoull(found->second.c_str(), nullptr, 10);
  if (length > largest_request) return std::nullopt;
  while (buffer.size() < end + 4 + length)
    if (!more()) return std::nullopt;
  request.body = buffer.substr(end + 4, length);
  buffer.erase(0, end + 4 + length);
  return request;
}

void serve_connection(int fd, Service& service, const std::function<bool()>& stop) {
  const Socket socket(fd);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string buffer;
  while (const auto request = read_request(fd, buffer, stop)) {
    const ServeResponse response = service.answer(*request);
    if (response.delay > 0) std::this_thread::sleep_for(std::chrono::duration<double>(response.delay));
    std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Length: {}\r\n", response.status,
                                   response.status == 200 ? "OK" : "Error", response.body.size());
    for (const std::string& header : response.headers)
      head += header + "\r\n";
    const std::string_view body = response.truncate
                                      ? std::string_view(response.body).substr(0, response.body.size() / 2)
                                      : std::string_view(response.body);
    if (!send_all(fd, head + "\r\n") || !send_all(fd, body) || response.truncate) return;
  }
}

}  // namespace

void serve_loopback(int port, Service& service, const std::function<void(int)>& ready,
                    const std::function<bool()>& stop) {
  const Socket listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 128) != 0)
    throw io_error("127.0.0.1:{}: {}", port, std::strerror(errno));
  socklen_t size = sizeof address;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  ready(ntohs(address.sin_port));
  std::atomic<int> open = 0;
  while (!stop()) {
    pollfd watched{listener.get(), POLLIN, 0};
    if (poll(&watched, 1, 100) <= 0) continue;
    const int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ++open;
    std::thread([fd, &service, &stop, &open] {
      try {
        serve_connection(fd, service, stop);
      } catch (const std::exception&) {
        // a connection that sends what cannot be answered is dropped
      }
      --open;
    }).detach();
  }
  while (open > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace fachwerk::wokie
