// Foreign formats: transformers by their tests, pandapower and power-grid-model by small made-up grids, fused buses.
#include <cmath>

#include "cases.hpp"
#include "cdf.hpp"
#include "cli/error.hpp"
#include "flows.hpp"
#include "grid_edit.hpp"
#include "newton.hpp"
#include "pandapower.hpp"
#include "pgm.hpp"
#include "psse.hpp"
#include "transformer.hpp"

using namespace fachwerk::dpf;

namespace {

Flows solved(const Grid& grid, const NetworkOptions& options = {}) {
  check(grid);
  const Network network = build_network(grid, options);
  const Problem problem = problem_of(network);
  const Solution s = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-12});
  REQUIRE(s.status == Status::converged);
  return flows(grid, problem, s.state);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text)
    out += c == '"' ? "\\\"" : std::string(1, c);
  return out + "\"";
}

// A table of a pandapower network: columns and rows as JSON lists.
std::string frame(const std::string& name, const std::string& columns, const std::string& rows) {
  return quoted(name) + ":{\"_class\":\"DataFrame\",\"orient\":\"split\",\"_object\":" +
         quoted("{\"columns\":[" + columns + "],\"data\":[" + rows + "]}") + "},";
}

const std::string buses = frame("bus", R"("vn_kv","in_service")", "[110,true],[20,true],[20,true],[10,true]");
const std::string grid_bus = frame("ext_grid", R"("bus","vm_pu","va_degree")", "[0,1.02,30]");

Grid pandapower(const std::string& tables) {
  std::vector<std::string> warnings;
  return grid_of_pandapower("{\"_class\":\"pandapowerNet\",\"_object\":{" + tables + "\"f_hz\":50.0,\"sn_mva\":10}}",
                            "net.json", warnings);
}

template <class Make>
std::string message(const Make& make) {
  try {
    make();
  } catch (const fachwerk::Error& error) {
    CHECK(error.code() == fachwerk::Exit::bad_input);
    return error.what();
  }
  return "nothing";
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

const std::string trafo_columns =
    R"("hv_bus","lv_bus","sn_mva","vn_hv_kv","vn_lv_kv","vk_percent","vkr_percent","pfe_kw","i0_percent","shift_degree",)"
    R"("tap_side","tap_neutral","tap_pos","tap_step_percent","tap_step_degree","tap_changer_type","parallel","in_service")";

}  // namespace

TEST_CASE("a transformer by its tests: impedance of the to side, magnetising admittance as T or pi") {
  const TransformerTest test{.base_mva = 10,
                             .sn = 40,
                             .vn_from = 115,
                             .vn_to = 21,
                             .kv_from = 110,
                             .kv_to = 20,
                             .vk = .1,
                             .vkr = .006,
                             .pfe = .03,
                             .i0 = .002,
                             .parallel = 2,
                             .t_circuit = true,
                             .r_from = .3,
                             .x_from = .6};
  const double z = 1.05 * 1.05 * 10 / 40 / 2;
  const Complex leakage(.006 * z, z * std::sqrt(.1 * .1 - .006 * .006));
  const Complex y = Complex(.03, -std::sqrt(.08 * .08 - .03 * .03)) * 2.0 / (10 * 1.05 * 1.05);
  BranchRow pi = branch_of(test, "t");
  CHECK(std::abs(pi.tap - 115.0 / 21 / (110.0 / 20)) < 1e-15);
  // Open-circuit and short-circuit admittances of the T circuit at its from side.
  const Complex a(leakage.real() * .3, leakage.imag() * .6), b = leakage - a;
  const Complex open = 1.0 / (a + 1.0 / y), shorted = 1.0 / (a + 1.0 / (y + 1.0 / b));
  CHECK(std::abs(pi.end_from + 1.0 / (pi.z + 1.0 / pi.end_to) - open) < 1e-14);
  CHECK(std::abs(pi.end_from + 1.0 / pi.z - shorted) < 1e-11);
  TransformerTest plain = test;
  plain.t_circuit = false;
  pi = branch_of(plain, "t");
  CHECK(std::abs(pi.z - leakage) < 1e-16);
  CHECK(std::abs(pi.end_from - y / 2.0) < 1e-16);
  CHECK(pi.end_from == pi.end_to);
  plain.vk = -.1;
  CHECK(branch_of(plain, "t").z.imag() == -pi.z.imag());
  plain.vkr = .2;
  CHECK(has(message([&] { branch_of(plain, "t 7"); }), "t 7: active part"));
  plain.sn = 0;
  CHECK(has(message([&] { branch_of(plain, "t 7"); }), "rated power must be positive"));
}

