#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "grid.hpp"

/// MATPOWER case files (.m, case format 1 and 2) by a small evaluator of the MATLAB subset that such files use.
namespace fachwerk::dpf {

/// What a MATPOWER file holds once every statement in it has been carried out.
struct MatpowerFile {
  std::string function;                 ///< name after `function`
  std::map<std::string, Table> tables;  ///< "bus", "gen", ...: fields of the struct; scalars are 1 x 1
  std::map<std::string, std::vector<std::string>> texts;  ///< cell arrays of strings and strings
};

/// Evaluates `text`. Understands numbers, strings, matrices, cell arrays, comments, `...`, ranges, indexed reads and
/// assignments, arithmetic, elementary functions, and the constants of idx_bus, idx_brch, idx_gen, idx_cost, idx_ct and
/// define_constants. Throws bad input naming `name` and the line for any other statement: none is ever skipped.
MatpowerFile evaluate_matpower(std::string_view text, std::string_view name);

/// The grid of an evaluated case. `warnings` receives what is not used (dcline). Throws bad input for missing tables or
/// columns.
Grid grid_of(const MatpowerFile& file, std::string_view name, std::vector<std::string>& warnings);

/// Case format 2, numbers with 17 significant digits, so that reading it back gives the same bits.
std::string matpower_text(const Grid& grid);

/// One row of a change table (contab_*, scenarios_*): columns as MATPOWER's idx_ct numbers them.
struct Change {
  std::int64_t label;
  double probability;
  int table, row, column, type;
  double value;
};
std::vector<Change> changes_of(const MatpowerFile& file, std::string_view name);

}  // namespace fachwerk::dpf
