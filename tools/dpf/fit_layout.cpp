#include "fit_layout.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "cli/error.hpp"
#include "io/delimited.hpp"

namespace fachwerk::dpf {
namespace {

using Kind = Observation::Kind;
constexpr double degrees = 57.29577951308232;

// Datasets of /measurement and words of --gradient-only, with the default standard deviation and its unit.
struct Quantity {
  const char* name;
  Kind kind;
  double sigma;
};
constexpr Quantity quantities[] = {{"vm", Kind::vm, 1e-3},
                                   {"va", Kind::va, 1e-3 * degrees},
                                   {"pf", Kind::pf, 0},
                                   {"qf", Kind::qf, 0},
                                   {"pt", Kind::pt, 0},
                                   {"qt", Kind::qt, 0},
                                   {"if", Kind::current_from, 1e-3},
                                   {"it", Kind::current_to, 1e-3},
                                   {"p", Kind::p, 0},
                                   {"q", Kind::q, 0},
                                   {"loading", Kind::loading, 0}};
constexpr std::size_t measurable = 10;  // the first ones

bool of_bus(Kind kind) {
  return kind == Kind::vm || kind == Kind::va || kind == Kind::p || kind == Kind::q;
}
std::size_t rows_of(const Grid& grid, Kind kind) {
  return of_bus(kind) ? grid.bus.size() : grid.branch.size();
}
bool is_live(const Network& network, Kind kind, std::size_t row) {
  return (of_bus(kind) ? network.node_of_bus[row] : network.from_of_branch[row]) >= 0;
}
const Quantity* quantity_of(const std::string& name) {
  const auto found = std::ranges::find(quantities, name, &Quantity::name);
  return found == std::end(quantities) ? nullptr : found;
}

// Powers have 1e-3 pu as the rest has.
double default_sigma(const Quantity& quantity, const Grid& grid) {
  return quantity.sigma > 0 ? quantity.sigma : 1e-3 * grid.base_mva;
}

// Standard deviations of a dataset's values: of each, of each element, or one for all.
std::vector<double> sigmas_of(const h5::Node& file, const std::string& path, std::size_t snapshots, std::size_t width,
                              double otherwise) {
  const std::string own = path + "_sigma";
  if (file.exists(own)) {
    auto values = file.read<double>(own);
    const bool each = values.shape == h5::Shape{snapshots, width};
    if (!each && values.shape != h5::Shape{width})
      throw bad_input("{}:{}: expected {} x {} standard deviations, or {}", file.name(), own, snapshots, width, width);
    std::vector<double> out = values.values;
    for (std::size_t s = 1; s < snapshots && !each; ++s)
      out.insert(out.end(), values.values.begin(), values.values.end());
    return out;
  }
  const double sigma = file.number(path, "sigma").value_or(otherwise);
  if (!(sigma > 0)) throw bad_input("{}:{}: the attribute sigma must be positive, found {}", file.name(), path, sigma);
  return std::vector<double>(snapshots * width, sigma);
}

}  // namespace

std::string label(const Grid& grid, const Parameter& p) {
  if (of_branch(p.kind)) return fmt::format("{} {}-{}", name(p.kind), grid.branch.from[p.row], grid.branch.to[p.row]);
  return fmt::format("{} {}", name(p.kind), of_generator(p.kind) ? grid.gen.bus[p.row] : grid.bus.id[p.row]);
}

std::string label(const Grid& grid, const Observation& what) {
  if (what.kind == Kind::loss) return "loss";
  const auto* found = std::ranges::find(quantities, what.kind, &Quantity::kind);
  if (of_bus(what.kind)) return fmt::format("{} {}", found->name, grid.bus.id[what.row]);
  return fmt::format("{} {} ({}-{})", found->name, what.row + 1, grid.branch.from[what.row], grid.branch.to[what.row]);
}

MeasuredSnapshots read_measurements(const h5::Node& file, const Grid& grid, const Network& network) {
  MeasuredSnapshots out;
  for (std::size_t q = 0; q < measurable; ++q) {
    const std::string path = std::string("/measurement/") + quantities[q].name;
    if (!file.exists(path)) continue;
    const Kind kind = quantities[q].kind;
    const std::size_t width = rows_of(grid, kind);
    const auto values =
        file.read<double>(path, {.axes = {"snapshot", "element"}, .shape = {out.readings.size(), width}});
    const std::size_t snapshots = values.shape[0];
    out.readings.resize(snapshots);
    const auto sigmas = sigmas_of(file, path, snapshots, width, default_sigma(quantities[q], grid));
    for (std::size_t s = 0; s < snapshots; ++s)
      for (std::size_t i = 0; i < width; ++i) {
        const double value = values.values[s * width + i], sigma = sigmas[s * width + i];
        if (std::isnan(value) || !is_live(network, kind, i)) continue;
        if (!std::isfinite(value) || !(sigma > 0) || !std::isfinite(sigma))
          throw bad_input("{}:{}[{},{}]: expected a number with a positive standard deviation, found {} and {}",
                          file.name(), path, s, i, value, sigma);
        out.readings[s].push_back({{kind, static_cast<int>(i)}, value, sigma});
      }
  }
  const std::size_t snapshots = out.readings.size();
  if (snapshots == 0)
    throw bad_input("{}: expected at least one of /measurement/vm, va, pf, qf, pt, qt, if, it, p, q", file.name());
  out.points.assign(snapshots, OperatingPoint(grid));
  if (auto source = ScenarioSource::in(file, grid, "auto")) {
    if (source->count() != snapshots)
      throw bad_input("{}:/scenarios: expected {} scenarios, one a snapshot, found {}", file.name(), snapshots,
                      source->count());
    source->load(0, snapshots);
    for (std::size_t s = 0; s < snapshots; ++s) {
      if (source->changes_topology(s))
        throw bad_input("{}:/scenarios: snapshot {} switches branches or generators: a fit takes one topology",
                        file.name(), s + 1);
      source->point(s, out.points[s]);
      if (!out.points[s].finite())
        throw bad_input("{}:/scenarios: snapshot {} has NaN or infinity", file.name(), s + 1);
    }
  }
  return out;
}

namespace {

// A table of priors, whatever file it is in.
struct PriorTable {
  std::vector<std::string> names, kinds;
  std::vector<std::int64_t> rows;
  std::vector<double> mean, sigma;
  std::vector<char> skipped;
};

PriorTable prior_table(const h5::Input& file) {
  const std::string group = file.exists("/prior") ? "/prior" : "/fit";
  if (!file.exists(group)) throw bad_input("{}: expected a group /prior, or /fit of an earlier fit", file.name());
  PriorTable out;
  if (file.exists(group + "/names")) out.names = file.strings(group + "/names");
  if (file.exists(group + "/kind")) out.kinds = file.strings(group + "/kind");
  if (file.exists(group + "/row")) out.rows = file.column<std::int64_t>(group + "/row");
  out.mean = file.column<double>(group + (group == "/fit" ? "/p" : "/mean"));
  out.sigma = file.column<double>(group + "/sigma", out.mean.size());
  out.skipped.assign(out.mean.size(), 0);
  if (group == "/prior") return out;
  const auto flags = file.column<std::int8_t>("/fit/flag", out.mean.size());
  for (std::size_t i = 0; i < flags.size(); ++i)
    out.skipped[i] = flags[i] != 0 || !(out.sigma[i] > 0);
  return out;
}

PriorTable prior_table(const std::string& path) {
  const formats::File file = formats::File::open(path);
  auto table = formats::read_delimited(file.text(), path, {.header = true});
  PriorTable out;
  for (auto& column : table.columns) {
    const auto text = [&] {
      if (!formats::is_text(column.values)) throw bad_input("{}: column {}: expected words", path, column.name);
      return std::get<std::vector<std::string>>(column.values);
    };
    if (column.name == "name") out.names = text();
    if (column.name == "kind") out.kinds = text();
    if (column.name == "mean") out.mean = formats::as_reals(column.values, path + ": column mean");
    if (column.name == "sigma") out.sigma = formats::as_reals(column.values, path + ": column sigma");
    if (column.name == "row")
      for (const double row : formats::as_reals(column.values, path + ": column row"))
        out.rows.push_back(std::isfinite(row) && std::abs(row) < 1e15 ? static_cast<std::int64_t>(row) : 0);
  }
  if (out.mean.empty() || out.sigma.empty())
    throw bad_input("{}: expected columns mean and sigma, and name or kind and row", path);
  out.skipped.assign(out.mean.size(), 0);
  return out;
}

ParameterKind known_kind(const std::string& word, const std::string& path, std::size_t prior) {
  const auto kind = find_parameter_kind(word);
  if (!kind) throw bad_input("{}: prior {}: there is no parameter {}", path, prior + 1, word);
  return *kind;
}

}  // namespace

std::vector<Prior> read_priors(const std::string& path, const Grid& grid, const std::vector<Parameter>& parameters) {
  const PriorTable table = is_hdf5(path) ? prior_table(h5::Input::open(path)) : prior_table(path);
  const std::size_t count = table.mean.size();
  const bool by_row = table.rows.size() == count && (table.kinds.size() == count || table.names.size() == count);
  if (!by_row && table.names.size() != count)
    throw bad_input("{}: expected a name, or kind and row, for each of {} priors", path, count);
  std::map<std::pair<ParameterKind, std::int64_t>, std::size_t> places;
  std::multimap<std::string, std::size_t> named;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    places[{parameters[i].kind, parameters[i].row + 1}] = i;
    named.emplace(label(grid, parameters[i]), i);
  }
  std::vector<Prior> out;
  for (std::size_t k = 0; k < count; ++k) {
    if (table.skipped[k]) continue;
    if (!std::isfinite(table.mean[k]) || !(table.sigma[k] > 0) || !std::isfinite(table.sigma[k]))
      throw bad_input("{}: prior {}: expected a mean and a positive sigma, found {} and {}", path, k + 1, table.mean[k],
                      table.sigma[k]);
    if (by_row) {
      const std::string kind =
          table.kinds.size() == count ? table.kinds[k] : table.names[k].substr(0, table.names[k].find(' '));
      const auto found = places.find({known_kind(kind, path, k), table.rows[k]});
      if (found != places.end()) out.push_back({found->second, table.mean[k], table.sigma[k]});
      continue;
    }
    const auto number = named.count(table.names[k]);
    if (number > 1)
      throw bad_input("{}: prior {}: {} parameters are called \"{}\"", path, k + 1, number, table.names[k])
          .with_hint("columns kind and row tell them apart");
    known_kind(table.names[k].substr(0, table.names[k].find(' ')), path, k);
    if (number == 1) out.push_back({named.find(table.names[k])->second, table.mean[k], table.sigma[k]});
  }
  if (out.empty() && count > 0)
    throw bad_input("{}: none of its {} priors is about a parameter that is learnt", path, count);
  return out;
}

