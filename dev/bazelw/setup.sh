# shellcheck shell=bash
# The machine-wide part of set-up, shared by all clones: a Debian root directory
# with Bazel in it, and the kernels that tests boot. The distribution's Bazel is the only one that the plain
# package registries have, and it needs a newer libc than most machines have.

readonly SUITE=forky
# The finished root takes 2 GB and the packages on the way 0.5 GB; Bazel's own
# outputs want room as well.
readonly ROOT_MB=4096
# Unpacked they take 550 MB, and with indexes and packages for a moment more.
readonly KERNELS_MB=1536
# What `test //...` leaves, without the disk cache. Read by run.sh.
# shellcheck disable=SC2034
readonly OUTPUTS_MB=8192
# After so long a server without a command ends (--max_idle_secs). Read by run.sh.
# shellcheck disable=SC2034
readonly IDLE_MINUTES=180
# Roots, modules and kernels of older checkouts are dropped when unused for so long.
readonly UNUSED_DAYS=30

# Another recipe makes another root, so that clones of different age can share a
# cache directory.
ROOT=$CACHE/root-$(hash_of "$SUITE" "$(<"$BAZELW_PARTS/packages")" "$(<"$BAZELW_PARTS/make-root.sh")")

# The directory that the tests' MODULE.bazel takes the kernels from.
KERNELS=$CACHE/kernels-$(hash_of "$(<"$BAZELW_PARTS/kernels")" "$(<"$BAZELW_PARTS/make-kernels.sh")")

# Checks the requirements first, each with a message that has the remedy.
need_host() {
  local tool
  ((EUID == 0)) ||
    die "no Bazel here reaches a registry, and setting one up here needs root: run this as root, or install bazelisk on a machine that reaches a registry"
  # A shell made by a plain `su` lacks these.
  PATH=$PATH:/usr/sbin:/sbin
  for tool in go awk find flock mount pivot_root nsenter setpriv unshare; do
    type -P "$tool" >/dev/null ||
      die "$tool is not on PATH: install $(package_of "$tool"), or add its directory to PATH"
  done
}

package_of() {
  case $1 in
    go) echo "Go 1.25 or newer" ;;
    awk) echo "Debian's package mawk" ;;
    find) echo "Debian's package findutils" ;;
    mount) echo "Debian's package mount" ;;
    *) echo "Debian's package util-linux" ;;
  esac
}

need_namespaces() {
  unshare --mount true 2>/dev/null ||
    die "this root may not make a mount namespace (a container without CAP_SYS_ADMIN?): grant it that, or install bazelisk on a machine that reaches a registry"
}

set_up_root() {
  if [[ -d $ROOT ]]; then return; fi
  need_namespaces
  make_cache
  take_lock "$CACHE/setup.lock"
  # Another caller may have made it while this one waited.
  if [[ ! -d $ROOT ]]; then make_root; fi
  drop_lock
}

make_root() {
  local log=$CACHE/setup.log started=$SECONDS
  need_room "$ROOT_MB"
  say "no Bazel here reaches a registry: setting up Debian's in $CACHE, once (1 to 2 minutes, 0.5 GB to download, 2 GB on disk)"
  : >"$log"
  need_debootstrap "$log"
  # A half-made root cannot be trusted. The packages it has downloaded can, and
  # make-root.sh keeps those apart.
  rm -rf -- "$ROOT.new"
  if ! guarded "$log" "$ROOT.new" "$BAZELW_PARTS/make-root.sh" "$SUITE" "$ROOT.new" "$CACHE/archives" "$BAZELW_PARTS/packages"; then
    explain "$log" "$ROOT.new"
  fi
  mv -T -- "$ROOT.new" "$ROOT"
  rm -rf -- "$CACHE/archives"
  find "$CACHE" -mindepth 1 -maxdepth 1 '(' -name 'root-*' -o -name 'modules-*' -o -name 'kernels-*' ')' \
    -mtime "+$UNUSED_DAYS" -exec rm -rf -- {} +
  say "set up in $((SECONDS - started)) s"
}

# needs_kernels ARGUMENTS...: whether the command runs tests, which boot them. The first
# `run` of an example does not wait for them, and builds do not need them.
needs_kernels() {
  local argument
  for argument in "$@"; do
    case $argument in
      --) return 1 ;;
      test | coverage | *_test* | *bpf_kernels*) return 0 ;;
    esac
  done
  return 1
}

