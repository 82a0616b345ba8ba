#include "compute/isa.hpp"

#include <cstdlib>
#include <optional>

#include <doctest.h>

#include "cli/error.hpp"

using namespace fachwerk;
using namespace fachwerk::compute;

namespace {

/// Sets FACHWERK_ISA for one scope.
class Environment {
 public:
  explicit Environment(const char* value) {
    if (const char* before = std::getenv("FACHWERK_ISA")) before_ = before;
    setenv("FACHWERK_ISA", value, 1);
  }
  ~Environment() {
    if (before_)
      setenv("FACHWERK_ISA", before_->c_str(), 1);
    else
      unsetenv("FACHWERK_ISA");
  }

 private:
  std::optional<std::string> before_;
};

int one() {
  return 1;
}
int two() {
  return 2;
}
int three() {
  return 3;
}

}  // namespace

TEST_CASE("vector unit by environment") {
  Isa best;
  {
    const Environment none("");
    best = best_isa();
  }
  {
    const Environment baseline("baseline");
    CHECK(best_isa() == Isa::baseline);
    CHECK(dispatch(one, two, three)() == 1);
  }
  const char* words[] = {"baseline", "avx2", "avx512"};
  for (int i = 0; i < 3; ++i) {
    const Environment asked(words[i]);
    if (i <= static_cast<int>(best)) {
      CHECK(name(best_isa()) == words[i]);
      CHECK(dispatch(one, two, three)() == i + 1);
    } else {
      CHECK_THROWS_AS(best_isa(), Error);
    }
  }
  const Environment wrong("neon");
  CHECK_THROWS_AS(best_isa(), Error);
}
