# shellcheck shell=bash
# The machine-wide part of set-up, shared by all clones: a Debian root folder
# with Bazel in it. The distribution's Bazel is the only one that the plain
# package registries have, and needs a newer libc than most machines have.

readonly SUITE=forky
# The finished root takes 2 GB, the packages on the way 0.5 GB; Bazel's own
# outputs want room as well.
readonly NEED_MB=4096

# A change of the recipe makes another root, so that clones of different age
# can share a cache folder.
ROOT=$CACHE/root-$(hash_of "$SUITE" "$(<"$BAZELW_PARTS/packages")" "$(<"$BAZELW_PARTS/make-root.sh")")

# What must be there before anything is tried, each with what to do about it.
need_host() {
  local tool
  ((EUID == 0)) ||
    die "found no Bazel on PATH that reaches a registry, and setting one up needs root: run as root, or install bazelisk where a registry can be reached"
  for tool in awk chroot cp df find flock go md5sum mount nsenter pivot_root realpath setpriv sha256sum unshare; do
    type -P "$tool" >/dev/null || die "$tool is not on PATH: install it ($(package_of "$tool")), or add its folder to PATH"
  done
  unshare --mount true 2>/dev/null ||
    die "this root may not make a mount namespace (a container without CAP_SYS_ADMIN?): run with that capability, or install bazelisk where a registry can be reached"
}

package_of() {
  case $1 in
    go) echo "Go 1.25 or newer, or Debian's golang" ;;
    mount) echo "Debian's mount" ;;
    awk) echo "Debian's mawk" ;;
    find) echo "Debian's findutils" ;;
    chroot | cp | df | md5sum | realpath | sha256sum) echo "Debian's coreutils" ;;
    *) echo "Debian's util-linux" ;;
  esac
}

set_up_root() {
  [[ -d $ROOT ]] || with_lock setup make_root
}

make_root() {
  local log=$CACHE/setup.log started=$SECONDS
  # Another caller may have finished it while this one waited.
  [[ ! -d $ROOT ]] || return 0
  need_room
  say "setting up Bazel in $CACHE, once: about 2 minutes and 2 GB"
  : >"$log"
  need_debootstrap "$log"
  # A half-made root cannot be trusted; the packages it downloaded can, and
  # make-root keeps those apart.
  rm -rf -- "$ROOT.new"
  if ! guarded "$log" "$BAZELW_PARTS/make-root.sh" "$SUITE" "$ROOT.new" "$CACHE/archives" "$BAZELW_PARTS/packages"; then
    explain "$log"
  fi
  mv -T -- "$ROOT.new" "$ROOT"
  rm -rf -- "$CACHE/archives"
  say "set up in $((SECONDS - started)) s"
}

need_room() {
  local free
  free=$(df --output=avail -BM -- "$CACHE" | tail -n 1)
  free=${free//[^0-9]/}
  ((free >= NEED_MB)) ||
    die "$CACHE has $free MB of free disk space and set-up needs $NEED_MB: free some, or set RULES_BPF_BAZELW_CACHE to a folder on another disk"
}

need_debootstrap() {
  local log=$1
  type -P debootstrap >/dev/null && return
  say "installing debootstrap with apt-get (about 10 s)"
  # Failing to refresh the lists is no harm when the package is in the old ones.
  if ! { apt-get update; apt-get install -y --no-install-recommends debootstrap; } >>"$log" 2>&1; then
    die "debootstrap is missing and apt-get could not install it: install it, then run this again ($(last_error "$log"); all of it in $log)"
  fi
}

# guarded LOG COMMAND...: runs a part of set-up in namespaces of its own, so that
# no mount outlives it and no process does: whatever ends bazelw, kill -9
# included, ends the first process of the namespace and with it all others.
guarded() {
  local log=$1 pid ticker status=0
  shift
  # Not the caller's terminal: a question that nobody sees would hang.
  setpriv --pdeathsig KILL \
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    "$@" 3>&2 >>"$log" 2>&1 </dev/null &
  pid=$!
  tick "$pid" &
  ticker=$!
  trap 'kill -KILL "$pid" 2>/dev/null || true; trap - INT; kill -INT $$' INT
  trap 'kill -KILL "$pid" 2>/dev/null || true; trap - TERM; kill -TERM $$' TERM
  trap 'kill -KILL "$pid" 2>/dev/null || true; trap - HUP; kill -HUP $$' HUP
  wait "$pid" || status=$?
  trap - INT TERM HUP
  kill "$ticker" 2>/dev/null || true
  return "$status"
}

# A sign of life for whoever waits.
tick() {
  local pid=$1 started=$SECONDS
  # Holding the lock would make others wait for a sleep.
  exec {LOCK}>&-
  while sleep 15 && kill -0 "$pid" 2>/dev/null; do
    say "  ... $((SECONDS - started)) s, $(du -sm "$ROOT.new" 2>/dev/null | cut -f1) MB"
  done
}

last_error() { grep -aE '^(E:|W: Fail|dpkg: error|tar: |cp: )|[Ee]rror|No space' "$1" | tail -n 1 || true; }

# Ends with the one message that says why set-up failed.
explain() {
  local log=$1 why="see $1"
  if grep -qaE 'No space left on device|not enough free space|write error|ENOSPC' "$log"; then
    why="no disk space left for $CACHE: free some, or set RULES_BPF_BAZELW_CACHE to a folder on another disk"
  elif grep -qaE 'Temporary failure resolving|Could not resolve|Could not connect|Failed to fetch|Failed getting release file|Unable to connect|connection timed out' "$log"; then
    why="Debian's package archive did not answer: check the network (and http_proxy), then run this again; it goes on from what it has downloaded"
  elif grep -qaE 'noexec|nodev' "$log"; then
    why="$CACHE is on a disk mounted noexec or nodev: set RULES_BPF_BAZELW_CACHE to a folder on another disk"
  else
    why="$(last_error "$log"): run this again to start over; all of the output is in $log"
  fi
  rm -rf -- "$ROOT.new"
  die "set-up failed: $why"
}