set_up_kernels() {
  if [[ -d $KERNELS ]]; then return; fi
  need_namespaces
  take_lock "$CACHE/setup.lock"
  if [[ ! -d $KERNELS ]]; then make_kernels; fi
  drop_lock
}

make_kernels() {
  local log=$CACHE/kernels.log
  need_room "$KERNELS_MB"
  say "fetching the kernels that tests boot into $CACHE, once (20 to 90 s, 550 MB on disk)"
  : >"$log"
  rm -rf -- "$KERNELS.new"
  if ! guarded "$log" "$KERNELS.new" "$BAZELW_PARTS/make-kernels.sh" "$ROOT" "$KERNELS.new" "$BAZELW_PARTS/kernels"; then
    explain "$log" "$KERNELS.new"
  fi
  mv -T -- "$KERNELS.new" "$KERNELS"
}

need_debootstrap() {
  local log=$1
  if type -P debootstrap >/dev/null; then return; fi
  type -P apt-get >/dev/null ||
    die "debootstrap is not on PATH, and neither is apt-get to install it: install debootstrap"
  say "installing debootstrap with apt-get (about 10 s)"
  # If refreshing the package lists fails, the old ones may still have the package.
  apt-get update >>"$log" 2>&1 </dev/null || true
  if ! DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap >>"$log" 2>&1 </dev/null ||
    ! type -P debootstrap >/dev/null; then
    die "debootstrap is missing and apt-get does not install it ($(last_error "$log")): install it by hand, then run this again; all of the output is in $log"
  fi
}

# guarded LOG NEW COMMAND...: runs a part of set-up, which makes the directory NEW, in
# namespaces of its own, so that no mount and no process outlives it: whatever
# ends bazelw, kill -9 included, ends the first process of the namespace, and with
# it all others.
guarded() {
  local log=$1 new=$2 pid ticker status=0 signal
  shift 2
  setpriv --pdeathsig KILL \
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    "$@" 3>&2 >>"$log" 2>&1 </dev/null &
  pid=$!
  tick "$pid" "$new" &
  ticker=$!
  for signal in INT TERM HUP; do
    # shellcheck disable=SC2064 # the present values are meant
    trap "kill -KILL $pid $ticker 2>/dev/null; trap - $signal; kill -$signal $$" "$signal"
  done
  wait "$pid" || status=$?
  trap - INT TERM HUP
  kill "$ticker" 2>/dev/null || true
  return "$status"
}

# Shows progress to the user who waits.
tick() {
  local pid=$1 new=$2 started=$SECONDS
  # A sleep must not keep the lock and the caller's pipe open.
  drop_lock
  while sleep 15 >/dev/null 2>&1 && kill -0 "$pid" 2>/dev/null; do
    say "  ... $((SECONDS - started)) s, $(du -sm "$new" 2>/dev/null | cut -f1) MB"
  done
}

last_error() { grep -aE '^(E:|dpkg: error|tar:|cp:|mount:)|[Ee]rror' "$1" | tail -n 1 | grep . || tail -n 1 -- "$1"; }

# explain LOG NEW: exits with the reason why set-up failed.
explain() {
  local log=$1 new=$2 why
  # A full disk causes many different errors, and may truncate the log.
  if (($(free_mb) < 100)) || grep -qaE 'No space left on device|not enough free space' "$log"; then
    why="the disk of $CACHE is full: free some space, or set RULES_BPF_BAZELW_CACHE to a directory on another disk"
  elif grep -qaE 'resolving|Could not (resolve|connect)|Failed to fetch|Failed getting release|Unable to connect|timed out|Couldn.t download' "$log"; then
    why="Debian's package archive does not answer: check the network (and http_proxy), then run this again; what is downloaded is kept"
  elif grep -qaE 'mounted with noexec or nodev' "$log"; then
    why="the disk of $CACHE is mounted noexec or nodev: set RULES_BPF_BAZELW_CACHE to a directory on another disk"
  else
    why="$(last_error "$log"): run this again to start over; all of the output is in $log"
  fi
  rm -rf -- "$new"
  die "set-up failed: $why"
}
