// PSS/E RAW files: the 14-bus grid written as one, transformers by hand, and what is wrong with a file.
#include "psse.hpp"

#include <cmath>

#include "cases.hpp"
#include "cli/error.hpp"
#include "flows.hpp"
#include "newton.hpp"

using namespace fachwerk::dpf;

namespace {

Flows solved(const Grid& grid) {
  const Network network = build_network(grid);
  const Problem problem = problem_of(network);
  const Solution s = Newton(network).solve(problem, file_start(problem), {.tolerance = 1e-12});
  REQUIRE(s.status == Status::converged);
  return flows(grid, problem, s.state);
}

Grid raw(const std::string& text) {
  std::vector<std::string> warnings;
  return grid_of_raw(text, "test.raw", warnings);
}

// A grid as RAW 33: lines as branches, taps as transformers with CW = 1 and CZ = 1.
std::string raw33(const Grid& g) {
  std::string out = fmt::format("0, {:.17g}, 33, 0, 1, 60.0 / a grid\nTITLE\nSECOND\n", g.base_mva);
  for (std::size_t i = 0; i < g.bus.size(); ++i)
    out += fmt::format("{},'B {:>10}', 100.0,{},1,1,1,{:.17g},{:.17g},1.1,0.9\n", g.bus.id[i], g.bus.id[i],
                       g.bus.type[i], g.bus.vm[i], g.bus.va[i]);
  out += "0 / END OF BUS DATA, BEGIN LOAD DATA\n";
  for (std::size_t i = 0; i < g.bus.size(); ++i)
    if (g.bus.pd[i] != 0 || g.bus.qd[i] != 0)
      out += fmt::format("{},'1 ',1,1,1,{:.17g},{:.17g},0,0,0,0,1\n", g.bus.id[i], g.bus.pd[i], g.bus.qd[i]);
  out += "0 / END OF LOAD DATA\n";
  for (std::size_t i = 0; i < g.bus.size(); ++i)
    if (g.bus.gs[i] != 0 || g.bus.bs[i] != 0)
      out += fmt::format("{},'1 ',1,{:.17g},{:.17g}\n", g.bus.id[i], g.bus.gs[i], g.bus.bs[i]);
  out += "0 / END OF FIXED SHUNT DATA\n";
  for (std::size_t k = 0; k < g.gen.size(); ++k)
    out +=
        fmt::format("{},'1 ',{:.17g},{:.17g},{:.17g},{:.17g},{:.17g},0,{:.17g},0,1,0,0,1,{},100,{:.17g},{:.17g},1,1\n",
                    g.gen.bus[k], g.gen.pg[k], g.gen.qg[k], g.gen.qmax[k], g.gen.qmin[k], g.gen.vg[k], g.gen.mbase[k],
                    g.gen.status[k], g.gen.pmax[k], g.gen.pmin[k]);
  out += "0 / END OF GENERATOR DATA\n";
  for (std::size_t k = 0; k < g.branch.size(); ++k)
    if (g.branch.tap[k] == 0)
      out += fmt::format("{},-{},'1 ',{:.17g},{:.17g},{:.17g},0,0,0,0,0,0,0,{},1,0,1,1\n", g.branch.from[k],
                         g.branch.to[k], g.branch.r[k], g.branch.x[k], g.branch.b[k], g.branch.status[k]);
  out += "0 / END OF BRANCH DATA\n";
  for (std::size_t k = 0; k < g.branch.size(); ++k)
    if (g.branch.tap[k] != 0)
      out += fmt::format("{},{},0,'1 ',1,1,1,0,0,2,'T',{},1,1\n{:.17g},{:.17g},100\n{:.17g},0,{:.17g},0,0,0\n1.0,0\n",
                         g.branch.from[k], g.branch.to[k], g.branch.status[k], g.branch.r[k], g.branch.x[k],
                         g.branch.tap[k], g.branch.shift[k]);
  return out + "0 / END OF TRANSFORMER DATA\nQ\n";
}

// Two buses, 110 and 20 kV, one transformer of three records in the middle of which `records` stand.
Grid two_buses(const std::string& records) {
  return raw(
      "0 100 33\n\n\n1 'A' 110 3 1 1 1 1 0\n2 'B' 20 1 1 1 1 1 0\n0\n2 '1' 1 1 1 20 10 0 0 0 0\n0\n0\n"
      "1 '1' 0 0 99 -99 1 0 100 0 1 0 0 1 1 100 99 -99\n0\n0\n" +
      records + "\n0\nQ\n");
}

}  // namespace

