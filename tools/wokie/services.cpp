#include "services.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "language.hpp"
#include "process.hpp"
#include "sha256.hpp"
#include "unicode.hpp"

namespace fachwerk::wokie {
namespace {

using Json = nlohmann::json;
using Outcome = WireFormat::Outcome;
using Texts = std::vector<std::string>;

const std::string json_type = "Content-Type: application/json";

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpRequest post(std::string url, std::vector<std::string> headers, const Json& body) {
  headers.push_back(json_type);
  return {"POST", std::move(url), std::move(headers), dumped(body)};
}

/// Outcome of a status other than success; the message is what the server says.
Outcome by_status(const HttpResponse& response, std::string& message) {
  if (message.empty())
    message = response.status == 0 ? (response.error.empty() ? "no answer" : response.error)
                                   : fmt::format("HTTP {}", response.status);
  if (response.status == 456) return Outcome::quota;
  return default_verdict(response) == Verdict::retry ? Outcome::retry : Outcome::failed;
}

bool speaks_of_languages(const std::string& message) {
  const std::string small = lower(message);
  return small.find("not supported") != std::string::npos || small.find("unsupported") != std::string::npos ||
         small.find("not installed") != std::string::npos || small.find("language is invalid") != std::string::npos ||
         small.find("bad language pair") != std::string::npos ||
         small.find("invalid language pair") != std::string::npos;
}

const Json* member(const Json& json, std::initializer_list<const char*> path) {
  const Json* at = &json;
  for (const char* key : path) {
    if (!at->is_object() || !at->contains(key)) return nullptr;
    at = &(*at)[key];
  }
  return at;
}

std::string text_at(const Json& json, std::initializer_list<const char*> path) {
  const Json* found = member(json, path);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

/// Texts of a list of objects under `key`; false if the count is not the one asked for.
bool texts_of_list(const Json* list, const char* key, std::size_t count, Texts& texts) {
  if (list == nullptr || !list->is_array() || list->size() != count) return false;
  for (const Json& one : *list) {
    if (!one.is_object() || !one.contains(key) || !one[key].is_string()) return false;
    texts.push_back(one[key].get<std::string>());
  }
  return true;
}

/// One text, or a list of them, whichever was sent; false if the count is not the one asked for.
bool text_or_texts(const Json* answer, std::size_t count, Texts& texts) {
  if (answer == nullptr) return false;
  if (answer->is_string()) texts.push_back(answer->get<std::string>());
  if (answer->is_array())
    for (const Json& one : *answer)
      if (one.is_string()) texts.push_back(one.get<std::string>());
  return texts.size() == count;
}

/// Reads {"LIST": [{"KEY": text}, ...]}.
std::function<bool(const Json&, std::size_t, Texts&)> list_under(const char* list, const char* key) {
  return [list, key](const Json& json, std::size_t count, Texts& texts) {
    return texts_of_list(member(json, {list}), key, count, texts);
  };
}

/// Wraps a reader of well-formed JSON answers: transport errors, non-JSON bodies and error messages are handled alike.
auto reader(std::function<bool(const Json&, std::size_t, Texts&)> ok, std::function<std::string(const Json&)> error) {
  return [ok = std::move(ok), error = std::move(error)](const HttpResponse& response, std::size_t count, Texts& texts,
                                                        std::string& message) {
    const Json json = Json::parse(response.body, nullptr, false);
    if (!json.is_discarded()) message = error(json);
    if (response.status != 200) {
      if (speaks_of_languages(message)) return Outcome::unsupported;
      return by_status(response, message);
    }
    if (json.is_discarded()) {
      message = "answer is not JSON";
      return Outcome::retry;
    }
    texts.clear();
    if (ok(json, count, texts)) return Outcome::ok;
    if (speaks_of_languages(message)) return Outcome::unsupported;
    if (message.empty()) message = "answer has not the documented form";
    return Outcome::failed;
  };
}

std::string plain_code(const std::string& language, bool) {
  return split(language, '-')[0].empty() ? language : std::string(split(language, '-')[0]);
}

std::function<std::string(const std::string&, bool)> mapped(std::map<std::string, std::string> codes) {
  return [codes = std::move(codes)](const std::string& language, bool) {
    const auto found = codes.find(language);
    return found == codes.end() ? std::string{} : found->second;
  };
}

std::string html_unescaped(std::string text) {
  for (const auto& [from, to] :
       {std::pair{"&quot;", "\""}, {"&#39;", "'"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}})
    text = replaced(std::move(text), from, to);
  return text;
}

WireFormat libretranslate() {
  return {"libretranslate",
          "http://127.0.0.1:5000",
          50,
          20000,
          plain_code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            Json body = {{"q", texts}, {"source", from}, {"target", to}, {"format", "text"}};
            if (!s.key.empty()) body["api_key"] = s.key;
            return post(s.endpoint + "/translate", {}, body);
          },
          reader([](const Json& json, std::size_t count,
                    Texts& texts) { return text_or_texts(member(json, {"translatedText"}), count, texts); },
                 [](const Json& json) { return text_at(json, {"error"}); })};
}

WireFormat deepl() {
  const auto code = [](const std::string& language, bool target) {
    static const std::set<std::string> known = {"ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi",
                                                "fr", "hu", "id", "it", "ja", "ko", "lt", "lv", "nb", "nl",
                                                "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk", "zh"};
    if (!known.contains(language)) return std::string{};
    if (target && language == "en") return std::string("EN-GB");
    if (target && language == "pt") return std::string("PT-PT");
    std::string out = language;
    for (char& c : out)
      c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return out;
  };
  return {"deepl",
          "",
          50,
          100000,
          code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            std::string base = s.endpoint;
            if (base.empty()) base = s.key.ends_with(":fx") ? "https://api-free.deepl.com" : "https://api.deepl.com";
            return post(base + "/v2/translate", {"Authorization: DeepL-Auth-Key " + s.key},
                        {{"text", texts}, {"source_lang", from}, {"target_lang", to}});
          },
          reader(list_under("translations", "text"), [](const Json& json) { return text_at(json, {"message"}); })};
}

WireFormat google_v2() {
  return {"google-v2",
          "https://translation.googleapis.com",
          128,
          30000,
          plain_code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            return post(s.endpoint + "/language/translate/v2?key=" + url_encoded(s.key), {},
                        {{"q", texts}, {"source", from}, {"target", to}, {"format", "text"}});
          },
          reader(
              [](const Json& json, std::size_t count, Texts& texts) {
                if (!texts_of_list(member(json, {"data", "translations"}), "translatedText", count, texts))
                  return false;
                for (std::string& text : texts)
                  text = html_unescaped(std::move(text));
                return true;
              },
              [](const Json& json) {
                return text_at(json, {"error", "message"});
              })};
}

