#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "io/bytes.hpp"

/// Zip archives, as far as PyTorch's files need them: members below 4 GiB, stored or deflated.
namespace fachwerk::neural {

/// The members of a zip archive by name; stored ones are views, deflated ones are unpacked into `unpacked`. Throws bad
/// input where the archive is broken.
std::map<std::string, formats::Bytes> read_zip(formats::Bytes bytes, const std::string& file,
                                               std::deque<std::vector<std::byte>>& unpacked);

/// Writes stored members, their values on 64-byte boundaries as PyTorch does.
class ZipWriter {
 public:
  explicit ZipWriter(formats::Sink& sink) : sink_(sink) {}
  /// Throws usage_error where the archive would pass 4 GiB.
  void add(const std::string& name, formats::Bytes data);
  /// The directory; nothing is added after it.
  void finish();

 private:
  struct Member {
    std::string name;
    std::uint32_t crc, size, offset;
  };
  static std::string head(const Member& m);
  void put(const std::string& text);
  formats::Sink& sink_;
  std::size_t offset_ = 0;
  std::vector<Member> members_;
};

}  // namespace fachwerk::neural
