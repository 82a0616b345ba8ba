#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "layout.hpp"
#include "study.hpp"

/// Results of many scenarios on their way into a file.
namespace fachwerk::dpf {

/// Results of a block of scenarios as one array of numbers: the scalars of each scenario, then a table for each output,
/// [scenario][element], as it goes into the file.
class ResultLayout {
 public:
  ResultLayout(const Grid& grid, const Outputs& outputs);

  /// status, iterations, max_mismatch, relative, mean_square, path, check, slack_mw, loss_mw, lost_load_mw; lowest,
  /// mean and highest voltage.
  static constexpr std::size_t scalars = 13;

  struct Table {
    std::string path;                    ///< in the file
    std::vector<double> Flows::*member;  ///< null: the loading, of single precision in the file
    std::size_t width, before;           ///< numbers of a scenario, those of the tables before
  };
  const std::vector<Table>& tables() const { return tables_; }

  std::size_t size(std::size_t count) const { return count * (scalars + width_); }
  void put(const Outcome& out, std::size_t row, std::size_t count, std::span<double> values) const;
  std::span<const double> head(std::size_t row, std::span<const double> values) const {
    return values.subspan(row * scalars, scalars);
  }
  std::span<const double> table(const Table& table, std::size_t count, std::span<const double> values) const {
    return values.subspan(count * (scalars + table.before), count * table.width);
  }

 private:
  void add(const char* name, std::vector<double> Flows::*member, std::size_t width);
  std::vector<Table> tables_;
  std::size_t width_ = 0;
};

/// Writes the tables of a block through HDF5.
void write_tables(h5::Output& file, const ResultLayout& layout, std::size_t first, std::size_t count,
                  std::span<const double> values);

/// Rows of tables that lie in one piece in a file: every rank writes its own.
class PlainTables {
 public:
  /// Where the tables of `layout` lie in `file`: its name and an offset each. No offsets where they cannot be written
  /// in this way.
  struct Places {
    std::string file;
    std::vector<std::uint64_t> offsets;
  };
  static Places places(const h5::Output& file, const ResultLayout& layout);

  PlainTables(const ResultLayout& layout, const Places& places);
  ~PlainTables();
  PlainTables(const PlainTables&) = delete;
  PlainTables& operator=(const PlainTables&) = delete;
  /// Rows [begin, begin + rows) of a block of `count` scenarios that starts at `first`. From any thread.
  void write(std::size_t first, std::size_t count, std::size_t begin, std::size_t rows,
             std::span<const double> values) const;

 private:
  const ResultLayout& layout_;
  Places places_;
  int file_;
};

}  // namespace fachwerk::dpf