TEST_CASE("the 14-bus grid as a RAW file has the solution of the case file") {
  const Grid grid = cases::ieee14();
  const std::string text = raw33(grid);
  CHECK(is_raw(text));
  CHECK(!is_raw("function mpc = case14\n"));
  const Flows a = solved(grid), b = solved(raw(text));
  for (std::size_t i = 0; i < a.vm.size(); ++i) {
    CHECK(std::abs(a.vm[i] - b.vm[i]) < 1e-12);
    CHECK(std::abs(a.va[i] - b.va[i]) < 1e-10);
  }
  CHECK(std::abs(a.loss_mw - b.loss_mw) < 1e-9);
}

TEST_CASE("one transformer in every code of windings and impedance is one transformer") {
  // 40 MVA, 115/21 kV, at 118 kV and 20.5 kV, z = .005 + .1j of its own base.
  const double scale = 100.0 / 40 * (115.0 / 110) * (115.0 / 110);
  const Flows expected =
      solved(two_buses(fmt::format("1 2 0 '1' 1 1 1 0 0 2 'T' 1\n{:.17g} {:.17g} 100\n{:.17g} 0 30\n{:.17g} 0",
                                   .005 * scale, .1 * scale, 118.0 / 110, 20.5 / 20)));
  const double absolute = std::sqrt(.005 * .005 + .1 * .1);
  for (const std::string& records :
       {std::string("1 2 0 '1' 2 2 1 0 0 2 'T' 1\n.005 .1 40\n118 115 30\n20.5 21"),
        fmt::format("1 2 0 '1' 3 2 1 0 0 2 'T' 1\n.005 .1 40\n{:.17g} 115 30\n{:.17g} 21", 118.0 / 115, 20.5 / 21),
        fmt::format("1 2 0 '1' 2 3 1 0 0 2 'T' 1\n2E5 {:.17g} 40\n118 115 30\n20.5 21", absolute)}) {
    CAPTURE(records);
    const Flows found = solved(two_buses(records));
    CHECK(std::abs(found.vm[1] - expected.vm[1]) < 1e-12);
    CHECK(std::abs(found.va[1] - expected.va[1]) < 1e-10);
  }
  // A ratio off nominal on both sides: seen from bus 2, z times 1.025^2 behind 118/110 : 20.5/20.
  const Grid grid = two_buses("1 2 0 '1' 2 2 1 0 0 2 'T' 1\n.005 .1 40\n118 115 30\n20.5 21");
  CHECK(std::abs(grid.branch.x[0] - .1 * scale * 1.025 * 1.025) < 1e-14);
  CHECK(std::abs(grid.branch.tap[0] - 118.0 / 110 / 1.025) < 1e-14);
  CHECK(std::abs(std::abs(grid.branch.shift[0]) - 30) < 1e-14);
}

TEST_CASE("magnetising admittance stays at the bus of the first winding") {
  // 50 kW no-load losses and 2 % exciting current of 40 MVA: .05 MW and .7984.. MVAr at 1 pu whatever the tap.
  const Grid grid = two_buses("1 2 0 '1' 1 1 2 5E4 .02 2 'T' 1\n.01 .1 40\n1.1 0 0\n1.0 0");
  Grid without = grid;
  without.branch.end_y.clear();
  without.bus.gs[0] += .05;
  without.bus.bs[0] -= std::sqrt(.8 * .8 - .05 * .05);
  const Flows a = solved(grid), b = solved(without);
  CHECK(std::abs(a.vm[1] - b.vm[1]) < 1e-12);
  CHECK(std::abs(a.slack_mw - b.slack_mw) < 1e-9);
}