WireFormat google_v3() {
  return {"google",
          "https://translation.googleapis.com",
          1024,
          30000,
          plain_code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            return post(s.endpoint + "/v3/projects/" + s.project + "/locations/global:translateText",
                        {"Authorization: Bearer " + s.key},
                        {{"contents", texts},
                         {"mimeType", "text/plain"},
                         {"sourceLanguageCode", from},
                         {"targetLanguageCode", to}});
          },
          reader(list_under("translations", "translatedText"), [](const Json& json) {
            return text_at(json, {"error", "message"});
          })};
}

WireFormat microsoft() {
  const auto code = [](const std::string& language, bool) {
    return language == "sr" ? std::string("sr-Cyrl") : language == "zh" ? std::string("zh-Hans") : language;
  };
  return {"microsoft",
          "https://api.cognitive.microsofttranslator.com",
          1000,
          50000,
          code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            Json body = Json::array();
            for (const std::string& text : texts)
              body.push_back({{"Text", text}});
            std::vector<std::string> headers = {"Ocp-Apim-Subscription-Key: " + s.key};
            if (!s.region.empty()) headers.push_back("Ocp-Apim-Subscription-Region: " + s.region);
            return post(s.endpoint + "/translate?api-version=3.0&from=" + from + "&to=" + to, headers, body);
          },
          [](const HttpResponse& response, std::size_t count, Texts& texts, std::string& message) {
            const Json json = Json::parse(response.body, nullptr, false);
            const Json* code_found = json.is_discarded() ? nullptr : member(json, {"error", "code"});
            const std::int64_t number =
                code_found != nullptr && code_found->is_number_integer() ? code_found->get<std::int64_t>() : 0;
            if (!json.is_discarded()) message = text_at(json, {"error", "message"});
            if (number == 400036 || number == 400035 || number == 400023) return Outcome::unsupported;
            if (number == 403001) return Outcome::quota;
            if (number / 1000 == 429) return Outcome::retry;
            if (response.status != 200) return by_status(response, message);
            if (json.is_discarded()) return message = "answer is not JSON", Outcome::retry;
            texts.clear();
            if (!json.is_array() || json.size() != count)
              return message = "answer has not the documented form", Outcome::failed;
            for (const Json& one : json) {
              const Json* list = member(one, {"translations"});
              if (list == nullptr || !list->is_array() || list->empty() || text_at((*list)[0], {"text"}).empty())
                return message = "answer has not the documented form", Outcome::failed;
              texts.push_back(text_at((*list)[0], {"text"}));
            }
            return Outcome::ok;
          }};
}

