#include "site_option.hpp"

#include <algorithm>
#include <charconv>

#include "cli/error.hpp"

namespace fachwerk::polgraw {

namespace {

Site parse_site(const std::string& text) {
  std::vector<std::string> words;
  std::size_t begin = 0;
  for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find(':', begin);
    words.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
  }
  if (words.size() < 5 || words.size() > 6 || words[0].empty())
    throw usage_error("--site {}: expected NAME:lat:lon:height:gamma[:zeta]", text);
  std::vector<double> numbers;
  for (std::size_t k = 1; k < words.size(); ++k) {
    double value = 0;
    const auto [at, error] = std::from_chars(words[k].data(), words[k].data() + words[k].size(), value);
    if (error != std::errc{} || *at != '\0' || !std::isfinite(value))
      throw usage_error("--site {}: \"{}\" is no number", text, words[k]);
    numbers.push_back(value);
  }
  const double degree = pi / 180;
  Site site{words[0],   numbers[0] * degree, numbers[1] * degree,
            numbers[2], numbers[3] * degree, numbers.size() > 4 ? numbers[4] * degree : pi / 2,
            {}};
  if (std::abs(site.latitude) > pi / 2) throw usage_error("--site {}: expected a latitude of -90 to 90 degrees", text);
  site.position = geodetic_position(site.latitude, site.longitude, site.height);
  return site;
}

}  // namespace

std::vector<Site> resolve_sites(const std::vector<std::string>& names, const std::vector<std::string>& own) {
  std::vector<Site> mine, sites;
  for (const auto& text : own)
    mine.push_back(parse_site(text));
  auto wanted = names;
  std::ranges::sort(wanted);
  if (const auto twice = std::ranges::adjacent_find(wanted); twice != wanted.end())
    throw usage_error("--detectors: {} is named twice", *twice);
  for (const auto& name : wanted) {
    const auto found = std::ranges::find(mine, name, &Site::name);
    if (found != mine.end())
      sites.push_back(*found);
    else if (const Site* known = find_site(name))
      sites.push_back(*known);
    else
      throw usage_error("detector {}: not known (H1 L1 V1 K1 G1 H2 E1 E2 E3 CE); describe it with --site", name);
  }
  if (sites.empty()) throw usage_error("--detectors: expected at least one name");
  return sites;
}

}  // namespace fachwerk::polgraw
