#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include "io/bytes.hpp"

/// What the tests of the formats share.
namespace fachwerk::formats::test {

inline Bytes as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fachwerk-formats-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// What `write` sends to a sink, as bytes.
template <class Write>
std::string written(const Write& write) {
  const Folder folder;
  const auto path = folder / "file";
  Sink sink = Sink::create(path, false);
  write(sink);
  sink.commit();
  return std::string(File::open(path).text());
}

/// Every beginning of a good file must be refused, or read as a shorter one, without a crash.
template <class Read>
void survives_truncation(const std::string& good, const Read& read) {
  for (std::size_t size = 0; size < good.size(); ++size) {
    // Memory of just this size, so that the address sanitizer sees any step beyond.
    const std::vector<std::byte> part(as_bytes(good).begin(),
                                      as_bytes(good).begin() + static_cast<std::ptrdiff_t>(size));
    try {
      read(Bytes(part));
    } catch (const Error& error) {
      if (error.code() != Exit::bad_input) throw;
    }
  }
}

}  // namespace fachwerk::formats::test
