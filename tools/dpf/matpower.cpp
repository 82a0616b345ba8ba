#include "matpower.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>
#include <unordered_map>
#include <variant>

#include "cli/error.hpp"

namespace fachwerk::dpf {
namespace {

// A value of the language: a numeric matrix (scalars are 1 x 1), or a list of strings (a string is a list of one).
struct Value {
  Table matrix;
  std::vector<std::string> texts;
  bool is_text = false;
  bool is_colon = false;  // a bare ":" as an index

  static Value scalar(double x) { return {{1, 1, {x}}, {}}; }
  bool is_scalar() const { return !is_text && matrix.values.size() == 1; }
};

using Names = std::vector<std::pair<std::string_view, double>>;

// Outputs of MATPOWER's idx_* functions in their order, with their values: MATPOWER manual, appendix B.
const Names& constants(std::string_view function) {
  static const Names bus = {
      {"PQ", 1},    {"PV", 2},    {"REF", 3},   {"NONE", 4},     {"BUS_I", 1},  {"BUS_TYPE", 2}, {"PD", 3},
      {"QD", 4},    {"GS", 5},    {"BS", 6},    {"BUS_AREA", 7}, {"VM", 8},     {"VA", 9},       {"BASE_KV", 10},
      {"ZONE", 11}, {"VMAX", 12}, {"VMIN", 13}, {"LAM_P", 14},   {"LAM_Q", 15}, {"MU_VMAX", 16}, {"MU_VMIN", 17}};
  static const Names branch = {{"F_BUS", 1},      {"T_BUS", 2},  {"BR_R", 3},    {"BR_X", 4},    {"BR_B", 5},
                               {"RATE_A", 6},     {"RATE_B", 7}, {"RATE_C", 8},  {"TAP", 9},     {"SHIFT", 10},
                               {"BR_STATUS", 11}, {"PF", 14},    {"QF", 15},     {"PT", 16},     {"QT", 17},
                               {"MU_SF", 18},     {"MU_ST", 19}, {"ANGMIN", 12}, {"ANGMAX", 13}, {"MU_ANGMIN", 20},
                               {"MU_ANGMAX", 21}};
  static const Names gen = {{"GEN_BUS", 1},   {"PG", 2},       {"QG", 3},         {"QMAX", 4},     {"QMIN", 5},
                            {"VG", 6},        {"MBASE", 7},    {"GEN_STATUS", 8}, {"PMAX", 9},     {"PMIN", 10},
                            {"MU_PMAX", 22},  {"MU_PMIN", 23}, {"MU_QMAX", 24},   {"MU_QMIN", 25}, {"PC1", 11},
                            {"PC2", 12},      {"QC1MIN", 13},  {"QC1MAX", 14},    {"QC2MIN", 15},  {"QC2MAX", 16},
                            {"RAMP_AGC", 17}, {"RAMP_10", 18}, {"RAMP_30", 19},   {"RAMP_Q", 20},  {"APF", 21}};
  static const Names cost = {{"PW_LINEAR", 1}, {"POLYNOMIAL", 2}, {"MODEL", 1}, {"STARTUP", 2},
                             {"SHUTDOWN", 3},  {"NCOST", 4},      {"COST", 5}};
  static const Names change = {
      {"CT_LABEL", 1},         {"CT_PROB", 2},       {"CT_TABLE", 3},      {"CT_TBUS", 1},        {"CT_TGEN", 2},
      {"CT_TBRCH", 3},         {"CT_TAREABUS", 4},   {"CT_TAREAGEN", 5},   {"CT_TAREABRCH", 6},   {"CT_ROW", 4},
      {"CT_COL", 5},           {"CT_CHGTYPE", 6},    {"CT_REP", 1},        {"CT_REL", 2},         {"CT_ADD", 3},
      {"CT_NEWVAL", 7},        {"CT_TLOAD", 7},      {"CT_TAREALOAD", 8},  {"CT_LOAD_ALL_PQ", 1}, {"CT_LOAD_FIX_PQ", 2},
      {"CT_LOAD_DIS_PQ", 3},   {"CT_LOAD_ALL_P", 4}, {"CT_LOAD_FIX_P", 5}, {"CT_LOAD_DIS_P", 6},  {"CT_TGENCOST", 9},
      {"CT_TAREAGENCOST", 10}, {"CT_MODCOST_F", -1}, {"CT_MODCOST_X", -2}};
  static const Names none;
  if (function == "idx_bus") return bus;
  if (function == "idx_brch") return branch;
  if (function == "idx_gen") return gen;
  if (function == "idx_cost") return cost;
  if (function == "idx_ct") return change;
  return none;
}

double (*function_of(std::string_view name))(double) {
  static const std::unordered_map<std::string_view, double (*)(double)> known = {
      {"sqrt", std::sqrt}, {"sin", std::sin},     {"cos", std::cos},     {"tan", std::tan},  {"asin", std::asin},
      {"acos", std::acos}, {"atan", std::atan},   {"exp", std::exp},     {"log", std::log},  {"log10", std::log10},
      {"abs", std::abs},   {"round", std::round}, {"floor", std::floor}, {"ceil", std::ceil}};
  const auto found = known.find(name);
  return found == known.end() ? nullptr : found->second;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

class Evaluator {
 public:
  Evaluator(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  MatpowerFile run() {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // byte order mark
    for (skip_statement_end(); at_ < text_.size(); skip_statement_end())
      statement();
    if (!structure_.empty() || !outputs_.empty()) collect();
    return std::move(file_);
  }

 private:
  // ---- characters ----
  [[noreturn]] void fail(std::size_t at, std::string_view message) const {
    const std::size_t end = std::min(at, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    throw bad_input("{}:{}: {}", name_, line, message);
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  // Blanks and continuation lines; true if there were any.
  bool blanks() {
    const std::size_t start = at_;
    for (;;) {
      if (peek() == ' ' || peek() == '\t' || peek() == '\r') {
        ++at_;
      } else if (peek() == '.' && text_.substr(at_, 3) == "...") {
        to_line_end();
        if (at_ < text_.size()) ++at_;
      } else {
        return at_ > start;
      }
    }
  }
  void to_line_end() {
    const std::size_t end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end;
  }
  // A comment from here to the end of the line, or a block %{ ... %} whose marks stand alone on their lines.
  void comment() {
    const auto alone = [&](std::string_view mark) {
      const std::size_t start = text_.rfind('\n', at_ == 0 ? 0 : at_ - 1) + 1;  // npos + 1 is 0
      const std::size_t end = std::min(text_.find('\n', at_), text_.size());
      std::string_view line = text_.substr(start, end - start);
      const std::size_t first = line.find_first_not_of(" \t\r");
      const std::size_t last = line.find_last_not_of(" \t\r");
      return first != std::string_view::npos && line.substr(first, last - first + 1) == mark;
    };
    if (!alone("%{")) return to_line_end();
    const std::size_t opening = at_;
    for (int depth = 0;;) {
      if (alone("%{")) ++depth;
      if (alone("%}") && --depth == 0) return to_line_end();
      to_line_end();
      if (at_ >= text_.size()) fail(opening, "a block comment is not closed");
      ++at_;
      while (peek() == ' ' || peek() == '\t')
        ++at_;
      if (peek() == '\n') continue;
    }
  }
  void skip_statement_end() {
    for (;;) {
      blanks();
      const char c = peek();
      if (c == '%' || c == '#')
        comment();
      else if (c == '\n' || c == ';' || c == ',')
        ++at_;
      else
        return;
    }
  }
  std::string_view identifier() {
    const std::size_t start = at_;
    while (is_letter(peek()) || is_digit(peek()))
      ++at_;
    return text_.substr(start, at_ - start);
  }
  void expect(char c) {
    blanks();
    if (peek() != c) fail(at_, fmt::format("expected '{}'", c));
    ++at_;
  }
  // After a statement there is its end and nothing else.
  void expect_statement_end(std::size_t start) {
    blanks();
    const char c = peek();
    if (at_ < text_.size() && c != ';' && c != ',' && c != '\n' && c != '%' && c != '#') unknown(start);
  }
  [[noreturn]] void unknown(std::size_t start) const {
    std::string_view line = text_.substr(start, std::min(text_.find('\n', start), text_.size()) - start);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
      line.remove_suffix(1);
    fail(start, fmt::format("statement not understood: {}", line.substr(0, 100)));
  }

  // ---- statements ----
  void statement() {
    const std::size_t start = at_;
    if (peek() == '[') return multiple_assignment(start);
    if (!is_letter(peek())) unknown(start);
    const std::string_view word = identifier();
    if (word == "function") return header();
    blanks();
    if (word == "end" || word == "return" || word == "endfunction") return expect_statement_end(start);
    if (word == "define_constants" && peek() != '=') {
      for (const auto* f : {"idx_bus", "idx_brch", "idx_gen", "idx_cost", "idx_ct"})
        for (const auto& [constant, value] : constants(f))
          variables_[std::string(constant)] = Value::scalar(value);
      return expect_statement_end(start);
    }
    std::string path(word);
    while (peek() == '.' && is_letter(peek(1))) {
      ++at_;
      path += '.';
      path += identifier();
    }
    blanks();
    std::optional<std::size_t> index_at;
    if (peek() == '(') {
      index_at = at_;
      skip_parentheses();
      blanks();
    }
    if (peek() != '=' || peek(1) == '=') unknown(start);
    ++at_;
    Value value = expression(false);
    expect_statement_end(start);
    if (!index_at) {
      variables_[path] = std::move(value);
      return;
    }
    const auto target = variables_.find(path);
    if (target == variables_.end()) fail(start, fmt::format("{} is not defined", path));
    const std::size_t end = at_;
    at_ = *index_at;
    const auto [rows, columns] = indices(target->second);
    at_ = end;
    store(start, target->second.matrix, rows, columns, value);
  }

  // function mpc = NAME, function [baseMVA, bus, ...] = NAME, function NAME
  void header() {
    blanks();
    std::vector<std::string> outputs;
    if (peek() == '[') {
      ++at_;
      for (;;) {
        blanks();
        if (peek() == ',')
          ++at_;
        else if (peek() == ']')
          break;
        else if (is_letter(peek()))
          outputs.emplace_back(identifier());
        else
          fail(at_, "expected the names of the function's outputs");
      }
      ++at_;
    } else {
      outputs.emplace_back(identifier());
    }
    blanks();
    if (peek() == '=') {
      ++at_;
      blanks();
      file_.function = identifier();
      if (outputs.size() == 1)
        structure_ = outputs[0];
      else
        outputs_ = outputs;
    } else if (!outputs.empty()) {
      file_.function = outputs[0];
    }
    blanks();
    if (peek() == '(') skip_parentheses();
  }

  // [PQ, PV, ...] = idx_bus
  void multiple_assignment(std::size_t start) {
    ++at_;
    std::vector<std::string_view> names;
    for (;;) {
      blanks();
      if (peek() == ',')
        ++at_;
      else if (peek() == ']')
        break;
      else if (is_letter(peek()))
        names.push_back(identifier());
      else
        unknown(start);
    }
    ++at_;
    blanks();
    if (peek() != '=') unknown(start);
    ++at_;
    blanks();
    const auto& values = constants(identifier());
    if (values.empty() || names.size() > values.size()) unknown(start);
    for (std::size_t i = 0; i < names.size(); ++i)
      variables_[std::string(names[i])] = Value::scalar(values[i].second);
    expect_statement_end(start);
  }

  void skip_parentheses() {
    const std::size_t start = at_;
    int depth = 0;
    do {
      if (peek() == '(') ++depth;
      if (peek() == ')') --depth;
      if (peek() == '\n' || at_ >= text_.size()) fail(start, "a parenthesis is not closed");
      ++at_;
    } while (depth > 0);
  }

  // ---- expressions, by precedence ----
  // In a matrix a blank ends an element, unless an operator with blanks on both sides follows.
  bool ends_element(bool in_matrix, bool had_blank, char c) const {
    return in_matrix && had_blank && (c == '+' || c == '-') && peek(1) != ' ' && peek(1) != '\t';
  }

  Value expression(bool in_matrix) {
    Value left = sum(in_matrix);
    const std::size_t mark = at_;
    blanks();
    if (peek() != ':' || in_matrix) {
      if (in_matrix) at_ = mark;
      return left;
    }
    ++at_;
    Value right = sum(false);
    std::vector<double> range;
    const double first = number(left), last = number(right);
    if (last - first > 1e7) fail(mark, "the range is too long");
    for (double x = first; x <= last + 1e-10; x += 1)
      range.push_back(x);
    const std::size_t count = range.size();
    return {{1, count, std::move(range)}, {}};
  }

  Value sum(bool in_matrix) {
    Value left = product(in_matrix);
    for (;;) {
      const std::size_t mark = at_;
      const bool had_blank = blanks();
      const char c = peek();
      if ((c != '+' && c != '-') || ends_element(in_matrix, had_blank, c)) {
        at_ = mark;
        return left;
      }
      ++at_;
      Value right = product(in_matrix);
      left = elementwise(left, right, [c](double a, double b) { return c == '+' ? a + b : a - b; });
    }
  }

  Value product(bool in_matrix) {
    Value left = unary(in_matrix);
    for (;;) {
      const std::size_t mark = at_;
      blanks();
      const bool dotted = peek() == '.' && (peek(1) == '*' || peek(1) == '/');
      if (dotted) ++at_;
      const char c = peek();
      if (c != '*' && c != '/') {
        at_ = mark;
        return left;
      }
      ++at_;
      Value right = unary(in_matrix);
      if (!dotted && !right.is_scalar() && (c == '/' || !left.is_scalar()))
        fail(mark, "products of two matrices are not understood");
      left = elementwise(left, right, [c](double a, double b) { return c == '*' ? a * b : a / b; });
    }
  }

  Value unary(bool in_matrix) {
    blanks();
    if (peek() == '-' || peek() == '+') {
      const double sign = peek() == '-' ? -1 : 1;
      ++at_;
      Value value = unary(in_matrix);
      numeric(value);
      for (double& x : value.matrix.values)
        x *= sign;
      return value;
    }
    return power(in_matrix);
  }

  Value power(bool in_matrix) {
    Value left = primary(in_matrix);
    for (;;) {
      const std::size_t mark = at_;
      if (!in_matrix) blanks();
      if (peek() == '\'') {  // transpose
        ++at_;
        left.matrix = transposed(left.matrix);
        continue;
      }
      if (peek() == '.' && peek() != '\0' && peek(1) == '^') ++at_;
      if (peek() != '^') {
        at_ = mark;
        return left;
      }
      ++at_;
      double sign = 1;
      if (peek() == '-') sign = -1, ++at_;
      Value right = primary(in_matrix);
      left = elementwise(left, right, [sign](double a, double b) { return std::pow(a, sign * b); });
    }
  }

  Value primary(bool in_matrix) {
    blanks();
    const std::size_t start = at_;
    const char c = peek();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return Value::scalar(literal());
    if (c == '\'' || c == '"') return string_literal(c);
    if (c == '[') return matrix();
    if (c == '{') return cell();
    if (c == '(') {
      ++at_;
      Value value = expression(false);
      expect(')');
      return value;
    }
    if (!is_letter(c)) fail(start, "expected a value");
    return named(in_matrix);
  }

  double literal() {
    double value = 0;
    const char* first = text_.data() + at_;
    const auto result = std::from_chars(first, text_.data() + text_.size(), value);
    if (result.ec == std::errc::invalid_argument) fail(at_, "expected a number");
    if (result.ec == std::errc::result_out_of_range) value = out_of_range(first, result.ptr);
    at_ += static_cast<std::size_t>(result.ptr - first);
    if (is_letter(peek())) fail(at_, "a number is followed by a letter");
    return value;
  }
  static double out_of_range(const char* first, const char* last) {
    return std::strtod(std::string(first, last).c_str(), nullptr);
  }

  Value string_literal(char quote) {
    const std::size_t start = at_++;
    std::string text;
    for (;; ++at_) {
      if (at_ >= text_.size() || peek() == '\n') fail(start, "a string is not closed");
      if (peek() == quote) {
        if (peek(1) != quote) break;
        ++at_;
      }
      text += peek();
    }
    ++at_;
    return {{}, {std::move(text)}, true};
  }

  Value named(bool in_matrix) {
    const std::size_t start = at_;
    std::string path(identifier());
    if (path == "pi") return Value::scalar(std::numbers::pi);
    if (path == "Inf" || path == "inf") return Value::scalar(INFINITY);
    if (path == "NaN" || path == "nan") return Value::scalar(NAN);
    if (path == "end" && end_value_) return Value::scalar(*end_value_);
    while (peek() == '.' && is_letter(peek(1))) {
      ++at_;
      path += '.';
      path += identifier();
    }
    const std::size_t mark = at_;
    const bool had_blank = blanks();
    const bool called = peek() == '(' && !(in_matrix && had_blank);
    const auto variable = variables_.find(path);
    if (variable != variables_.end()) {
      if (!called) {
        at_ = mark;
        return variable->second;
      }
      const auto [rows, columns] = indices(variable->second);
      return select(variable->second.matrix, rows, columns);
    }
    if (auto* function = function_of(path); function && called) {
      ++at_;
      Value value = expression(false);
      numeric(value);
      expect(')');
      for (double& x : value.matrix.values)
        x = function(x);
      return value;
    }
    if ((path == "zeros" || path == "ones") && called) {
      ++at_;
      const double rows = number(expression(false));
      expect(',');
      const double columns = number(expression(false));
      expect(')');
      if (!(rows >= 0 && columns >= 0 && rows * columns < 1e8)) fail(start, "a matrix of impossible size");
      const auto r = static_cast<std::size_t>(rows), k = static_cast<std::size_t>(columns);
      return {{r, k, std::vector<double>(r * k, path == "ones" ? 1.0 : 0.0)}, {}};
    }
    if (path == "size" && called) {
      ++at_;
      const Value value = expression(false);
      expect(',');
      const double axis = number(expression(false));
      expect(')');
      return Value::scalar(static_cast<double>(axis == 1 ? value.matrix.rows : value.matrix.columns));
    }
    fail(start, fmt::format("{} is not defined", path));
  }

  // ---- matrices and cells ----
  // Between rows and elements: blanks, commas, comments, newlines, semicolons. Tells whether a row ended.
  bool separators() {
    bool row_ended = false;
    for (;;) {
      blanks();
      const char c = peek();
      if (c == ',')
        ++at_;
      else if (c == ';' || c == '\n')
        row_ended = true, ++at_;
      else if (c == '%' || c == '#')
        comment();
      else
        return row_ended;
    }
  }

  Value matrix() {
    const std::size_t start = at_++;
    Table table;
    std::size_t width = 0;
    std::vector<std::string> texts;
    const auto end_row = [&] {
      if (width == 0) return;
      if (table.rows > 0 && width != table.columns)
        fail(at_ - 1, fmt::format("a matrix row has {} values, the rows before it have {}", width, table.columns));
      table.columns = width;
      ++table.rows;
      width = 0;
    };
    for (;;) {
      if (separators()) end_row();
      if (at_ >= text_.size()) fail(start, "a matrix is not closed");
      if (peek() == ']') break;
      double value;
      if (plain_number(value)) {  // nearly every element
        table.values.push_back(value);
        ++width;
        continue;
      }
      const Value element = expression(true);
      if (element.is_text) {
        texts.insert(texts.end(), element.texts.begin(), element.texts.end());
        continue;
      }
      if (element.matrix.rows == 1) {
        table.values.insert(table.values.end(), element.matrix.values.begin(), element.matrix.values.end());
        width += element.matrix.columns;
      } else if (width == 0 && element.matrix.rows > 0) {  // stacked below
        if (table.rows > 0 && element.matrix.columns != table.columns) fail(start, "stacked matrices differ in width");
        table.values.insert(table.values.end(), element.matrix.values.begin(), element.matrix.values.end());
        table.rows += element.matrix.rows;
        table.columns = element.matrix.columns;
      } else if (!element.matrix.values.empty()) {
        fail(start, "matrices side by side are not understood");
      }
    }
    ++at_;
    end_row();
    if (!texts.empty()) return {{}, std::move(texts), true};
    return {std::move(table), {}};
  }

  // A signed number that the next character ends. Leaves `at_` alone otherwise.
  bool plain_number(double& value) {
    const char* const first = text_.data() + at_;
    const char* const last = text_.data() + text_.size();
    const char* digits = first;
    if (digits < last && *digits == '+') ++digits;
    const auto result = std::from_chars(digits, last, value);
    if (result.ec != std::errc() || digits == last || is_letter(*digits) ||
        (*digits == '-' && digits + 1 < last && is_letter(digits[1])))
      return false;
    const char* end = result.ptr;
    if (end == last) return false;
    // A blank ends the number only if no operator with blanks on both sides follows it.
    const char* next = end;
    while (next < last && (*next == ' ' || *next == '\t'))
      ++next;
    if (next == last) return false;
    const bool ended =
        *next == ';' || *next == ',' || *next == '\n' || *next == '\r' || *next == ']' || *next == '%' ||
        (next > end && (is_digit(*next) || *next == '.' || is_letter(*next) || *next == '(')) ||
        (next > end && (*next == '-' || *next == '+') && next + 1 < last && next[1] != ' ' && next[1] != '\t');
    if (!ended || text_.substr(static_cast<std::size_t>(next - text_.data()), 3) == "..." ||
        (*next == '.' && next + 1 < last && !is_digit(next[1])))
      return false;
    at_ = static_cast<std::size_t>(end - text_.data());
    return true;
  }

  Value cell() {
    const std::size_t start = at_++;
    Value value;
    value.is_text = true;
    for (;;) {
      separators();
      if (at_ >= text_.size()) fail(start, "a cell array is not closed");
      if (peek() == '}') break;
      const Value element = expression(true);
      if (element.is_text) {
        value.texts.insert(value.texts.end(), element.texts.begin(), element.texts.end());
      } else {
        std::string text;
        for (const double x : element.matrix.values)
          text += fmt::format("{}{}", text.empty() ? "" : " ", x);
        value.texts.push_back(std::move(text));
      }
    }
    ++at_;
    return value;
  }

  static Table transposed(const Table& in) {
    Table out{in.columns, in.rows, std::vector<double>(in.values.size())};
    for (std::size_t i = 0; i < in.rows; ++i)
      for (std::size_t j = 0; j < in.columns; ++j)
        out.values[j * in.rows + i] = in.values[i * in.columns + j];
    return out;
  }

  void numeric(const Value& value) const {
    if (value.is_text) fail(at_, "expected numbers, found text");
  }
  double number(const Value& value) const {
    if (!value.is_scalar()) fail(at_, "expected one number");
    return value.matrix.values[0];
  }

  template <class Operation>
  Value elementwise(const Value& left, const Value& right, Operation operation) const {
    numeric(left);
    numeric(right);
    const Table &a = left.matrix, &b = right.matrix;
    if (!left.is_scalar() && !right.is_scalar() && (a.rows != b.rows || a.columns != b.columns))
      fail(at_, fmt::format("operands are {} x {} and {} x {}", a.rows, a.columns, b.rows, b.columns));
    Value out{left.is_scalar() ? b : a, {}};
    for (std::size_t i = 0; i < out.matrix.values.size(); ++i)
      out.matrix.values[i] = operation(a.values[left.is_scalar() ? 0 : i], b.values[right.is_scalar() ? 0 : i]);
    return out;
  }

  // ---- indexing ----
  using Index = std::vector<std::size_t>;

  Index index(std::size_t length) {
    blanks();
    Index out;
    if (peek() == ':') {
      ++at_;
      for (std::size_t i = 0; i < length; ++i)
        out.push_back(i);
      return out;
    }
    const auto outer = end_value_;
    end_value_ = static_cast<double>(length);
    const Value value = expression(false);
    end_value_ = outer;
    numeric(value);
    for (const double x : value.matrix.values) {
      if (!(x >= 1 && x <= static_cast<double>(length)) || x != std::floor(x))
        fail(at_, fmt::format("index {} is outside 1..{}", x, length));
      out.push_back(static_cast<std::size_t>(x) - 1);
    }
    return out;
  }
  // Two index lists in parentheses; one list addresses a vector.
  std::pair<Index, Index> indices(const Value& value) {
    numeric(value);
    const Table& table = value.matrix;
    expect('(');
    const std::size_t mark = at_;
    Index first = index(table.rows);
    blanks();
    if (peek() == ')') {
      if (table.rows != 1 && table.columns != 1) fail(mark, "one index into a matrix is not understood");
      at_ = mark;
      Index only = index(table.values.size());
      expect(')');
      return table.rows == 1 ? std::pair{Index{0}, only} : std::pair{only, Index{0}};
    }
    expect(',');
    Index second = index(table.columns);
    expect(')');
    return {std::move(first), std::move(second)};
  }
  static Value select(const Table& table, const Index& rows, const Index& columns) {
    Value out{{rows.size(), columns.size(), {}}, {}};
    out.matrix.values.reserve(rows.size() * columns.size());
    for (const std::size_t i : rows)
      for (const std::size_t j : columns)
        out.matrix.values.push_back(table.values[i * table.columns + j]);
    return out;
  }
  void store(std::size_t start, Table& table, const Index& rows, const Index& columns, const Value& value) const {
    numeric(value);
    if (!value.is_scalar() && (value.matrix.rows != rows.size() || value.matrix.columns != columns.size()))
      fail(start, fmt::format("{} x {} values do not fit {} x {} places", value.matrix.rows, value.matrix.columns,
                              rows.size(), columns.size()));
    std::size_t k = 0;
    for (const std::size_t i : rows)
      for (const std::size_t j : columns) {
        table.values[i * table.columns + j] = value.matrix.values[value.is_scalar() ? 0 : k];
        ++k;
      }
  }

  // Fields of the output struct, or the outputs of a version 1 function.
  void collect() {
    const std::string prefix = structure_ + ".";
    for (auto& [path, value] : variables_) {
      std::string key;
      if (!structure_.empty() && path.starts_with(prefix))
        key = path.substr(prefix.size());
      else if (path == structure_ || std::ranges::find(outputs_, path) != outputs_.end())
        key = path;
      else
        continue;
      if (value.is_text)
        file_.texts[key] = std::move(value.texts);
      else
        file_.tables[key] = std::move(value.matrix);
    }
  }

  std::string_view text_, name_;
  std::size_t at_ = 0;
  std::optional<double> end_value_;
  std::unordered_map<std::string, Value> variables_;
  std::string structure_;
  std::vector<std::string> outputs_;
  MatpowerFile file_;
};

// Columns of a table by their number in MATPOWER's manual (from 1).
class Columns {
 public:
  Columns(const MatpowerFile& file, std::string_view file_name, const std::string& table, std::size_t least)
      : name_(fmt::format("{}: {}", file_name, table)) {
    const auto found = file.tables.find(table);
    if (found == file.tables.end()) throw bad_input("{}: there is no table {}", file_name, table);
    table_ = &found->second;
    if (table_->rows > 0 && table_->columns < least)
      throw bad_input("{}: expected at least {} columns, found {}", name_, least, table_->columns);
  }
  const std::string& name() const { return name_; }
  std::size_t rows() const { return table_->rows; }
  double at(std::size_t row, std::size_t column, double missing = 0) const {
    return column <= table_->columns ? table_->values[row * table_->columns + column - 1] : missing;
  }
  template <class T = double>
  std::vector<T> get(std::size_t column, double missing = 0) const {
    std::vector<T> out(rows());
    for (std::size_t i = 0; i < rows(); ++i) {
      const double value = at(i, column, missing);
      if constexpr (std::is_integral_v<T>)
        if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<T>::max())) || value != std::floor(value))
          throw bad_input("{} row {}: column {} must be an integer, found {}", name_, i + 1, column, value);
      out[i] = static_cast<T>(value);
    }
    return out;
  }

 private:
  std::string name_;
  const Table* table_;
};

}  // namespace

MatpowerFile evaluate_matpower(std::string_view text, std::string_view name) {
  return Evaluator(text, name).run();
}

namespace {

// The columns of the case format, by the numbers of its manual (appendix B), and where they go.
template <class Table>
struct RealColumn {
  int number;
  std::vector<double> Table::*member;
  double otherwise = 0;  ///< where the file has fewer columns
};
constexpr RealColumn<Buses> bus_columns[] = {{3, &Buses::pd},       {4, &Buses::qd},    {5, &Buses::gs},
                                             {6, &Buses::bs},       {8, &Buses::vm},    {9, &Buses::va},
                                             {10, &Buses::base_kv}, {12, &Buses::vmax}, {13, &Buses::vmin}};
constexpr RealColumn<Generators> gen_columns[] = {{2, &Generators::pg},
                                                  {3, &Generators::qg},
                                                  {4, &Generators::qmax},
                                                  {5, &Generators::qmin},
                                                  {6, &Generators::vg},
                                                  {7, &Generators::mbase},
                                                  {9, &Generators::pmax, INFINITY},
                                                  {10, &Generators::pmin, -INFINITY},
                                                  {21, &Generators::apf}};
constexpr RealColumn<Branches> branch_columns[] = {
    {3, &Branches::r},      {4, &Branches::x},      {5, &Branches::b},   {6, &Branches::rate_a},
    {7, &Branches::rate_b}, {8, &Branches::rate_c}, {9, &Branches::tap}, {10, &Branches::shift}};

template <class Table, std::size_t Count>
void read_columns(const Columns& from, const RealColumn<Table> (&columns)[Count], Table& to) {
  for (const auto& column : columns)
    to.*column.member = from.get(column.number, column.otherwise);
}

std::vector<std::int8_t> in_service(const Columns& from, int number) {
  std::vector<std::int8_t> out;
  for (const double value : from.get(number)) {
    if (std::isnan(value))
      throw bad_input("{} row {}: status must be a number, found nan", from.name(), out.size() + 1);
    out.push_back(value > 0);
  }
  return out;
}

}  // namespace

Grid grid_of(const MatpowerFile& file, std::string_view name, std::vector<std::string>& warnings) {
  Grid grid;
  grid.name = file.function;
  const auto base = file.tables.find("baseMVA");
  if (base == file.tables.end() || base->second.values.size() != 1)
    throw bad_input("{}: there is no scalar baseMVA", name);
  grid.base_mva = base->second.values[0];

  const Columns bus(file, name, "bus", 13);
  grid.bus.id = bus.get<std::int64_t>(1);
  grid.bus.type = bus.get<std::int8_t>(2);
  grid.bus.area = bus.get<std::int32_t>(7);
  grid.bus.zone = bus.get<std::int32_t>(11);
  read_columns(bus, bus_columns, grid.bus);
  if (const auto names = file.texts.find("bus_name"); names != file.texts.end()) {
    if (names->second.size() == grid.bus.size())
      grid.bus.name = names->second;
    else
      warnings.push_back(fmt::format("{}: bus_name has {} entries for {} buses: not used", name, names->second.size(),
                                     grid.bus.size()));
  }
  const Columns gen(file, name, "gen", 8);
  grid.gen.bus = gen.get<std::int64_t>(1);
  grid.gen.status = in_service(gen, 8);
  read_columns(gen, gen_columns, grid.gen);
  const Columns branch(file, name, "branch", 11);
  grid.branch.from = branch.get<std::int64_t>(1);
  grid.branch.to = branch.get<std::int64_t>(2);
  grid.branch.status = in_service(branch, 11);
  read_columns(branch, branch_columns, grid.branch);
  for (const auto& [key, table] : file.tables)
    if (key != "bus" && key != "gen" && key != "branch" && key != "baseMVA" && key != "version" &&
        !table.values.empty())
      grid.tables[key] = table;
  return grid;
}

namespace {

std::string number(double x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "Inf" : "-Inf";
  return fmt::format("{:.17g}", x);
}

// Rows of a table of `width` columns; `integer(column, row)` gives those that are no real ones.
template <class Table, std::size_t Count, class Integer>
void write_rows(std::string& out, const Table& table, const RealColumn<Table> (&columns)[Count], int width,
                const Integer& integer) {
  std::vector<const std::vector<double>*> real(static_cast<std::size_t>(width) + 1, nullptr);
  for (const auto& column : columns)
    real[static_cast<std::size_t>(column.number)] = &(table.*column.member);
  for (std::size_t i = 0; i < table.size(); ++i) {
    for (int column = 1; column <= width; ++column) {
      const auto* values = real[static_cast<std::size_t>(column)];
      out += '\t';
      out += values != nullptr ? number((*values)[i]) : std::to_string(integer(column, i));
    }
    out += ";\n";
  }
}

}  // namespace

std::string matpower_text(const Grid& grid) {
  std::string out;
  const auto to = std::back_inserter(out);
  std::string function;
  for (const char c : grid.name)
    function += is_letter(c) || is_digit(c) ? c : '_';
  if (function.empty() || is_digit(function[0])) function = "case_" + function;
  fmt::format_to(to, "function mpc = {}\nmpc.version = '2';\nmpc.baseMVA = {};\n\n", function, number(grid.base_mva));

  const auto& bus = grid.bus;
  out += "%\tbus_i\ttype\tPd\tQd\tGs\tBs\tarea\tVm\tVa\tbaseKV\tzone\tVmax\tVmin\nmpc.bus = [\n";
  write_rows(out, bus, bus_columns, 13, [&](int column, std::size_t i) {
    return column == 1 ? bus.id[i] : column == 2 ? bus.type[i] : column == 7 ? bus.area[i] : bus.zone[i];
  });
  const auto& gen = grid.gen;
  out +=
      "];\n\n%\tbus\tPg\tQg\tQmax\tQmin\tVg\tmBase\tstatus\tPmax\tPmin\tPc1\tPc2\tQc1min\tQc1max\tQc2min\tQc2max\tramp_"
      "agc\tramp_10\tramp_30\tramp_q\tapf\nmpc.gen = [\n";
  write_rows(out, gen, gen_columns, 21, [&](int column, std::size_t g) {
    return column == 1 ? gen.bus[g] : column == 8 ? gen.status[g] : 0;
  });
  const auto& branch = grid.branch;
  out += "];\n\n%\tfbus\ttbus\tr\tx\tb\trateA\trateB\trateC\tratio\tangle\tstatus\tangmin\tangmax\nmpc.branch = [\n";
  write_rows(out, branch, branch_columns, 13, [&](int column, std::size_t k) -> std::int64_t {
    if (column <= 2) return column == 1 ? branch.from[k] : branch.to[k];
    return column == 11 ? branch.status[k] : column == 12 ? -360 : 360;
  });
  out += "];\n";
  for (const auto& [name, table] : grid.tables) {
    fmt::format_to(to, "\nmpc.{} = [\n", name);
    for (std::size_t i = 0; i < table.rows; ++i) {
      for (std::size_t j = 0; j < table.columns; ++j)
        fmt::format_to(to, "\t{}", number(table.values[i * table.columns + j]));
      out += ";\n";
    }
    out += "];\n";
  }
  if (!bus.name.empty()) {
    out += "\nmpc.bus_name = {\n";
    for (const auto& name : bus.name) {
      std::string quoted;
      for (const char c : name)
        quoted += c == '\'' ? std::string("''") : std::string(1, c);
      fmt::format_to(to, "\t'{}';\n", quoted);
    }
    out += "};\n";
  }
  return out;
}

std::vector<Change> changes_of(const MatpowerFile& file, std::string_view name) {
  const Table* table = nullptr;
  for (const auto& [key, candidate] : file.tables)
    if (candidate.columns == 7 && (table == nullptr || key == "chgtab")) table = &candidate;
  if (table == nullptr) throw bad_input("{}: there is no change table (a matrix of 7 columns)", name);
  std::vector<Change> changes(table->rows);
  for (std::size_t i = 0; i < table->rows; ++i) {
    const double* row = &table->values[i * 7];
    for (const int column : {0, 2, 3, 4, 5})
      if (row[column] != std::floor(row[column]) || !std::isfinite(row[column]))
        throw bad_input("{}: change table row {}: column {} must be an integer, found {}", name, i + 1, column + 1,
                        row[column]);
    changes[i] = {static_cast<std::int64_t>(row[0]),
                  row[1],
                  static_cast<int>(row[2]),
                  static_cast<int>(row[3]),
                  static_cast<int>(row[4]),
                  static_cast<int>(row[5]),
                  row[6]};
  }
  return changes;
}

}  // namespace fachwerk::dpf