WireFormat lingvanex() {
  return {"lingvanex",
          "https://api-b2b.backenster.com",
          50,
          10000,
          mapped({{"ar", "ar_EG"},
                  {"de", "de_DE"},
                  {"en", "en_US"},
                  {"es", "es_ES"},
                  {"fr", "fr_FR"},
                  {"hr", "hr_HR"},
                  {"hu", "hu_HU"},
                  {"it", "it_IT"},
                  {"la", "la_VAT"},
                  {"nl", "nl_NL"},
                  {"pt", "pt_PT"},
                  {"ru", "ru_RU"},
                  {"sl", "sl_SI"},
                  {"sr", "sr-Cyrl_RS"},
                  {"el", "el_GR"},
                  {"uk", "uk_UA"}}),
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            return post(s.endpoint + "/b1/api/v3/translate", {"Authorization: " + s.key},
                        {{"platform", "api"}, {"from", from}, {"to", to}, {"data", texts}});
          },
          reader([](const Json& json, std::size_t count,
                    Texts& texts) { return text_or_texts(member(json, {"result"}), count, texts); },
                 [](const Json& json) { return text_at(json, {"err"}); })};
}

WireFormat modernmt() {
  const auto code = [](const std::string& language, bool) {
    return language == "es"   ? std::string("es-ES")
           : language == "pt" ? std::string("pt-PT")
           : language == "sr" ? std::string("sr-Cyrl")
                              : language;
  };
  return {"modernmt",
          "https://api.modernmt.com",
          128,
          20000,
          code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            return post(s.endpoint + "/translate", {"MMT-ApiKey: " + s.key, "X-HTTP-Method-Override: GET"},
                        {{"source", from}, {"target", to}, {"q", texts}});
          },
          reader(list_under("data", "translation"), [](const Json& json) {
            return text_at(json, {"error", "message"});
          })};
}

WireFormat pons() {
  const auto code = [](const std::string& language, bool) {
    static const std::set<std::string> known = {"ar", "bg", "ca", "zh", "hr", "cs", "da", "nl", "en", "et", "fi", "fr",
                                                "de", "el", "hi", "hu", "ga", "it", "ja", "ko", "lv", "lt", "nn", "no",
                                                "pl", "pt", "ro", "ru", "sk", "sl", "es", "sv", "tr", "uk"};
    return known.contains(language) ? language : std::string{};
  };
  return {"pons",
          "https://translate-api.pons.com",
          20,
          5000,
          code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            Json segments = Json::array();
            for (const std::string& text : texts)
              segments.push_back({{"text", text}});
            return post(s.endpoint + "/v1/translate", {"X-PONS-APIKEY: " + s.key},
                        {{"sourceLanguage", from}, {"targetLanguage", to}, {"segments", segments}});
          },
          reader(list_under("segments", "text"), [](const Json& json) { return text_at(json, {"message"}); })};
}

WireFormat yandex() {
  return {"yandex",
          "https://translate.api.cloud.yandex.net",
          100,
          10000,
          plain_code,
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            Json body = {
                {"texts", texts}, {"sourceLanguageCode", from}, {"targetLanguageCode", to}, {"format", "PLAIN_TEXT"}};
            if (!s.project.empty()) body["folderId"] = s.project;
            return post(s.endpoint + "/translate/v2/translate", {"Authorization: Api-Key " + s.key}, body);
          },
          reader(list_under("translations", "text"), [](const Json& json) { return text_at(json, {"message"}); })};
}

WireFormat mymemory() {
  return {"mymemory", "https://api.mymemory.translated.net", 1, 500,
          mapped({{"ar", "ar-EG"},
                  {"de", "de-DE"},
                  {"en", "en-US"},
                  {"es", "es-ES"},
                  {"fr", "fr-FR"},
                  {"hr", "hr-HR"},
                  {"hu", "hu-HU"},
                  {"it", "it-IT"},
                  {"la", "la-VA"},
                  {"nl", "nl-NL"},
                  {"pt", "pt-PT"},
                  {"ru", "ru-RU"},
                  {"sl", "sl-SI"},
                  {"sr", "sr-Cyrl-RS"},
                  {"el", "el-GR"},
                  {"uk", "uk-UA"}}),
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            std::string url =
                s.endpoint + "/get?q=" + url_encoded(texts[0]) + "&langpair=" + url_encoded(from + "|" + to);
            if (!s.email.empty()) url += "&de=" + url_encoded(s.email);
            return HttpRequest{"GET", std::move(url)};
          },
          // Errors come with HTTP 200 and a warning in the place of the translation: only responseStatus tells.
          [](const HttpResponse& response, std::size_t, Texts& texts, std::string& message) {
            const Json json = Json::parse(response.body, nullptr, false);
            if (response.status != 200) return by_status(response, message);
            if (json.is_discarded()) return message = "answer is not JSON", Outcome::retry;
            const Json* status = member(json, {"responseStatus"});
            std::string code;
            if (status != nullptr && status->is_string()) code = status->get<std::string>();
            if (status != nullptr && status->is_number()) code = std::to_string(status->get<int>());
            message = text_at(json, {"responseDetails"});
            const Json* finished = member(json, {"quotaFinished"});
            if (finished != nullptr && finished->is_boolean() && finished->get<bool>()) return Outcome::quota;
            if (code == "429") return Outcome::retry;
            if (code != "200")
              return speaks_of_languages(message) || lower(message).find("language pair") != std::string::npos
                         ? Outcome::unsupported
                         : Outcome::failed;
            texts = {html_unescaped(text_at(json, {"responseData", "translatedText"}))};
            return Outcome::ok;
          }};
}

