#include "answers.hpp"

#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "cli/error.hpp"

namespace fachwerk::wokie {
namespace {

using Json = nlohmann::json;

std::string contents(int file) {
  std::string out;
  std::vector<char> block(1u << 18);
  lseek(file, 0, SEEK_SET);
  for (;;) {
    const ssize_t n = read(file, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return out;
    out.append(block.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace

Answers& Answers::operator=(Answers&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(known_, other.known_);
  std::swap(unsynced_, other.unsynced_);
  return *this;
}

Answers::~Answers() {
  if (file_ < 0) return;
  fdatasync(file_);
  close(file_);
}

Answers Answers::open(const std::string& path) {
  Answers out;
  out.path_ = path;
  std::error_code ignored;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  out.file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (out.file_ < 0) throw io_error("{}: {}", path, std::strerror(errno));
  flock(out.file_, LOCK_EX);
  const std::string text = contents(out.file_);
  const std::size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole < text.size() && ftruncate(out.file_, static_cast<off_t>(whole)) != 0)
    throw io_error("{}: {}", path, std::strerror(errno));
  flock(out.file_, LOCK_UN);
  out.load(text.substr(0, whole));
  return out;
}

void Answers::load(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                  text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    at = end + 1;
    if (line.is_object() && line.contains("key") && line.contains("value") && line["key"].is_string() &&
        line["value"].is_string())
      known_[line["key"].get<std::string>()] = line["value"].get<std::string>();
  }
}

Answers Answers::journal(const std::string& path, const std::string& identity, bool resume) {
  if (!resume) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  Answers out = open(path);
  const auto have = out.find("identity");
  if (have && *have != identity)
    throw io_error("{}: journal of another input or other options; it cannot be resumed", path)
        .with_hint("run without --resume to begin anew");
  if (!have) out.add("identity", identity);
  out.sync();
  return out;
}

std::optional<std::string> Answers::find(const std::string& key) const {
  const auto found = known_.find(key);
  if (found == known_.end()) return std::nullopt;
  return found->second;
}

void Answers::append(const std::string& line) {
  flock(file_, LOCK_EX);
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = write(file_, line.data() + sent, line.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      flock(file_, LOCK_UN);
      throw io_error("{}: {}", path_, std::strerror(errno));
    }
    sent += static_cast<std::size_t>(n);
  }
  flock(file_, LOCK_UN);
}

void Answers::add(const std::string& key, const std::string& value) {
  if (file_ < 0) return;
  if (!known_.emplace(key, value).second) return;
  append(Json{{"key", key}, {"value", value}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  if (++unsynced_ >= 100 || std::chrono::steady_clock::now() - last_sync_ > std::chrono::seconds(5)) sync();
}

void Answers::sync() {
  if (file_ >= 0) fdatasync(file_);
  unsynced_ = 0;
  last_sync_ = std::chrono::steady_clock::now();
}

void Answers::remove() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

}  // namespace fachwerk::wokie
