#include "alignment_files.hpp"

#include "cli/error.hpp"
#include "document.hpp"
#include "io/bytes.hpp"

namespace fachwerk::wokie {

std::vector<Mapping> load_alignment(const std::string& path) {
  const formats::File file = formats::File::open(path);
  const std::string_view text = file.text();
  if (text.starts_with("\x89HDF")) {
    const h5::Input in = h5::Input::open(path);
    const auto left = in.strings("/alignment/left");
    const auto right = in.strings("/alignment/right", left.size()),
               relation = in.strings("/alignment/relation", left.size());
    const auto measure = in.column<float>("/alignment/measure", left.size(), true);
    std::vector<Mapping> out;
    for (std::size_t i = 0; i < left.size(); ++i)
      out.push_back({left[i], right[i], relation[i], measure[i], {}});
    return out;
  }
  if (path.ends_with(".csv") || path.ends_with(".tsv") || text.starts_with("# curie_map") ||
      text.starts_with("subject_id") || text.starts_with("left,"))
    return read_mapping_table(text, file.name());
  const auto format = sniff_format(text);
  if (!format) throw bad_input("{}: neither RDF, SSSOM, CSV nor HDF5", file.name());
  return mappings_of(read_rdf(text, *format, {.name = file.name()}));
}

std::string alignment_format(const std::string& given, const std::string& path) {
  if (!given.empty()) return given;
  if (path.ends_with(".tsv")) return "sssom";
  if (path.ends_with(".csv")) return "csv";
  if (path.ends_with(".ttl") || path.ends_with(".nt")) return "skos";
  if (path.ends_with(".rdf") || path.ends_with(".xml")) return "rdf";
  return "hdf5";
}

void save_alignment(const cli::Session& session, const std::vector<Mapping>& mappings, const std::string& path,
                    const std::string& format, const std::string& left, const std::string& right) {
  if (format == "hdf5") {
    h5::Output out = h5::Output::create(path, session.force);
    out.stamp(session, "table");
    std::vector<std::string> l, r, relation;
    std::vector<float> measure, features;
    for (const Mapping& m : mappings) {
      l.push_back(m.left), r.push_back(m.right), relation.push_back(m.relation),
          measure.push_back(static_cast<float>(m.measure));
      for (const double f : m.features)
        features.push_back(static_cast<float>(f));
    }
    const auto describe = [](const char* name) {
      return h5::Describe{.units = "1", .long_name = name, .dims = {"mapping"}};
    };
    out.strings("/alignment/left", l, describe("concept of the first thesaurus"));
    out.strings("/alignment/right", r, describe("concept of the second thesaurus"));
    out.strings("/alignment/relation", relation, describe("= exact, ~ close, < broader, > narrower match"));
    out.column("/alignment/measure", measure, describe("similarity"));
    if (features.size() == mappings.size() * feature_count && !mappings.empty()) {
      out.write("/alignment/features", features, {mappings.size(), feature_count},
                {.units = "1", .long_name = "evidence", .dims = {"mapping", "feature"}});
      out.strings("/alignment/feature_names", feature_names(),
                  {.units = "1", .long_name = "names of the features", .dims = {"feature"}});
    }
    return out.commit();
  }
  std::string text;
  if (format == "rdf") text = write_alignment_rdf(mappings, left, right);
  if (format == "skos") text = write_rdf(mapping_graph(mappings), format_of_extension(path).value_or(Format::turtle));
  if (format == "sssom") text = write_sssom(mappings);
  if (format == "csv") text = write_mapping_csv(mappings);
  formats::Sink sink = formats::Sink::create(path, session.force, false);
  sink.write(std::string_view(text));
  sink.commit();
}

}  // namespace fachwerk::wokie