WireFormat apertium_apy() {
  return {"apertium-apy",
          "http://127.0.0.1:2737",
          1,
          5000,
          [](const std::string& language, bool) { return long_code(language); },
          [](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            return HttpRequest{"GET", s.endpoint + "/translate?langpair=" + url_encoded(from + "|" + to) +
                                          "&markUnknown=yes&q=" + url_encoded(texts[0])};
          },
          reader(
              [](const Json& json, std::size_t, Texts& texts) {
                const Json* answer = member(json, {"responseData", "translatedText"});
                if (answer == nullptr || !answer->is_string()) return false;
                texts.push_back(answer->get<std::string>());
                return true;
              },
              [](const Json& json) { return text_at(json, {"message"}) + text_at(json, {"explanation"}); })};
}

/// A service described by a file: method, url, headers, body with {text} {from} {to} {key}, pointer of the answer.
WireFormat generic(const ServiceSettings& settings) {
  const Json json = Json::parse(settings.definition, nullptr, false);
  const auto bad = [&](const char* what) { return usage_error("--service-def of \"{}\": {}", settings.name, what); };
  if (!json.is_object()) throw bad("not a JSON object");
  for (const char* key : {"url", "answer"})
    if (text_at(json, {key}).empty()) throw bad("needs \"url\" and \"answer\" (JSON pointer)");
  const std::string url = text_at(json, {"url"}),
                    method = text_at(json, {"method"}).empty() ? "POST" : text_at(json, {"method"});
  const Json* body = member(json, {"body"});
  const std::string body_text = body == nullptr ? "" : body->is_string() ? body->get<std::string>() : dumped(*body);
  const bool json_body = body != nullptr && !body->is_string();
  std::vector<std::string> headers;
  if (const Json* list = member(json, {"headers"}); list != nullptr && list->is_object())
    for (const auto& [name, value] : list->items())
      if (value.is_string()) headers.push_back(name + ": " + value.get<std::string>());
  std::map<std::string, std::string> languages;
  if (const Json* map = member(json, {"languages"}); map != nullptr && map->is_object())
    for (const auto& [name, value] : map->items())
      if (value.is_string()) languages[name] = value.get<std::string>();
  const auto code = [languages](const std::string& language, bool) {
    if (languages.empty()) return language;
    const auto found = languages.find(language);
    return found == languages.end() ? std::string{} : found->second;
  };
  Json::json_pointer pointer;
  try {
    pointer = Json::json_pointer(text_at(json, {"answer"}));
  } catch (const Json::exception&) {
    throw bad("\"answer\" is no JSON pointer");
  }
  const auto fill = [](std::string text, const ServiceSettings& s, const std::string& from, const std::string& to,
                       const std::string& term, const std::function<std::string(std::string)>& escape) {
    text = replaced(std::move(text), "{key}", escape(s.key));
    text = replaced(std::move(text), "{from}", escape(from));
    text = replaced(std::move(text), "{to}", escape(to));
    return replaced(std::move(text), "{text}", escape(term));
  };
  return {settings.name,
          "",
          1,
          10000,
          code,
          [=](const ServiceSettings& s, const std::string& from, const std::string& to, const Texts& texts) {
            const auto in_json = [](std::string t) {
              const std::string quoted = dumped(Json(t));
              return quoted.substr(1, quoted.size() - 2);
            };
            const auto in_url = [](std::string t) { return url_encoded(t); };
            const auto plain = [](std::string t) { return t; };
            HttpRequest request{method, fill(s.endpoint.empty() ? url : s.endpoint, s, from, to, texts[0], in_url)};
            for (const std::string& header : headers)
              request.headers.push_back(fill(header, s, from, to, "", plain));
            if (json_body) request.headers.push_back(json_type);
            request.body = json_body ? fill(body_text, s, from, to, texts[0], in_json)
                                     : fill(body_text, s, from, to, texts[0], in_url);
            return request;
          },
          reader(
              [pointer](const Json& answer, std::size_t, Texts& texts) {
                if (!answer.contains(pointer) || !answer[pointer].is_string()) return false;
                texts.push_back(answer[pointer].get<std::string>());
                return true;
              },
              [](const Json& answer) {
                const std::string error = text_at(answer, {"error"});
                return error.empty() ? text_at(answer, {"message"}) : error;
              })};
}

}  // namespace

