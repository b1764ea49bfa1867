# shellcheck shell=bash
# Shared by all parts of bazelw: messages, the cache directory, the workspace.

say() { printf 'bazelw: %s\n' "$*" >&2; }

die() {
  trap - ERR
  say "$@"
  exit 1
}

# For failures without a message of their own.
trap 'die "stopped in ${BASH_SOURCE[0]##*/}, line $LINENO, at: $BASH_COMMAND"' ERR

# hash_of TEXT...: a short name for a combination of inputs.
hash_of() { printf '%s\n' "$@" | sha256sum | cut -c1-12; }

# find_workspace DIRECTORY: the nearest directory, upwards, that Bazel takes for a
# workspace, or nothing: `bazel help` works outside of one.
find_workspace() {
  local dir=$1 marker
  while [[ -n $dir ]]; do
    for marker in MODULE.bazel REPO.bazel WORKSPACE.bazel WORKSPACE; do
      if [[ -f $dir/$marker ]]; then
        printf '%s' "$dir"
        return
      fi
    done
    dir=${dir%/*}
  done
}

CWD=$(pwd -P)
# Read by the parts that come after this one.
# shellcheck disable=SC2034
WORKSPACE=$(find_workspace "$CWD")

if [[ -n ${RULES_BPF_BAZELW_CACHE:-} ]]; then
  CACHE=$RULES_BPF_BAZELW_CACHE
elif [[ -n ${XDG_CACHE_HOME:-}${HOME:-} ]]; then
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rules_bpf/bazelw
else
  die "neither HOME nor XDG_CACHE_HOME is set: set RULES_BPF_BAZELW_CACHE to a directory for Bazel and its outputs"
fi
# Mounts and Bazel's flags need the directory's path without symbolic links.
CACHE=$(realpath -m -- "$CACHE")
[[ $CACHE != *[[:space:]]* ]] ||
  die "the cache directory '$CACHE' has a space in its name, which Bazel's rc files cannot hold: set RULES_BPF_BAZELW_CACHE to another directory"

make_cache() {
  local why
  if ! why=$(mkdir -p -- "$CACHE" 2>&1) || [[ ! -w $CACHE ]]; then
    die "cannot write to the cache directory $CACHE${why:+ ($why)}: set RULES_BPF_BAZELW_CACHE to another directory"
  fi
}

free_mb() { df --output=avail -BM -- "$CACHE" | tail -n 1 | tr -cd 0-9; }

# need_room MEGABYTES: for what is about to be written to the cache directory.
need_room() {
  local free
  free=$(free_mb)
  ((free >= $1)) ||
    die "$CACHE has $free MB of free disk space, and setting up Bazel needs $1 MB more: free some, or set RULES_BPF_BAZELW_CACHE to a directory on another disk"
}

# take_lock FILE: one at a time among all callers on this machine. The lock
# belongs to the open file LOCK, so it goes when its last holder dies, and a part
# of set-up that outlives its caller for a moment still holds it.
take_lock() {
  exec {LOCK}>"$1"
  if ! flock --nonblock "$LOCK"; then
    say "another bazelw is setting up: waiting for it to finish"
    flock "$LOCK"
  fi
}

drop_lock() { exec {LOCK}>&-; }
