// Wind, sun, correlated loads and merit order of made scenarios.
#include "weather.hpp"

#include <cmath>
#include <numeric>

#include "cases.hpp"
#include "compute/random.hpp"

using namespace fachwerk::dpf;

TEST_CASE("sun: none at night, most at noon in June, less in December, below clear sky") {
  double june = 0, december = 0;
  for (std::size_t bus = 0; bus < 400; ++bus) {
    CHECK(solar_output(1, 0, 172, bus) == 0);
    const double noon = solar_output(1, 43200, 172, bus);
    CHECK(noon > 0);
    CHECK(noon <= std::cos((47 - 23.45) * 3.14159265358979 / 180));
    june += noon / 400;
    december += solar_output(1, 43200, 355, bus) / 400;
  }
  // Elevation times the mean of Beta(5, 2).
  CHECK(std::abs(june - .9167 * 5 / 7) < .03);
  CHECK(std::abs(december - std::cos((47 + 23.44) * 3.14159265358979 / 180) * 5 / 7) < .02);
}

TEST_CASE("wind: between 0 and 1, AR(1) from step to step, the same whichever step is made first") {
  std::vector<double> latent;
  for (std::size_t s = 0; s < 3000; ++s) {
    const double w = wind_output(7, s, 3, .9);
    REQUIRE(w > 0);
    REQUIRE(w < 1);
    latent.push_back((std::log(w / (1 - w)) + .9) / 1.6);
  }
  double variance = 0, covariance = 0;
  for (std::size_t s = 1; s < latent.size(); ++s) {
    variance += latent[s] * latent[s] / 3000;
    covariance += latent[s] * latent[s - 1] / 3000;
  }
  CHECK(std::abs(variance - 1) < .25);
  CHECK(std::abs(covariance / variance - .9) < .03);
}

TEST_CASE("correlated loads: unit variance, correlation by electrical distance") {
  const Grid grid = cases::ieee14();
  const double length = .3;
  const CorrelatedNoise noise(grid, length);
  std::vector<double> square(14, 0.0);
  double twelve_thirteen = 0;
  const std::size_t count = 20000;
  for (std::size_t s = 0; s < count; ++s) {
    const auto z = noise.sample([&](std::size_t bus) { return fachwerk::compute::Stream(1, s * 100 + bus).normal(); });
    for (std::size_t i = 0; i < 14; ++i)
      square[i] += z[i] * z[i] / static_cast<double>(count);
    twelve_thirteen += z[11] * z[12] / static_cast<double>(count);
  }
  CHECK(square[0] == 0);  // no load there
  for (const std::size_t i : {1, 5, 11, 12, 13})
    CHECK(std::abs(square[i] - 1) < .05);
  CHECK(std::abs(twelve_thirteen - std::exp(-.19988 / length)) < .03);
}

TEST_CASE("merit order: cheap ones full before dear ones start, limits kept, loads and losses covered") {
  Grid grid = cases::ieee14();
  grid.gen.pmax = {100, 80, 60, 40, 20};
  grid.gen.pmin = {0, 0, 10, 0, 0};
  // Slopes 30, 10, 20, 5 and 40 of linear costs.
  grid.tables["gencost"] = {
      5, 6, {2, 0, 0, 2, 30, 0, 2, 0, 0, 2, 10, 0, 2, 0, 0, 2, 20, 0, 2, 0, 0, 2, 5, 0, 2, 0, 0, 2, 40, 0}};
  OperatingPoint point(grid);
  const double load = std::accumulate(point.pd.begin(), point.pd.end(), 0.0);
  merit_order(grid, .02, point);
  CHECK(point.pg[3] == 40);
  CHECK(point.pg[1] == 80);
  CHECK(point.pg[2] == 60);
  CHECK(std::abs(point.pg[0] - (1.02 * load - 180)) < 1e-9);
  CHECK(point.pg[4] == 0);
}
