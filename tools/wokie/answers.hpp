#pragma once

#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

/// What services answered, kept in a file of JSON lines that only grows: the cache of all runs, and the journal of one.
namespace fachwerk::wokie {

class Answers {
 public:
  Answers() = default;
  Answers(Answers&& other) noexcept { *this = std::move(other); }
  Answers& operator=(Answers&& other) noexcept;
  ~Answers();

  /// Opens for reading and appending; a torn last line (a killed run) is dropped. Creates folders on the way.
  static Answers open(const std::string& path);
  /// A journal: its first line names input and options. With `resume` they must agree (else io_error, exit 4), without
  /// it a new journal is begun.
  static Answers journal(const std::string& path, const std::string& identity, bool resume);

  std::optional<std::string> find(const std::string& key) const;
  void add(const std::string& key, const std::string& value);
  /// Flushes to the disk; called by itself every 100 entries or 5 seconds.
  void sync();
  void remove();  ///< deletes the file: the run is complete
  std::size_t size() const { return known_.size(); }
  bool is_open() const { return file_ >= 0; }

 private:
  void load(const std::string& text);
  void append(const std::string& line);

  std::string path_;
  int file_ = -1;
  std::map<std::string, std::string> known_;
  std::size_t unsynced_ = 0;
  std::chrono::steady_clock::time_point last_sync_ = std::chrono::steady_clock::now();
};

}  // namespace fachwerk::wokie