TEST_CASE("three windings: star of the pairwise impedances, each winding switched by itself") {
  const auto grid = [](int status) {
    return raw(fmt::format(
        "0 100 33\n\n\n1 'A' 110 3 1 1 1 1 0\n2 'B' 20 1 1 1 1 1 0\n3 'C' 10 1 1 1 1 1 0\n0\n2 '1' 1 1 1 20 10\n0\n0\n"
        "1 '1' 0 0 99 -99 1 0 100 0 1 0 0 1 1 100 99 -99\n0\n0\n1 2 3 '1' 1 1 1 0 0 2 'T' {}\n"
        ".01 .1 100 .02 .2 100 .03 .16 100 .99 -2\n1 0 0 11 12 13\n1 0 0\n1 0 0\n0\nQ\n",
        status));
  };
  const Grid all = grid(1);
  REQUIRE(all.bus.size() == 4);
  CHECK(std::abs(all.branch.x[0] - .03) < 1e-15);
  CHECK(std::abs(all.branch.x[1] - .07) < 1e-15);
  CHECK(std::abs(all.branch.x[2] - .13) < 1e-15);
  CHECK(std::abs(all.branch.r[0] - .01) < 1e-15);
  CHECK(all.branch.rate_a[0] == 11);
  CHECK(all.bus.vm[3] == .99);
  CHECK(grid(3).branch.status == std::vector<std::int8_t>{1, 1, 0});
  CHECK(grid(4).branch.status == std::vector<std::int8_t>{0, 1, 1});
  CHECK(grid(0).branch.status == std::vector<std::int8_t>{0, 0, 0});
}

TEST_CASE("loads of constant current and admittance, switched shunts, end shunts") {
  const Grid grid = raw(
      "0 100 33\n\n\n1 'A' 110 3 1 1 1 1 0\n2 'B' 110 1 1 1 1 1 0\n0\n2 '1' 1 1 1 10 4 20 6 30 -8\n2 '2' 0 1 1 99 99\n0\n"
      "2 '1' 1 0 5\n0\n1 '1' 0 0 99 -99 1 0 100 0 1 0 0 1 1 100 99 -99\n0\n1 2 '1' .01 .1 .02 0 0 0 .1 .2 .3 .4 1\n0\n0\n"
      "0\n0\n0\n0\n0\n0\n0\n0\n0\n0\n2 0 0 1 1.1 .9 0 100 '' 7\n0\nQ\n");
  CHECK(grid.bus.pd[1] == 60);
  CHECK(grid.bus.qd[1] == 18);
  CHECK(std::abs(grid.bus.zip[1][1] - 20.0 / 60) < 1e-15);
  CHECK(std::abs(grid.bus.zip[1][5] - 8.0 / 18) < 1e-15);
  CHECK(grid.bus.bs[1] == 12);
  REQUIRE(grid.branch.end_y.size() == 1);
  CHECK(grid.branch.end_y[0][0] == Complex(.1, .2));
  CHECK(grid.branch.end_y[0][1] == Complex(.3, .4));
}

TEST_CASE("what is wrong with a RAW file is said with its line") {
  const auto message = [](const std::string& text) -> std::string {
    try {
      raw(text);
    } catch (const fachwerk::Error& error) {
      return error.what();
    }
    return "nothing";
  };
  CHECK(message("0 100 12\n\n\n").find("revision") != std::string::npos);
  CHECK(message("0 100 33\n\n\n1 'A' 110 3 1 1 1 1 0\n0\n7 '1' 1 1 1 1 1\n").find("bus 7") != std::string::npos);
  CHECK(message("0 100 33\n\n\n1 'A' hot 3 1 1 1 1 0\n").find(":4: field 3") != std::string::npos);
  CHECK(message("0 100 33\n\n\n1 'A' 110 3 1 1 1 1 0").find("ends inside") != std::string::npos);
  CHECK(message("0 100 33\n\n\n0\nQ\n").find("no bus") != std::string::npos);
}