std::vector<std::string> service_names() {
  return {"libretranslate", "deepl", "google", "google-v2", "microsoft",   "lingvanex",
          "modernmt",       "pons",  "yandex", "mymemory",  "apertium-apy"};
}

WireFormat wire_format(const ServiceSettings& settings) {
  static const std::map<std::string, WireFormat (*)()> known = {{"libretranslate", libretranslate},
                                                                {"argos", libretranslate},
                                                                {"deepl", deepl},
                                                                {"google", google_v3},
                                                                {"google-v2", google_v2},
                                                                {"microsoft", microsoft},
                                                                {"lingvanex", lingvanex},
                                                                {"modernmt", modernmt},
                                                                {"pons", pons},
                                                                {"yandex", yandex},
                                                                {"mymemory", mymemory},
                                                                {"apertium-apy", apertium_apy}};
  if (settings.name.starts_with("generic:")) return generic(settings);
  const auto found = known.find(settings.name);
  if (found == known.end())
    throw usage_error("--primary: \"{}\" is no service; known are offline, {}, generic:NAME and cmd:PROGRAM",
                      settings.name, fmt::join(service_names(), ", "));
  return found->second();
}

// ---- chat ----------------------------------------------------------------------------------------

std::vector<std::string> chat_names() {
  return {"openai-chat", "openai-responses", "anthropic", "gemini", "ollama"};
}

ChatFormat chat_format(const std::string& name) {
  const auto parsed = [](const HttpResponse& response) { return Json::parse(response.body, nullptr, false); };
  const auto bearer = [](const ServiceSettings& s) {
    return s.key.empty() ? std::vector<std::string>{} : std::vector<std::string>{"Authorization: Bearer " + s.key};
  };
  const auto messages = [](const Prompt& p) {
    return Json::array({{{"role", "system"}, {"content", p.system}}, {{"role", "user"}, {"content", p.user}}});
  };
  if (name == "openai-chat")
    return {name, "https://api.openai.com",
            [=](const ServiceSettings& s, const std::string& model, const Prompt& p) {
              Json body = {
                  {"model", model}, {"messages", messages(p)}, {"temperature", p.temperature}, {"max_tokens", 256}};
              if (p.json) body["response_format"] = {{"type", "json_object"}};
              return post(s.endpoint + "/v1/chat/completions", bearer(s), body);
            },
            [=](const HttpResponse& response) -> std::optional<std::string> {
              const Json json = parsed(response);
              const Json* choices = json.is_discarded() ? nullptr : member(json, {"choices"});
              if (choices == nullptr || !choices->is_array() || choices->empty()) return std::nullopt;
              const Json* content = member((*choices)[0], {"message", "content"});
              if (content == nullptr || !content->is_string()) return std::nullopt;
              return content->get<std::string>();
            }};
  if (name == "openai-responses")
    return {name, "https://api.openai.com",
            [=](const ServiceSettings& s, const std::string& model, const Prompt& p) {
              return post(
                  s.endpoint + "/v1/responses", bearer(s),
                  {{"model", model}, {"instructions", p.system}, {"input", p.user}, {"temperature", p.temperature}});
            },
            [=](const HttpResponse& response) -> std::optional<std::string> {
              const Json json = parsed(response);
              const Json* output = json.is_discarded() ? nullptr : member(json, {"output"});
              if (output == nullptr || !output->is_array()) return std::nullopt;
              std::string text;
              for (const Json& item : *output)
                if (const Json* content = member(item, {"content"}); content != nullptr && content->is_array())
                  for (const Json& part : *content)
                    text += text_at(part, {"text"});
              return text.empty() ? std::nullopt : std::optional(text);
            }};
  if (name == "anthropic")
    return {name, "https://api.anthropic.com",
            [=](const ServiceSettings& s, const std::string& model, const Prompt& p) {
              return post(s.endpoint + "/v1/messages", {"x-api-key: " + s.key, "anthropic-version: 2023-06-01"},
                          {{"model", model},
                           {"max_tokens", 1024},
                           {"system", p.system},
                           {"temperature", std::min(p.temperature, 1.0)},
                           {"messages", Json::array({{{"role", "user"}, {"content", p.user}}})}});
            },
            [=](const HttpResponse& response) -> std::optional<std::string> {
              const Json json = parsed(response);
              const Json* content = json.is_discarded() ? nullptr : member(json, {"content"});
              if (content == nullptr || !content->is_array()) return std::nullopt;
              std::string text;
              for (const Json& part : *content)
                if (text_at(part, {"type"}) == "text") text += text_at(part, {"text"});
              return text.empty() ? std::nullopt : std::optional(text);
            }};
  if (name == "gemini")
    return {name, "https://generativelanguage.googleapis.com",
            [=](const ServiceSettings& s, const std::string& model, const Prompt& p) {
              return post(
                  s.endpoint + "/v1beta/models/" + model + ":generateContent", {"x-goog-api-key: " + s.key},
                  {{"systemInstruction", {{"parts", Json::array({{{"text", p.system}}})}}},
                   {"contents", Json::array({{{"role", "user"}, {"parts", Json::array({{{"text", p.user}}})}}})},
                   {"generationConfig", {{"temperature", p.temperature}}}});
            },
            [=](const HttpResponse& response) -> std::optional<std::string> {
              const Json json = parsed(response);
              if (json.is_discarded() || member(json, {"promptFeedback", "blockReason"}) != nullptr)
                return std::nullopt;
              const Json* candidates = member(json, {"candidates"});
              if (candidates == nullptr || !candidates->is_array() || candidates->empty()) return std::nullopt;
              const std::string finish = text_at((*candidates)[0], {"finishReason"});
              if (!finish.empty() && finish != "STOP") return std::nullopt;
              const Json* parts = member((*candidates)[0], {"content", "parts"});
              if (parts == nullptr || !parts->is_array()) return std::nullopt;
              std::string text;
              for (const Json& part : *parts)
                text += text_at(part, {"text"});
              return text.empty() ? std::nullopt : std::optional(text);
            }};
  if (name == "ollama")
    return {name, "http://127.0.0.1:11434",
            [=](const ServiceSettings& s, const std::string& model, const Prompt& p) {
              return post(s.endpoint + "/api/chat", bearer(s),
                          {{"model", model},
                           {"messages", messages(p)},
                           {"stream", false},
                           {"options", {{"temperature", p.temperature}, {"seed", 1}}}});
            },
            [=](const HttpResponse& response) -> std::optional<std::string> {
              const Json json = parsed(response);
              const Json* content = json.is_discarded() ? nullptr : member(json, {"message", "content"});
              if (content == nullptr || !content->is_string()) return std::nullopt;
              return content->get<std::string>();
            }};
  throw usage_error("--llm: \"{}\" is no backend; known are {}", name, fmt::join(chat_names(), ", "));
}

