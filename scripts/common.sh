# What the scripts share; sourced, never run. Each script names the step it is in, so that a failure
# can say where.

set -Eeuo pipefail
script_name="scripts/$(basename "$0")"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
log_folder="$root/build/logs"
step_name="options"
step_log=""
quiet=0

say() {
  if [[ $quiet -eq 0 ]]; then printf '%s\n' "$*"; fi
}

# fail MESSAGE...: a problem with a known cause; each argument is a line.
fail() {
  trap - ERR
  printf '%s: error in step "%s": %s\n' "$script_name" "$step_name" "$1" >&2
  shift
  if [[ $# -gt 0 ]]; then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# Anything that fails without a message of its own ends here, with the step and the end of its log.
on_error() {
  local code=$?
  trap - ERR
  if [[ $BASH_SUBSHELL -gt 0 ]]; then exit "$code"; fi  # the shell that waits for it reports
  if [[ -n $step_log && -s $step_log ]]; then
    printf -- '---- the last lines of %s\n' "$step_log" >&2
    tail -n 30 "$step_log" >&2
    printf -- '----\n' >&2
  fi
  printf '%s: step "%s" failed (exit %d)%s\n' "$script_name" "$step_name" "$code" \
    "${step_log:+; the whole log: $step_log}" >&2
  exit "$code"
}
trap on_error ERR

# Prints the comment block at the top of the script as its help.
print_help() {
  sed -n '2,/^[^#]/{/^#/!q; s/^# \{0,1\}//; p}' "$root/$script_name"
}

# duration SECONDS: as people say it.
duration() {
  if [[ $1 -lt 120 ]]; then
    printf '%d s' "$1"
  else
    printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
  fi
}

# progress_of LOG SECONDS: one line about a command that has run for so long. Of a build that says
# [12/345] it tells the time left; of others the last line of their log.
progress_of() {
  local line done_count all
  # A compiler may have spoken last.
  line="$(grep -E '^\[[0-9]+/[0-9]+\]' "$1" | tail -n 1)" || true
  if [[ -z $line ]]; then
    line="$(tail -n 1 "$1" | tr '\r' '\n' | tail -n 1 | tr -cd '[:print:]')"
  fi
  if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] && ${BASH_REMATCH[1]} -gt 0 ]]; then
    done_count="${BASH_REMATCH[1]}" all="${BASH_REMATCH[2]}"
    printf '%s of %s steps, about %s left' "$done_count" "$all" \
      "$(duration $(($2 * (all - done_count) / done_count)))"
  else
    printf '%s: %s' "$(duration "$2")" "${line:0:90}"
  fi
}

# logged NAME COMMAND...: runs a long command with its output in build/logs/NAME.log; a line each
# half minute shows its progress.
logged() {
  step_log="$log_folder/$1.log"
  shift
  mkdir -p "$log_folder"
  : > "$step_log"
  # The sleeping child must hold neither our output nor our locks open when it outlives us, and the
  # loop ends by itself when we are gone.
  (begun=$SECONDS
  while sleep 30 > /dev/null 2>&1 9>&- && kill -0 $$ 2> /dev/null; do
    say "      ... $(progress_of "$step_log" $((SECONDS - begun)))"
  done) &
  local ticker=$! code=0
  "$@" >> "$step_log" 2>&1 < /dev/null || code=$?
  kill "$ticker" 2> /dev/null || true
  wait "$ticker" 2> /dev/null || true
  if [[ $code -eq 0 ]]; then step_log=""; fi
  return "$code"
}

# How many compilers may run at once: one a core, and 2.5 GiB of memory for each (LibTorch's headers
# are large).
job_count() {
  if [[ -n ${COMPRESS_JOBS:-} ]]; then
    printf '%s\n' "$COMPRESS_JOBS"
    return
  fi
  local cores kib limit used jobs
  cores="$(nproc)"
  kib="$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)"
  limit="$(cat /sys/fs/cgroup/memory.max 2> /dev/null || echo max)"
  if [[ $limit =~ ^[0-9]+$ ]]; then  # a container's own limit
    used="$(cat /sys/fs/cgroup/memory.current 2> /dev/null || echo 0)"
    limit=$(((limit - used) / 1024))
    if [[ $limit -lt $kib ]]; then kib=$limit; fi
  fi
  jobs=$((kib / 2621440))
  if [[ $jobs -gt $cores ]]; then jobs=$cores; fi
  if [[ $jobs -lt 1 ]]; then jobs=1; fi
  printf '%s\n' "$jobs"
}