std::vector<int> read_groups(const LoadedGrid& input, const std::vector<std::string>& words,
                             const std::vector<Parameter>& parameters) {
  if (words.empty()) return {};
  if (!input.file) throw usage_error("--group names a dataset of IN, and {} is no HDF5 file", input.name);
  std::vector<int> out(parameters.size(), -1);
  std::map<std::tuple<std::string, ParameterKind, std::string>, int> numbers;
  for (const auto& word : words) {
    const std::size_t colon = word.find(':');
    std::string table = colon == std::string::npos ? "" : word.substr(0, colon);
    const std::string path = colon == std::string::npos ? word : word.substr(colon + 1);
    for (const char* candidate : {"bus", "branch", "gen"})
      if (table.empty() && path.starts_with(std::string("/grid/") + candidate + "/")) table = candidate;
    std::vector<std::string> entries;  // empty: alone
    if (input.file->exists(path) && input.file->info(path).type == h5::TypeClass::text) {
      entries = input.file->strings(path);
    } else {
      for (const std::int64_t entry : input.file->column<std::int64_t>(path))
        entries.push_back(entry < 0 ? "" : std::to_string(entry));
    }
    const std::map<std::string, std::size_t> sizes = {
        {"bus", input.grid.bus.size()}, {"branch", input.grid.branch.size()}, {"gen", input.grid.gen.size()}};
    std::string fitting;
    int fits = 0;
    for (const auto& [candidate, size] : sizes)
      if (size == entries.size()) fitting = candidate, ++fits;
    if (table.empty() && fits > 1)
      throw usage_error("--group: {} fits several tables: write bus:{}, branch:{} or gen:{}", path, path, path, path);
    if (table.empty()) table = fitting;
    if (!table.empty() && !sizes.contains(table))
      throw usage_error("--group: expected bus, branch or gen before the colon, found \"{}\"", table);
    if (table.empty() || sizes.at(table) != entries.size())
      throw bad_input("{}:{}: expected {} entries, one a branch, {}, one a bus, or {}, one a generator, found {}",
                      input.name, path, input.grid.branch.size(), input.grid.bus.size(), input.grid.gen.size(),
                      entries.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const ParameterKind kind = parameters[i].kind;
      const std::string of = of_branch(kind) ? "branch" : of_generator(kind) ? "gen" : "bus";
      const std::string& entry = entries[of == table ? static_cast<std::size_t>(parameters[i].row) : 0];
      // A common factor cannot move what is 0.
      if (of != table || entry.empty() || get(input.grid, parameters[i]) == 0) continue;
      out[i] = numbers.try_emplace({path, kind, entry}, static_cast<int>(numbers.size())).first->second;
    }
  }
  return out;
}