// ---- use -----------------------------------------------------------------------------------------

namespace {

constexpr const char* unsupported_mark = "\x01unsupported";
constexpr const char* protocol_version = "1";

std::optional<std::string> stored(const AnswerStores& stores, const std::string& key) {
  for (const Answers* store : {stores.journal, stores.cache})
    if (store != nullptr)
      if (auto found = store->find(key)) return found;
  return std::nullopt;
}

void store(const AnswerStores& stores, const std::string& key, const std::string& value) {
  if (stores.journal != nullptr) stores.journal->add(key, value);
  if (stores.cache != nullptr) stores.cache->add(key, value);
}

}  // namespace

OnlineService::OnlineService(ServiceSettings settings, AnswerStores stores)
    : settings_(std::move(settings)), format_(wire_format(settings_)), stores_(stores) {
  if (settings_.endpoint.empty()) settings_.endpoint = format_.default_endpoint;
}

std::string OnlineService::endpoint() const {
  return settings_.endpoint;
}

std::string OnlineService::key_of(const SourceText& source, const std::string& target) const {
  return sha256(settings_.name + '\n' + settings_.endpoint + '\n' + protocol_version + '\n' + source.language + '\n' +
                target + '\n' + source.text);
}

std::vector<std::vector<Proposal>> OnlineService::propose(const std::vector<SourceText>& sources,
                                                          const std::string& target) {
  std::vector<std::vector<Proposal>> out(sources.size());
  const std::string to = format_.code(target, true);
  std::map<std::string, std::vector<std::size_t>> open;  // by language, what no store knows
  const auto accept = [&](std::size_t i, const std::string& text) {
    if (text == unsupported_mark || is_blank(text)) return;
    const bool partial = settings_.name == "apertium-apy" && has_marks(text);
    out[i].push_back({std::string(trimmed(partial ? without_engine_marks(text) : text)), settings_.name, 1.0, partial});
  };
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string from = format_.code(sources[i].language, false);
    if (from.empty() || to.empty() || sources[i].language == target) continue;
    if (const auto known = stored(stores_, key_of(sources[i], target))) {
      ++use_.cached;
      accept(i, *known);
    } else if (!stored(stores_, key_of({sources[i].language, "\x01pair"}, target))) {
      open[sources[i].language].push_back(i);
    }
  }
  if (stores_.cache_only || use_.broken || use_.quota) return out;
  struct Batch {
    std::string language;
    std::vector<std::size_t> items;
  };
  std::vector<Batch> batches;
  for (const auto& [language, items] : open) {
    std::size_t bytes = 0;
    batches.push_back({language, {}});
    for (const std::size_t i : items) {
      const std::size_t size = sources[i].text.size();
      if (!batches.back().items.empty() &&
          (batches.back().items.size() >= format_.batch || bytes + size > format_.batch_bytes)) {
        batches.push_back({language, {}});
        bytes = 0;
      }
      if (size > format_.batch_bytes) continue;
      batches.back().items.push_back(i);
      bytes += size;
    }
    if (batches.back().items.empty()) batches.pop_back();
  }
  std::vector<HttpRequest> requests;
  for (const Batch& batch : batches) {
    Texts texts;
    for (const std::size_t i : batch.items) {
      texts.push_back(running_case(sources[i].text, batch.language));
      use_.chars += static_cast<std::int64_t>(code_points(texts.back()).size());
    }
    requests.push_back(format_.request(settings_, format_.code(batch.language, false), to, texts));
  }
  std::set<std::string> unsupported;
  const auto judge = [&](const HttpResponse& response) {
    Texts texts;
    std::string message;
    // The count is not known here: every outcome but a miscount is judged alike.
    const Outcome outcome = format_.read(response, 0, texts, message);
    if (response.status == 200 && outcome == Outcome::failed) return Verdict::done;
    switch (outcome) {
      case Outcome::retry:
        return Verdict::retry;
      case Outcome::failed:
      case Outcome::quota:
        return response.status == 200 ? Verdict::done : Verdict::failed;
      default:
        return Verdict::done;
    }
  };
  const auto finished = [&](std::size_t b, const HttpResponse& response) {
    Texts texts;
    std::string message;
    const Outcome outcome = format_.read(response, batches[b].items.size(), texts, message);
    if (outcome == Outcome::ok) {
      for (std::size_t k = 0; k < texts.size(); ++k) {
        const std::size_t i = batches[b].items[k];
        store(stores_, key_of(sources[i], target), texts[k]);
        accept(i, texts[k]);
      }
      return;
    }
    if (outcome == Outcome::unsupported && unsupported.insert(batches[b].language).second)
      store(stores_, key_of({batches[b].language, "\x01pair"}, target), unsupported_mark);
    if (outcome == Outcome::quota) use_.quota = true;
    if (outcome != Outcome::unsupported && !(response.status == 0 && response.error.empty())) {
      use_.last_error = message.substr(0, 200);
      if (!settings_.key.empty()) use_.last_error = replaced(use_.last_error, settings_.key, "***");
    }
  };
  // One request a language first: it decides whether the pair is served at all.
  std::vector<HttpRequest> first, rest;
  std::vector<std::size_t> first_index, rest_index;
  std::set<std::string> tried;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const bool is_first = tried.insert(batches[b].language).second;
    (is_first ? first : rest).push_back(requests[b]);
    (is_first ? first_index : rest_index).push_back(b);
  }
  const auto run = [&](const std::vector<HttpRequest>& list, const std::vector<std::size_t>& index) {
    HttpPolicy policy = settings_.policy;
    policy.stop = [this, before = settings_.policy.stop] { return use_.quota || (before && before()); };
    const HttpCounts counts =
        perform(list, policy, judge, [&](std::size_t k, const HttpResponse& r) { finished(index[k], r); });
    use_.calls += counts.calls;
    use_.failures += counts.failures;
    use_.retries += counts.retries;
    use_.broken = use_.broken || counts.broken;
  };
  run(first, first_index);
  std::vector<HttpRequest> later;
  std::vector<std::size_t> later_index;
  for (std::size_t k = 0; k < rest.size(); ++k)
    if (!unsupported.contains(batches[rest_index[k]].language))
      later.push_back(rest[k]), later_index.push_back(rest_index[k]);
  if (!use_.broken && !use_.quota) run(later, later_index);
  return out;
}

