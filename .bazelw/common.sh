# shellcheck shell=bash
# What all parts of bazelw share: messages, the cache folder, the workspace.

say() { printf 'bazelw: %s\n' "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# hash_of TEXT...: a short name for a combination of inputs.
hash_of() { printf '%s\n' "$@" | sha256sum | cut -c1-12; }

# The nearest folder above the current one that Bazel takes for a workspace, or
# nothing: `bazel help` works outside of one.
find_workspace() {
  local dir=$1 marker
  while :; do
    for marker in MODULE.bazel REPO.bazel WORKSPACE.bazel WORKSPACE; do
      if [[ -f $dir/$marker ]]; then
        printf '%s' "$dir"
        return
      fi
    done
    [[ -n $dir ]] || return 0
    dir=${dir%/*}
  done
}

CWD=$(pwd -P)
WORKSPACE=$(find_workspace "${CWD%/}")

if [[ -n ${RULES_BPF_BAZELW_CACHE:-} ]]; then
  CACHE=$RULES_BPF_BAZELW_CACHE
elif [[ -n ${XDG_CACHE_HOME:-} || -n ${HOME:-} ]]; then
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rules_bpf/bazelw
else
  die "neither HOME nor XDG_CACHE_HOME is set: set RULES_BPF_BAZELW_CACHE to a folder for Bazel and its outputs"
fi
# Mount points and Bazel's flags need the one true name of the folder.
CACHE=$(realpath -m -- "$CACHE")

make_cache() {
  local why
  why=$(mkdir -p -- "$CACHE" 2>&1) && [[ -w $CACHE ]] ||
    die "cannot write to the cache folder $CACHE${why:+ ($why)}: set RULES_BPF_BAZELW_CACHE to another folder"
}

# with_lock NAME COMMAND...: one at a time among all callers on this machine.
# The lock belongs to the open file, so it goes when its last holder dies, and a
# set-up that outlives its caller for a moment still holds it.
with_lock() {
  local name=$1 status=0
  shift
  make_cache
  exec {LOCK}>"$CACHE/$name.lock"
  if ! flock --nonblock "$LOCK"; then
    say "another bazelw is at it: waiting for it to finish"
    flock "$LOCK"
  fi
  "$@" || status=$?
  exec {LOCK}>&-
  return "$status"
}