TEST_CASE("a complex tap adds a step at an angle to the winding's voltage") {
  const TapEffect quadrature = complex_tap(3, .02, 90);
  CHECK(std::abs(quadrature.factor - std::sqrt(1 + .06 * .06)) < 1e-15);
  CHECK(std::abs(std::tan(quadrature.degrees * std::acos(-1.0) / 180) - .06) < 1e-15);
  CHECK(complex_tap(-2, .01, 0).factor == doctest::Approx(.98));
}

TEST_CASE("pandapower: taps of every kind and side") {
  const auto branch = [](const std::string& tap) {
    return pandapower(buses + grid_bus +
                      frame("trafo", trafo_columns, "[0,1,25,110,20,12,0.4,0,0,150," + tap + ",1,true]"))
        .branch;
  };
  const Branches ratio = branch(R"("hv",0,4,1.5,null,"Ratio")");
  CHECK(ratio.tap[0] == doctest::Approx(1.06).epsilon(1e-14));
  CHECK(ratio.shift[0] == 150);
  CHECK(ratio.x[0] == doctest::Approx(.1 * 10 / 25 * std::sqrt(1.44 - .0016)).epsilon(1e-14));
  const Branches low = branch(R"("lv",1,4,-1,null,"Ratio")");
  CHECK(low.tap[0] == doctest::Approx(1 / .97).epsilon(1e-14));
  CHECK(low.x[0] == doctest::Approx(ratio.x[0] * .97 * .97).epsilon(1e-14));
  CHECK(branch(R"("hv",0,-3,null,0.5,"Ideal")").shift[0] == doctest::Approx(148.5).epsilon(1e-14));
  CHECK(branch(R"("lv",0,-3,null,0.5,"Ideal")").shift[0] == doctest::Approx(151.5).epsilon(1e-14));
  const Branches turned = branch(R"("lv",0,2,3,90,"Symmetrical")");
  CHECK(turned.shift[0] == doctest::Approx(150 - std::atan(.06) * 180 / std::acos(-1.0)).epsilon(1e-14));
  CHECK(turned.tap[0] == doctest::Approx(1 / std::sqrt(1 + .06 * .06)).epsilon(1e-14));
  CHECK(branch(R"("hv",0,4,1.5,null,null)").tap[0] == 1);
  CHECK(has(message([&] { branch(R"("hv",0,4,1.5,1,"Ideal")"); }), "trafo 0: an ideal phase shifter"));
}

TEST_CASE("pandapower: what hangs on an open end is charged from the other") {
  const std::string line =
      frame("line", R"("from_bus","to_bus","length_km","r_ohm_per_km","x_ohm_per_km","c_nf_per_km","in_service")",
            "[1,2,5,0.1,0.2,300,true]");
  const std::string trafo =
      frame("trafo", trafo_columns, R"([0,1,25,110,20,12,0.4,0,0,0,null,null,null,null,null,null,1,true])");
  const Grid closed = pandapower(buses + grid_bus + trafo + line);
  CHECK(closed.bus.size() == 4);
  const Grid open = pandapower(buses + grid_bus + trafo + line +
                               frame("switch", R"("bus","element","et","closed")", R"([2,0,"l",false])"));
  REQUIRE(open.bus.size() == 5);
  CHECK(open.branch.to[0] == open.bus.id[4]);
  const Flows a = solved(open);
  CHECK(std::isnan(a.vm[2]));
  CHECK(a.vm[4] > a.vm[1]);  // Ferranti
  CHECK(a.qt[1] + a.qf[0] == doctest::Approx(0));
  const Grid both =
      pandapower(buses + grid_bus + trafo + line +
                 frame("switch", R"("bus","element","et","closed")", R"([2,0,"l",false],[1,0,"l",false])"));
  CHECK(both.branch.status[0] == 0);
  CHECK(both.bus.size() == 4);
  const Grid far = pandapower(buses + grid_bus + trafo + line +
                              frame("switch", R"("bus","element","et","closed")", R"([1,0,"t",false])"));
  CHECK(far.branch.to[1] == far.bus.id[4]);
}

