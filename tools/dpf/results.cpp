#include "results.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

std::vector<float> narrow(std::span<const double> values) {
  std::vector<float> out(values.size());
  std::ranges::transform(values, out.begin(), [](double x) { return static_cast<float>(x); });
  return out;
}

void write_all(int file, const std::string& name, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t done = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw io_error("{}: cannot be written: {}", name, std::strerror(done == 0 ? EIO : errno));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
}

}  // namespace

ResultLayout::ResultLayout(const Grid& grid, const Outputs& outputs) {
  const std::size_t n = grid.bus.size(), m = grid.branch.size(), g = grid.gen.size();
  if (outputs.voltages) {
    add("vm", &Flows::vm, n);
    add("va", &Flows::va, n);
  }
  if (outputs.flows) {
    add("pf", &Flows::pf, m);
    add("qf", &Flows::qf, m);
    add("pt", &Flows::pt, m);
    add("qt", &Flows::qt, m);
    add("loading", nullptr, m);
  }
  if (outputs.generators) {
    add("pg", &Flows::pg, g);
    add("qg", &Flows::qg, g);
  }
  if (outputs.mismatches) {
    add("mismatch_p", &Flows::mismatch_p, n);
    add("mismatch_q", &Flows::mismatch_q, n);
  }
}

void ResultLayout::add(const char* name, std::vector<double> Flows::*member, std::size_t width) {
  if (width == 0) return;
  tables_.push_back({std::string("/result/") + name, member, width, width_});
  width_ += width;
}

void ResultLayout::put(const Outcome& out, std::size_t row, std::size_t count, std::span<double> values) const {
  double low = NAN, high = NAN, sum = 0, live = 0;
  for (const double v : out.flows.vm) {
    if (std::isnan(v)) continue;
    low = v < low || live == 0 ? v : low;
    high = v > high || live == 0 ? v : high;
    sum += v;
    ++live;
  }
  const std::array<double, scalars> head = {static_cast<double>(out.solution.status),
                                            static_cast<double>(out.solution.iterations),
                                            out.solution.max_mismatch,
                                            out.measured.relative,
                                            out.measured.mean_square,
                                            static_cast<double>(out.path),
                                            static_cast<double>(out.check.bits()),
                                            out.flows.slack_mw,
                                            out.flows.loss_mw,
                                            out.lost_load_mw,
                                            low,
                                            sum / live,
                                            high};
  std::ranges::copy(head, values.begin() + static_cast<std::ptrdiff_t>(row * scalars));
  for (const Table& table : tables_) {
    const auto to = values.begin() + static_cast<std::ptrdiff_t>(count * (scalars + table.before) + row * table.width);
    if (table.member == nullptr)
      std::ranges::copy(out.flows.loading, to);
    else
      std::ranges::copy(out.flows.*table.member, to);
  }
}

void write_tables(h5::Output& file, const ResultLayout& layout, std::size_t first, std::size_t count,
                  std::span<const double> values) {
  for (const auto& table : layout.tables()) {
    const auto part = layout.table(table, count, values);
    if (table.member == nullptr)
      file.write_slab(table.path, {first, 0}, {count, table.width}, std::span<const float>(narrow(part)));
    else
      file.write_slab(table.path, {first, 0}, {count, table.width}, part);
  }
}

PlainTables::Places PlainTables::places(const h5::Output& file, const ResultLayout& layout) {
  Places out;
  for (const auto& table : layout.tables()) {
    const auto place = file.place(table.path);
    if (!place) return {};
    out.file = place->file;
    out.offsets.push_back(place->offset);
  }
  return out;
}

PlainTables::PlainTables(const ResultLayout& layout, const Places& places)
    : layout_(layout), places_(places), file_(open(places.file.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (file_ < 0)
    throw io_error("{}: {}", places.file, std::strerror(errno))
        .with_hint("all ranks write to the output: it must be in a folder that they share");
}

PlainTables::~PlainTables() {
  close(file_);
}

void PlainTables::write(std::size_t first, std::size_t count, std::size_t begin, std::size_t rows,
                        std::span<const double> values) const {
  for (std::size_t t = 0; t < layout_.tables().size(); ++t) {
    const auto& table = layout_.tables()[t];
    const auto part = layout_.table(table, count, values).subspan(begin * table.width, rows * table.width);
    const std::size_t at = (first + begin) * table.width;
    if (table.member == nullptr)
      write_all(file_, places_.file, std::as_bytes(std::span<const float>(narrow(part))),
                places_.offsets[t] + at * sizeof(float));
    else
      write_all(file_, places_.file, std::as_bytes(part), places_.offsets[t] + at * sizeof(double));
  }
}

}  // namespace fachwerk::dpf