OnlineModel::OnlineModel(ServiceSettings settings, std::string model, AnswerStores stores, std::uint64_t seed)
    : settings_(std::move(settings)), model_(std::move(model)), format_(chat_format(settings_.name)), stores_(stores) {
  if (settings_.endpoint.empty()) settings_.endpoint = format_.default_endpoint;
  settings_.policy.seed = seed;
}

std::optional<std::string> OnlineModel::ask(const Prompt& prompt) {
  const std::string key =
      sha256(settings_.name + '\n' + settings_.endpoint + '\n' + model_ + '\n' + protocol_version + '\n' +
             fmt::format("{}", prompt.temperature) + '\n' + prompt.system + '\n' + prompt.user);
  if (const auto known = stored(stores_, key)) {
    ++use_.cached;
    return known;
  }
  if (stores_.cache_only || use_.broken || (settings_.policy.stop && settings_.policy.stop())) return std::nullopt;
  HttpRequest request = format_.request(settings_, model_, prompt);
  request.timeout = 120;
  std::optional<std::string> reply;
  const auto judge = [&](const HttpResponse& response) {
    const Verdict verdict = default_verdict(response);
    return verdict == Verdict::done && nlohmann::json::parse(response.body, nullptr, false).is_discarded()
               ? Verdict::retry
               : verdict;
  };
  const HttpCounts counts = perform({request}, settings_.policy, judge, [&](std::size_t, const HttpResponse& response) {
    if (response.status == 200) reply = format_.read(response);
    if (!reply) use_.last_error = response.status == 0 ? response.error : fmt::format("HTTP {}", response.status);
  });
  use_.calls += counts.calls;
  use_.failures += counts.failures;
  use_.retries += counts.retries;
  use_.broken = use_.failures >= settings_.policy.breaker && use_.calls == use_.failures + use_.retries;
  prompt_bytes += static_cast<std::int64_t>(prompt.system.size() + prompt.user.size());
  if (reply) {
    reply_bytes += static_cast<std::int64_t>(reply->size());
    store(stores_, key, *reply);
  }
  return reply;
}