TEST_CASE("pandapower: loads by kind, DC lines, wards") {
  const Grid grid = pandapower(
      buses + grid_bus +
      frame("load", R"("bus","p_mw","q_mvar","const_z_p_percent","const_i_p_percent","const_z_q_percent","scaling")",
            "[2,10,4,50,20,100,0.5],[2,3,0,0,0,0,1]") +
      frame("sgen", R"("bus","p_mw","q_mvar","scaling","in_service")", "[2,1,0.5,2,true],[2,99,9,1,false]") +
      frame("dcline", R"("from_bus","to_bus","p_mw","loss_percent","loss_mw","vm_from_pu","vm_to_pu")",
            "[1,3,-8,5,0.2,1.01,0.99]") +
      frame("ward", R"("bus","ps_mw","qs_mvar","pz_mw","qz_mvar")", "[3,1,2,3,4]") +
      frame("motor", R"("bus","pn_mech_mw","cos_phi","efficiency_percent","loading_percent","scaling")",
            "[3,0.5,0.8,50,100,1]"));
  CHECK(grid.bus.pd[2] == doctest::Approx(5 + 3 - 2));
  CHECK(grid.bus.zip[2][1] == doctest::Approx(1.0 / 6));
  CHECK(grid.bus.zip[2][2] == doctest::Approx(2.5 / 6));
  CHECK(grid.bus.zip[2][5] == doctest::Approx(2.0 / 1));  // 2 of constant admittance less 1 of a generator
  CHECK(grid.gen.pg == std::vector<double>{0, -8, 8 * .95 - .2});
  CHECK(grid.gen.bus == std::vector<std::int64_t>{0, 3, 1});
  CHECK(grid.bus.gs[3] == 3);
  CHECK(grid.bus.bs[3] == -4);
  CHECK(grid.bus.pd[3] == doctest::Approx(2));
  CHECK(grid.bus.qd[3] == doctest::Approx(2.75));
}

TEST_CASE("pandapower: what is wrong is said with table, row and column") {
  CHECK(has(message([] { pandapower(""); }), "expected a network with a table bus"));
  CHECK(has(message([] { pandapower(buses + frame("line", R"("from_bus","to_bus")", "[0,9]")); }),
            "line 0: to_bus: there is no bus 9"));
  CHECK(has(message([] { pandapower(buses + frame("load", R"("bus","p_mw")", R"([0,"x"])")); }),
            "load 0: p_mw: expected a number"));
  CHECK(has(message([] { pandapower(buses + frame("load", R"("bus","p_mw")", "[0.5,1]")); }),
            "load 0: bus: expected an integer"));
  CHECK(has(message([] { pandapower(buses + frame("load", R"("bus","p_mw")", "[0]")); }),
            "load: row 0: expected 2 values"));
  CHECK(has(message([] {
              pandapower(buses + frame("impedance",
                                       R"("from_bus","to_bus","sn_mva","rft_pu","xft_pu","rtf_pu","xtf_pu")",
                                       "[0,1,10,0.1,0.2,0.3,0.2]"));
            }),
            "not reciprocal"));
  CHECK(has(message([] { pandapower(buses + frame("switch", R"("bus","element","et")", R"([0,1,"x"])")); }),
            "et: expected b, l, t or t3"));
}

