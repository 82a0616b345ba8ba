// What services and language models answer: the first byte chooses the wire format, the second the HTTP status.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "consensus.hpp"
#include "llm.hpp"
#include "services.hpp"

using namespace fachwerk::wokie;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr long statuses[] = {200, 400, 403, 429, 456, 500, 503};
  HttpResponse response;
  response.status = static_cast<decltype(response.status)>(statuses[data[1] % 7]);
  response.body.assign(reinterpret_cast<const char*>(data) + 2, size - 2);
  static const std::vector<std::string> services = service_names(), models = chat_names();
  const std::size_t which = data[0] % (services.size() + models.size() + 1);
  if (which < services.size()) {
    std::vector<std::string> texts;
    std::string message;
    const WireFormat format = wire_format({.name = services[which]});
    const std::size_t count = std::min<std::size_t>(3, format.batch);
    const auto outcome = format.read(response, count, texts, message);
    if (outcome == WireFormat::Outcome::ok && texts.size() != count) __builtin_trap();
  } else if (which < services.size() + models.size()) {
    chat_format(models[which - services.size()]).read(response);
  } else {
    parse_selection(response.body, 3);
    if (const auto rated = parse_rating(response.body); rated && (rated->confidence < 0 || rated->confidence > 1))
      __builtin_trap();
    reply_objection(cleaned_reply(response.body), "source", "ru");
  }
  return 0;
}
