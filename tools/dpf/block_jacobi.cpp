#include <algorithm>
#include <map>
#include <numeric>

#include "area_factors.hpp"
#include "cli/error.hpp"
#include "compute/parallel.hpp"

namespace fachwerk::dpf {
namespace {

constexpr int most_shifts = 4096;  // areas of a second level: every rank gathers its matrix whole

// The nodes of one area with its inner edges; `at` receives the place of every entry in the system's pattern.
Pattern inner_pattern(const Pattern& all, int begin, int end, std::vector<int>& at) {
  Pattern out;
  for (int i = begin; i < end; ++i) {
    for (int s = all.start[i]; s < all.start[i + 1]; ++s) {
      const int j = all.column[s];
      if (j < begin || j >= end) continue;
      if (j == i) out.diagonal.push_back(out.entries());
      out.column.push_back(j - begin);
      at.push_back(s);
    }
    out.start.push_back(out.entries());
  }
  return out;
}

template <class T>
std::uint64_t fold(std::uint64_t hash, const std::vector<T>& values) {  // FNV-1a by words of memory
  for (const auto byte : std::as_bytes(std::span(values)))
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 1099511628211ull;
  return hash;
}

}  // namespace

// An area's matrix in an elimination order of its own.
struct BlockJacobi::AreaFactor {
  std::vector<int> order;  // node of the area by place in the order
  Pattern pattern;
  std::vector<Block> values;
  std::unique_ptr<BlockFactor> factor = {};