TEST_CASE("a grid written for pandapower and for PSS/E has its solution") {
  Grid grid = cases::ieee14();
  grid.bus.zip.assign(14, {.5, .2, .3, .6, .3, .1});
  grid.branch.end_y.assign(grid.branch.size(), {Complex(.01, .02), Complex(.03, -.01)});
  const Flows expected = solved(grid);
  std::vector<std::string> warnings;
  const std::string json = pandapower_text(grid, warnings), raw = raw_text(grid);
  CHECK(is_pandapower(json));
  CHECK(is_raw(raw));
  for (const Grid& back : {grid_of_pandapower(json, "back", warnings), grid_of_raw(raw, "back", warnings)}) {
    REQUIRE(back.bus.size() == 14);
    CHECK(back.bus.id == grid.bus.id);
    const Flows found = solved(back);
    for (std::size_t i = 0; i < 14; ++i) {
      CHECK(std::abs(found.vm[i] - expected.vm[i]) < 1e-12);
      CHECK(std::abs(found.va[i] - expected.va[i]) < 1e-10);
    }
  }
  for (const auto& w : simplify(grid))
    CHECK(has(w, "voltage-dependent"));
  CHECK(grid.branch.end_y.empty());
  CHECK(grid.bus.gs[0] == doctest::Approx(2));  // two branches leave bus 1
}

TEST_CASE("power-grid-model: source, line, load by kind, three windings") {
  std::vector<std::string> warnings;
  const std::string text =
      R"({"version":"1.0","type":"input","is_batch":false,"attributes":{},"data":{"node":[{"id":1,"u_rated":1e4},{"id":2,"u_rated":1e4}],)"
      R"("line":[{"id":3,"from_node":1,"to_node":2,"from_status":1,"to_status":1,"r1":1,"x1":2,"c1":1e-6,"tan1":0.1}],)"
      R"("sym_load":[{"id":4,"node":2,"status":1,"type":2,"p_specified":1e6,"q_specified":2e5},{"id":5,"node":2,"status":1,"type":1,"p_specified":3e6,"q_specified":0}],)"
      R"("source":[{"id":6,"node":1,"status":1,"u_ref":1.05,"u_ref_angle":0.5,"sk":1e8,"rx_ratio":0.75}]}})";
  CHECK(is_pgm(text));
  CHECK(!is_pandapower(text));
  const Grid grid = grid_of_pgm(text, "grid.json", warnings);
  REQUIRE(grid.bus.size() == 3);
  CHECK(grid.bus.type == std::vector<std::int8_t>{1, 1, 3});
  CHECK(grid.branch.r[0] == doctest::Approx(.01));
  const double charging = 2 * std::acos(-1.0) * 50 * 1e-6 * 100;
  CHECK(grid.branch.b[0] == doctest::Approx(charging));
  CHECK(grid.branch.end_y[0][0].real() == doctest::Approx(charging * .05));
  CHECK(grid.branch.x[1] == doctest::Approx(.008));  // |z| = 1/100, r/x = 3/4
  CHECK(grid.branch.r[1] == doctest::Approx(.006));
  CHECK(grid.bus.zip[1][1] == doctest::Approx(.25));
  CHECK(grid.bus.zip[1][2] == doctest::Approx(.75));
  CHECK(grid.bus.va[2] == doctest::Approx(.5 * 180 / std::acos(-1.0)));
  const auto wrong = [&](const std::string& part, const std::string& by) {
    std::string changed = text;
    changed.replace(changed.find(part), part.size(), by);
    return message([&] { grid_of_pgm(changed, "grid.json", warnings); });
  };
  CHECK(has(wrong("\"from_node\":1", "\"from_node\":8"), "line 0: from_node: there is no node 8"));
  CHECK(has(wrong("\"r1\":1", "\"r1\":[]"), "line 0: r1: expected a number"));
  CHECK(has(wrong("\"type\":2", "\"type\":7"), "type must be 0, 1 or 2"));
  CHECK(has(wrong("\"data\":{", "\"data\":["), "not JSON"));
}