namespace {

// Weights of one quantity, from a dataset with an entry for every row of its table.
void add_weights(const h5::Node& file, const std::string& path, const Quantity& quantity, const Grid& grid,
                 const Network& network, Functional& out) {
  const auto weights = file.column<double>(path, rows_of(grid, quantity.kind), true);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0 || !is_live(network, quantity.kind, i)) continue;
    if (quantity.kind == Kind::loading && !(grid.branch.rate_a[i] > 0))
      throw usage_error("--gradient-only: branch row {} has a weight and no rating", i + 1);
    out.push_back({{quantity.kind, static_cast<int>(i)}, weights[i]});
  }
}

Functional weighted(const std::string& path, const LoadedGrid& input, const Network& network) {
  if (!input.file) throw usage_error("--gradient-only weights:DATASET needs IN as HDF5");
  const h5::Node& file = *input.file;
  if (!file.exists(path)) throw bad_input("{}:{}: there is no such dataset", file.name(), path);
  Functional out;
  if (file.is_dataset(path)) {
    const std::string of = file.text(path, "of").value_or(path.substr(path.rfind('/') + 1));
    const Quantity* quantity = quantity_of(of);
    if (quantity == nullptr)
      throw bad_input(
          "{}:{}: expected the name, or the attribute of, to be vm, va, pf, qf, pt, qt, if, it, p, q or "
          "loading, found \"{}\"",
          file.name(), path, of);
    add_weights(file, path, *quantity, input.grid, network, out);
  } else {
    for (const auto& child : file.children(path))
      if (const Quantity* quantity = quantity_of(child))
        add_weights(file, path + "/" + child, *quantity, input.grid, network, out);
  }
  if (out.empty()) throw bad_input("{}:{}: no weight differs from 0", file.name(), path);
  return out;
}

}  // namespace