std::vector<std::vector<Proposal>> propose_by_command(const std::string& command,
                                                      const std::vector<SourceText>& sources,
                                                      const std::string& target) {
  std::vector<std::vector<Proposal>> out(sources.size());
  std::map<std::string, std::vector<std::size_t>> by_language;
  for (std::size_t i = 0; i < sources.size(); ++i)
    by_language[sources[i].language].push_back(i);
  for (const auto& [language, items] : by_language) {
    std::string input;
    for (const std::size_t i : items)
      input += fmt::format("{}\t{}\n", i, join(words(running_case(sources[i].text, language)), " "));
    const std::string answer = run_shell(replaced(replaced(command, "{from}", language), "{to}", target), input);
    for (const std::string_view line : split(answer, '\n')) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string_view::npos || tab == 0 || tab > 9 ||
          !std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(tab),
                       [](char c) { return c >= '0' && c <= '9'; }))
        continue;
      const std::size_t i = std::stoul(std::string(line.substr(0, tab)));
      const std::string_view text = trimmed(line.substr(tab + 1));
      if (i < out.size() && !text.empty() && !utf8_error(text))
        out[i].push_back({std::string(text), "cmd:" + std::string(split(command, ' ')[0]), 1.0, false});
    }
  }
  return out;
}

std::optional<std::pair<double, double>> price_of(const std::string& name) {
  // USD per million tokens (models) or characters (services), list prices of May 2025.
  static const std::map<std::string, std::pair<double, double>> known = {{"gpt-4o", {2.5, 10}},
                                                                         {"gpt-4o-mini", {0.15, 0.6}},
                                                                         {"gpt-4.1-mini", {0.4, 1.6}},
                                                                         {"gpt-4.1-nano", {0.1, 0.4}},
                                                                         {"gpt-3.5-turbo", {0.5, 1.5}},
                                                                         {"claude-3-5-haiku", {0.8, 4}},
                                                                         {"claude-3-7-sonnet", {3, 15}},
                                                                         {"claude-3-haiku", {0.25, 1.25}},
                                                                         {"gemini-2.0-flash", {0.1, 0.4}},
                                                                         {"gemini-2.0-flash-lite", {0.075, 0.3}},
                                                                         {"gemini-1.5-flash", {0.075, 0.3}},
                                                                         {"mistral-small", {0.15, 0.15}},
                                                                         {"mistral-medium", {0.4, 2}},
                                                                         {"mistral-large", {2, 6}},
                                                                         {"ministral-3b", {0.04, 0.04}},
                                                                         {"deepseek-chat", {0.27, 1.1}},
                                                                         {"deepl", {25, 0}},
                                                                         {"google", {20, 0}},
                                                                         {"google-v2", {20, 0}},
                                                                         {"microsoft", {10, 0}},
                                                                         {"libretranslate", {0, 0}},
                                                                         {"argos", {0, 0}},
                                                                         {"apertium-apy", {0, 0}},
                                                                         {"mymemory", {0, 0}}};
  const auto found = known.find(name);
  if (found == known.end()) return std::nullopt;
  return found->second;
}

}  // namespace fachwerk::wokie
