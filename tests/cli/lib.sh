# What the lines of tests/cli may use.

# expect CODE REGEX COMMAND...: the command exits with CODE and its stderr matches REGEX (extended).
expect() {
  local code=$1 pattern=$2 got err
  shift 2
  err=$("$@" 2>&1 >/dev/null)
  got=$?
  [ $got -eq "$code" ] || { echo "expected exit $code, got $got: $* -- $err"; return 1; }
  grep -qE -e "$pattern" <<<"$err" || { echo "stderr does not match '$pattern': $err"; return 1; }
}

# absent FILE...: none of them exists.
absent() {
  local file
  for file; do
    [ ! -e "$file" ] || { echo "$file exists"; return 1; }
  done
}

# needs PATH|COMMAND...: skips the line, with the reason, where one of them is missing.
needs() {
  local thing
  for thing; do
    [ -e "$thing" ] || command -v "$thing" >/dev/null || { echo "$thing is not here"; exit 77; }
  done
}

# full_disk COMMAND...: runs it in a folder "full" on a file system of 64 KiB; skips where none can be mounted.
full_disk() {
  mkdir -p full
  mount -t tmpfs -o size=64k tmpfs full 2>/dev/null || { echo "no right to mount a small file system"; exit 77; }
  "$@"
  local code=$?
  local left
  left=$(find full -type f | head -1)
  umount full
  [ -z "$left" ] || { echo "left behind: $left"; return 99; }
  return $code
}

# python: the distribution's interpreter when it has h5py, else skips.
python() {
  local candidate
  for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import h5py, numpy' 2>/dev/null; then
      "$candidate" "$@"
      return
    fi
  done
  echo "no python3 with h5py and numpy"
  exit 77
}

# grep -q that reads all of its input: one that stops at the first match closes the pipe on a tool that is still writing.
grep() {
  local word quiet='' words=()
  for word; do
    case $word in
      -q) quiet=yes ;;
      -q?*) quiet=yes; words+=("-${word#-q}") ;;
      *) words+=("$word") ;;
    esac
  done
  if [ -n "$quiet" ]; then command grep "${words[@]}" >/dev/null; else command grep "${words[@]}"; fi
}