Functional functional_of(const std::string& word, const LoadedGrid& input, const Network& network) {
  if (word == "loss") return {{{Kind::loss, 0}, 1}};
  const std::size_t colon = word.find(':');
  if (word.starts_with("weights:")) return weighted(word.substr(colon + 1), input, network);
  const Quantity* quantity = quantity_of(word.substr(0, colon));
  std::int64_t number = 0;
  const char* last = word.data() + word.size();
  const char* first = colon == std::string::npos ? last : word.data() + colon + 1;
  const auto result = std::from_chars(first, last, number);
  if (quantity == nullptr || result.ec != std::errc() || result.ptr != last)
    throw usage_error(
        "--gradient-only: expected loss, vm:BUS, va:BUS, p:BUS, q:BUS, pf:ROW, qf:ROW, pt:ROW, qt:ROW, if:ROW, it:ROW, "
        "loading:ROW or weights:DATASET, found \"{}\"",
        word);
  if (of_bus(quantity->kind)) {
    const auto rows = bus_rows(input.grid);
    const auto row = rows.find(number);
    if (row == rows.end() || network.node_of_bus[row->second] < 0)
      throw usage_error("--gradient-only: there is no live bus {}", number);
    return {{{quantity->kind, row->second}, 1}};
  }
  if (number < 1 || static_cast<std::size_t>(number) > input.grid.branch.size() ||
      network.from_of_branch[number - 1] < 0)
    throw usage_error("--gradient-only: branch row {} is not in service", number);
  if (quantity->kind == Kind::loading && !(input.grid.branch.rate_a[number - 1] > 0))
    throw usage_error("--gradient-only: branch row {} has no rating", number);
  return {{{quantity->kind, static_cast<int>(number - 1)}, 1}};
}

void write_parameters(h5::Output& file, const Grid& grid, const std::vector<Parameter>& parameters,
                      const std::string& group) {
  std::vector<std::string> names;
  std::vector<std::int64_t> rows;
  for (const auto& p : parameters) {
    names.push_back(label(grid, p));
    rows.push_back(p.row + 1);
  }
  file.strings(group + "/names", names, {.long_name = "parameter and its element", .dims = {"parameter"}});
  file.column(group + "/row", rows, {.long_name = "row of the element, from 1", .dims = {"parameter"}});
}