TEST_CASE("common data format: columns of a card") {
  const auto card = [](std::vector<std::pair<std::size_t, std::string>> fields) {
    std::string line(127, ' ');
    for (const auto& [column, text] : fields)
      line.replace(column - 1, text.size(), text);
    return line + "\n";
  };
  const std::string text =
      card({{2, "01/01/26"}, {32, "50.0"}, {46, "CASE"}}) + "BUS DATA FOLLOWS  2 ITEMS\n" +
      card({{1, "1"},
            {6, "FIRST"},
            {25, " 3"},
            {28, "1.05"},
            {60, "10.0"},
            {77, "132"},
            {85, "1.06"},
            {91, "20"},
            {99, "-6"}}) +
      card({{1, "2"}, {25, " 0"}, {28, "0.99"}, {34, "-5.0"}, {41, "9.5"}, {50, "3.5"}, {107, "0.02"}, {115, "0.19"}}) +
      "-999\n" + "BRANCH DATA FOLLOWS 1 ITEMS\n" +
      card({{1, "1"},
            {6, "2"},
            {19, "1"},
            {20, "0.01"},
            {30, "0.2"},
            {41, "0.03"},
            {51, "70"},
            {77, "0.978"},
            {84, "3"}}) +
      "-999\n";
  CHECK(is_cdf(text));
  std::vector<std::string> warnings;
  const Grid grid = grid_of_cdf(text, "case.cdf", warnings);
  CHECK(grid.base_mva == 50);
  CHECK(grid.gen.vg == std::vector<double>{1.06});
  CHECK(grid.gen.qmin[0] == -6);
  CHECK(grid.bus.gs[1] == doctest::Approx(1));
  CHECK(grid.bus.bs[1] == doctest::Approx(9.5));
  CHECK(grid.bus.va[1] == -5);
  CHECK(grid.branch.tap[0] == .978);
  CHECK(grid.branch.shift[0] == 3);
  CHECK(grid.branch.rate_a[0] == 70);
  CHECK(grid.bus.name[0] == "FIRST");
  CHECK(has(message([&] { grid_of_cdf(text.substr(0, 400), "case.cdf", warnings); }), "ends inside a section"));
}

TEST_CASE("fused buses: loads by kind, the strongest type, lines beside the switch keep their charging") {
  Grid grid = cases::from_text(
      "function mpc = t\nmpc.baseMVA = 100;\nmpc.bus = [5 1 10 4 1 2 1 1 0 0 1 1.1 .9; 3 3 20 0 0 0 1 1.02 7 0 1 1.1 .9; 8 1 5 1 0 0 1 1 0 0 1 1.1 .9];\n"
      "mpc.gen = [3 0 0 9 -9 1.02 100 1 9 0];\nmpc.branch = [5 3 0 0 0 0 0 0 0 0 1; 3 5 .1 .2 .3 0 0 0 0 0 1; 5 8 .01 .1 0 0 0 0 0 0 1];\n");
  const Flows kept = solved(grid, {.merge_zero_impedance = true});
  grid.branch.b[1] = .3;
  Grid merged = grid;
  merge_zero_impedance(merged);
  REQUIRE(merged.bus.size() == 2);
  CHECK(merged.bus.id == std::vector<std::int64_t>{5, 8});
  CHECK(merged.bus.type[0] == 3);
  CHECK(merged.bus.va[0] == 7);
  CHECK(merged.bus.pd[0] == 30);
  CHECK(merged.bus.bs[0] == doctest::Approx(2 + 30));
  CHECK(merged.gen.bus[0] == 5);
  CHECK(merged.branch.size() == 1);
  CHECK(merged.tables["fused"].values == std::vector<double>{3, 5});
  CHECK(std::abs(solved(merged).vm[1] - kept.vm[2]) < 1e-12);
  CHECK(has(message([&] { refuse_zero_impedance(grid); }), "branch row 1 (5-3)"));
  grid.branch.tap[0] = 1.05;
  CHECK(has(message([&] { merge_zero_impedance(grid); }), "cannot be fused"));
}

TEST_CASE("suspicious units of a distribution grid whose tail was lost") {
  if (!cases::has_shared("case33bw.m")) return;
  CHECK(suspicious_units(cases::shared("case33bw")).empty());
  std::string text = cases::text_of(cases::shared_path("case33bw.m"));
  const std::size_t tail = text.find("%% convert");
  REQUIRE(tail != std::string::npos);
  CHECK(!suspicious_units(cases::from_text(text.substr(0, tail))).empty());
  CHECK(suspicious_units(cases::ieee14()).empty());
}