  std::uint64_t hash() const { return fold(fold(fold(14695981039346656037ull, order), pattern.column), values); }
  void solve(std::span<const double> r, std::span<double> z) const {
    std::vector<double> x(z.size());
    for (std::size_t k = 0; k < order.size(); ++k)
      for (std::size_t half = 0; half < 2; ++half)
        x[2 * k + half] = r[2 * order[k] + half];
    factor->solve(x);
    for (std::size_t k = 0; k < order.size(); ++k)
      for (std::size_t half = 0; half < 2; ++half)
        z[2 * order[k] + half] = x[2 * k + half];
  }
};

// The matrix of shifts.
struct BlockJacobi::Coarse {
  explicit Coarse(Pattern given) : pattern(std::move(given)), factor(pattern) {}
  Pattern pattern;
  PivotingFactor factor;
};

BlockJacobi::AreaFactor BlockJacobi::local(int area, std::span<const Complex> v, std::span<const double> vm,
                                           bool alone) const {
  const Network& all = system_->network();
  const int begin = system_->begin(area), end = system_->end(area);
  std::vector<int> at;
  const Pattern inner = inner_pattern(all.pattern, begin, end, at);
  std::vector<Block> values(at.size());
  if (alone) {
    Network own;
    own.pattern = inner;
    own.type.assign(all.type.begin() + begin, all.type.begin() + end);
    if (!all.zip.empty()) own.zip.assign(all.zip.begin() + begin, all.zip.begin() + end);
    for (const int s : at)
      own.y.push_back(all.y[s]);
    for (int i = 0; i < end - begin; ++i)
      own.y[inner.diagonal[i]] = system_->inner_diagonal()[begin + i];
    const auto count = static_cast<std::size_t>(end - begin);
    jacobian_rows(problem_of(own), v.subspan(begin, count), vm.subspan(begin, count), 0, end - begin, values);
  } else {
    const int offset = all.pattern.start[system_->first()];
    std::ranges::transform(at, values.begin(), [&](int s) { return j_[s - offset]; });
  }
  AreaFactor out{minimum_degree(inner), {}, {}};
  std::vector<int> place(out.order.size());
  for (std::size_t k = 0; k < place.size(); ++k)
    place[out.order[k]] = static_cast<int>(k);
  std::vector<std::pair<int, int>> row;
  for (const int i : out.order) {
    row.clear();
    for (int s = inner.start[i]; s < inner.start[i + 1]; ++s)
      row.emplace_back(place[inner.column[s]], s);
    std::ranges::sort(row);
    for (const auto& [column, s] : row) {
      if (column == place[i]) out.pattern.diagonal.push_back(out.pattern.entries());
      out.pattern.column.push_back(column);
      out.values.push_back(values[s]);
    }
    out.pattern.start.push_back(out.pattern.entries());
  }
  return out;
}

BlockJacobi::BlockJacobi(const AreaSystem& system, std::span<const Block> j, std::span<const Complex> v,
                         std::span<const double> vm, bool alone)
    : system_(&system), j_(j) {
  const cluster::Block own = system.own_areas();
  std::vector<std::uint64_t> hash(own.count);
  if (alone)
    system.each_area([&](int a) { hash[a - own.begin] = local(a, v, vm, true).hash(); });
  else
    std::iota(hash.begin(), hash.end(), 0);
  std::map<std::uint64_t, std::size_t> seen;
  std::vector<int> representative;
  for (std::size_t a = 0; a < own.count; ++a) {
    const auto [found, fresh] = seen.emplace(hash[a], representative.size());
    if (fresh) representative.push_back(static_cast<int>(own.begin + a));
    factor_of_.push_back(found->second);
  }
  factors_.resize(representative.size());
  compute::parallel_tasks(representative.size(), [&](std::size_t k) {
    auto made = std::make_unique<AreaFactor>(local(representative[k], v, vm, alone));
    made->factor = std::make_unique<BlockFactor>(made->pattern);
    if (!made->factor->factor(made->values))
      throw method_failed("the Jacobian of area {} is singular", representative[k] + 1);
    made->values = {};
    factors_[k] = std::move(made);
  });
  if (!alone) find_coarse();
}

BlockJacobi::~BlockJacobi() = default;

// C_ab = sum of dP_i/dtheta_j over i in a, j in b.
void BlockJacobi::find_coarse() {
  const AreaSystem& system = *system_;
  const Network& network = system.network();
  const int areas = system.areas();
  std::vector<char> grounded(static_cast<std::size_t>(areas), 0);
  for (int i = 0; i < network.nodes(); ++i)
    if (network.type[i] == NodeType::reference) grounded[system.area_of(i)] = 1;
  if (areas == 1 || areas > most_shifts || std::ranges::find(grounded, 0) == grounded.end()) return;
  const auto size = static_cast<std::size_t>(areas);
  const int offset = network.pattern.start[system.first()];
  const std::vector<double> c = system.gather(size, [&](int a, std::span<double> row) {
    for (int i = system.begin(a); i < system.end(a); ++i) {
      if (network.type[i] == NodeType::reference) continue;
      for (int s = network.pattern.start[i]; s < network.pattern.start[i + 1]; ++s)
        row[system.area_of(network.pattern.column[s])] += j_[s - offset][0];
    }
  });
  // An area couples to few others; the second unknown of each block stands by itself.
  Pattern pattern;
  std::vector<Block> values;
  for (std::size_t a = 0; a < size; ++a) {
    for (std::size_t b = 0; b < size; ++b) {
      if (a != b && c[a * size + b] == 0) continue;
      if (a == b) pattern.diagonal.push_back(pattern.entries());
      pattern.column.push_back(static_cast<int>(b));
      values.push_back({c[a * size + b], 0, 0, a == b ? 1.0 : 0.0});
    }
    pattern.start.push_back(pattern.entries());
  }
  coarse_ = std::make_unique<Coarse>(std::move(pattern));
  if (!coarse_->factor.factor(values)) coarse_.reset();  // one level has to do
}

std::vector<double> BlockJacobi::shift(std::span<const double> r) const {
  const AreaSystem& system = *system_;
  const auto sums = system.gather(1, [&](int a, std::span<double> out) {
    for (int i = system.begin(a); i < system.end(a); ++i)
      if (system.network().type[i] != NodeType::reference) out[0] += r[2 * (i - system.first())];
  });
  std::vector<double> both(2 * sums.size(), 0.0), out(sums.size());
  for (std::size_t a = 0; a < sums.size(); ++a)
    both[2 * a] = sums[a];
  coarse_->factor.solve(both);
  for (std::size_t a = 0; a < out.size(); ++a)
    out[a] = both[2 * a];
  return out;
}

void BlockJacobi::apply(std::span<const double> r, std::span<double> z) const {
  const AreaSystem& system = *system_;
  const Pattern& pattern = system.network().pattern;
  const std::vector<double> shifts = coarse_ ? shift(r) : std::vector<double>{};
  const int offset = pattern.start[system.first()];
  system.each_area([&](int a) {
    const auto at = static_cast<std::size_t>(2 * (system.begin(a) - system.first()));
    const auto count = static_cast<std::size_t>(2 * (system.end(a) - system.begin(a)));
    std::vector<double> left(r.begin() + static_cast<std::ptrdiff_t>(at),
                             r.begin() + static_cast<std::ptrdiff_t>(at + count));
    if (!shifts.empty())
      for (int i = system.begin(a); i < system.end(a); ++i)
        for (int s = pattern.start[i]; s < pattern.start[i + 1]; ++s) {
          const int j = pattern.column[s];
          if (system.network().type[j] == NodeType::reference) continue;
          const Block& b = j_[s - offset];
          left[2 * (i - system.begin(a))] -= b[0] * shifts[system.area_of(j)];
          left[2 * (i - system.begin(a)) + 1] -= b[2] * shifts[system.area_of(j)];
        }
    factors_[factor_of_[static_cast<std::size_t>(a) - system.own_areas().begin]]->solve(left, z.subspan(at, count));
    if (!shifts.empty())
      for (int i = system.begin(a); i < system.end(a); ++i)
        if (system.network().type[i] != NodeType::reference) z[2 * (i - system.first())] += shifts[a];
  });
}

}  // namespace fachwerk::dpf