namespace {

void write_residuals(h5::Output& file, const Grid& grid, const std::vector<Residual>& residuals) {
  std::vector<std::string> names;
  std::vector<std::int64_t> snapshots;
  std::vector<double> values, normalised;
  std::vector<std::int8_t> removed;
  for (const Residual& r : residuals) {
    names.push_back((r.equation ? "balance " : "") + label(grid, r.what));
    snapshots.push_back(static_cast<std::int64_t>(r.snapshot));
    values.push_back(r.value);
    normalised.push_back(r.normalised);
    removed.push_back(r.removed);
  }
  file.column("/fit/residuals", values, {.units = "1", .long_name = "residual over sigma", .dims = {"observation"}});
  file.column("/fit/normalised_residuals", normalised,
              {.units = "1",
               .long_name = "residual over its own standard deviation, NaN: nothing checks it",
               .dims = {"observation"}});
  file.strings("/fit/observations", names, {.long_name = "observation and its element", .dims = {"observation"}});
  file.column("/fit/snapshot", snapshots,
              {.long_name = "snapshot of the observation, from 0", .dims = {"observation"}});
  file.column("/fit/removed", removed, {.long_name = "1: left out as bad data", .dims = {"observation"}});
}

// Estimated voltages by snapshot and bus, with their standard deviations.
void write_states(h5::Output& file, const Grid& grid, const Network& network, const FitResult& result) {
  const std::size_t n = grid.bus.size(), count = result.states.size();
  std::vector<double> vm(count * n, std::nan("")), va(vm), sigma_vm(vm), sigma_va(vm);
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t i = 0; i < n; ++i) {
      const int k = network.node_of_bus[i];
      if (k < 0) continue;
      const State& state = result.states[s];
      vm[s * n + i] = state.vm[k];
      va[s * n + i] = state.va[k] * degrees;
      sigma_va[s * n + i] = result.state_sigma[s][2 * static_cast<std::size_t>(k)] * degrees;
      sigma_vm[s * n + i] = result.state_sigma[s][2 * static_cast<std::size_t>(k) + 1] * state.vm[k];
    }
  const auto write = [&](const char* name, const char* units, const char* meaning, const std::vector<double>& values) {
    file.write(std::string("/fit/") + name, values, {count, n},
               {.units = units, .long_name = meaning, .dims = {"snapshot", "bus"}});
  };
  write("vm", "pu", "estimated voltage", vm);
  write("va", "deg", "estimated angle", va);
  write("sigma_vm", "pu", "standard deviation of the voltage", sigma_vm);
  write("sigma_va", "deg", "standard deviation of the angle", sigma_va);
}

}  // namespace

void write_fit(h5::Output& file, const Grid& grid, const Network& network, const std::vector<Parameter>& parameters,
               const FitResult& result) {
  write_parameters(file, grid, parameters, "/fit");
  const auto column = [&](const char* name, const char* meaning, const std::vector<double>& values) {
    file.column(std::string("/fit/") + name, values,
                {.units = "unit of the parameter", .long_name = meaning, .dims = {"parameter"}});
  };
  column("p0", "start", result.start);
  column("p", "fitted value", result.value);
  column("sigma", "standard deviation", result.sigma);
  file.column("/fit/flag", std::vector<std::int8_t>(result.unidentifiable.begin(), result.unidentifiable.end()),
              {.long_name = "1: the measurements do not determine it", .dims = {"parameter"}});
  file.column("/fit/at_bound", std::vector<std::int8_t>(result.at_bound.begin(), result.at_bound.end()),
              {.long_name = "1: at a bound of --bounds", .dims = {"parameter"}});
  write_residuals(file, grid, result.residuals);
  if (!result.null_directions.empty()) {
    std::vector<double> directions;
    for (const auto& d : result.null_directions)
      directions.insert(directions.end(), d.begin(), d.end());
    file.write(
        "/fit/null_directions", directions, {result.null_directions.size(), parameters.size()},
        {.units = "1",
         .long_name = "combinations that the measurements do not determine, parameters scaled to unit sensitivity",
         .dims = {"direction", "parameter"}});
  }
  if (!result.state_sigma.empty()) write_states(file, grid, network, result);
  file.attribute("/fit", "chi2", result.chi2);
  file.attribute("/fit", "degrees_of_freedom", result.degrees);
}

}  // namespace fachwerk::dpf
