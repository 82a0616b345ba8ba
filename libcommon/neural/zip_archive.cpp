#include "neural/zip_archive.hpp"

#include <cstring>

#include <zlib.h>

#include "cli/error.hpp"

namespace fachwerk::neural {

using formats::Bytes;
using formats::Reader;

namespace {

template <class T>
std::string number(T value) {
  std::string text(sizeof value, '\0');
  std::memcpy(text.data(), &value, sizeof value);
  return text;
}

}  // namespace

std::map<std::string, Bytes> read_zip(Bytes bytes, const std::string& file,
                                      std::deque<std::vector<std::byte>>& unpacked) {
  const auto bad = [&](const char* what) { return bad_input("{}: broken zip archive: {}", file, what); };
  if (bytes.size() < 22) throw bad("too short");
  std::size_t end = bytes.size() - 22;
  const auto signature = [&](std::size_t at) {
    return Reader::load<std::uint32_t>(bytes.data() + at, std::endian::little);
  };
  for (std::size_t tried = 0; signature(end) != 0x06054b50; ++tried, --end)
    if (end == 0 || tried > 65536) throw bad("no directory (truncated?)");
  Reader tail(bytes.subspan(end + 8), file, end + 8);
  tail.skip(2, "counts");
  const std::size_t count = tail.number<std::uint16_t>("number of members");
  tail.skip(4, "directory size");
  const std::size_t start = tail.number<std::uint32_t>("directory offset");
  if (start > end) throw bad("directory outside the file");
  Reader directory(bytes.subspan(start, end - start), file, start);
  std::map<std::string, Bytes> members;
  for (std::size_t i = 0; i < count; ++i) {
    if (directory.number<std::uint32_t>("member") != 0x02014b50) throw bad("not a member");
    directory.skip(6, "versions");
    const auto method = directory.number<std::uint16_t>("method");
    directory.skip(8, "time and checksum");
    const std::size_t packed = directory.number<std::uint32_t>("size"), size = directory.number<std::uint32_t>("size");
    const std::size_t name_size = directory.number<std::uint16_t>("name"),
                      extra = directory.number<std::uint16_t>("extra"),
                      comment = directory.number<std::uint16_t>("comment");
    directory.skip(8, "attributes");
    const std::size_t offset = directory.number<std::uint32_t>("offset");
    const std::string name(directory.text(name_size, "name"));
    directory.skip(extra + comment, "extra");
    if (packed == 0xFFFFFFFFU || size == 0xFFFFFFFFU || offset == 0xFFFFFFFFU)
      throw bad_input("{}: members above 4 GiB are not supported", file);
    if (offset + 30 > bytes.size()) throw bad("member outside the file");
    Reader local(bytes.subspan(offset), file, offset);
    if (local.number<std::uint32_t>("member") != 0x04034b50) throw bad("not a member");
    local.skip(22, "header");
    const std::size_t local_name = local.number<std::uint16_t>("name"),
                      local_extra = local.number<std::uint16_t>("extra");
    local.skip(local_name + local_extra, "name");
    const Bytes data = local.take(packed, "member");
    if (method == 0) {
      if (packed != size) throw bad("sizes differ");
      members[name] = data;
    } else if (method == 8) {
      unpacked.push_back(formats::inflate(local, data, size, true));
      members[name] = unpacked.back();
    } else {
      throw bad("unknown packing");
    }
  }
  return members;
}

void ZipWriter::add(const std::string& name, Bytes data) {
  if (data.size() >= 0xFFFFFFFFU || offset_ + data.size() >= 0xFFFFFF00U)
    throw usage_error("a .pt file of more than 4 GiB: use safetensors");
  Member m{
      name,
      static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()))),
      static_cast<std::uint32_t>(data.size()), static_cast<std::uint32_t>(offset_)};
  const std::size_t header = 30 + name.size() + 4;
  const std::size_t pad = (64 - (offset_ + header) % 64) % 64;
  std::string local = number(0x04034b50U) + head(m) + number(static_cast<std::uint16_t>(name.size())) +
                      number(static_cast<std::uint16_t>(4 + pad)) + name + "FB" +
                      number(static_cast<std::uint16_t>(pad)) + std::string(pad, 'Z');
  put(local);
  sink_.write(data);
  offset_ += data.size();
  members_.push_back(std::move(m));
}

void ZipWriter::finish() {
  const std::size_t start = offset_;
  for (const Member& m : members_)
    put(number(0x02014b50U) + number(std::uint16_t{0}) + head(m) + number(static_cast<std::uint16_t>(m.name.size())) +
        std::string(12, '\0') + number(m.offset) + m.name);
  const auto count = static_cast<std::uint16_t>(members_.size());
  const auto size = static_cast<std::uint32_t>(offset_ - start);
  put(number(0x06054b50U) + std::string(4, '\0') + number(count) + number(count) + number(size) +
      number(static_cast<std::uint32_t>(start)) + std::string(2, '\0'));
}

/// Version, flags, method, time, date, checksum and both sizes.
std::string ZipWriter::head(const Member& m) {
  return std::string(8, '\0') + number(std::uint16_t{0x21}) + number(m.crc) + number(m.size) + number(m.size);
}

void ZipWriter::put(const std::string& text) {
  sink_.write(text);
  offset_ += text.size();
}

}  // namespace fachwerk::neural
