# shellcheck shell=bash
# Runs Bazel inside the root.
#
# A Bazel server lives in a mount namespace of its own, in which the root's /usr,
# /etc and /var stand in the places of the host's and all else is the host's.
# Calls enter the namespace of their workspace's running server: that takes no
# time, and what tests have mounted is there for `bazel run` too. What the caller has
# mounted since then is not, unless the mounts are shared, as init systems make them;
# a server that lacks some is restarted.

run_bazel() {
  local output_base server path new
  output_base=$(output_base_of "$@")
  describe_namespace "$output_base"

  # They may name files of the host's /usr, which the namespace hides.
  unset JAVA_HOME LD_LIBRARY_PATH LD_PRELOAD BASH_ENV
  # Gazelle's rules then fetch Go modules into the caller's cache, once for all
  # workspaces.
  export GO_REPOSITORY_USE_HOST_MODCACHE=1 GOMODCACHE=$GO_MODCACHE
  # The same for all callers: Bazel reruns what depends on PATH.
  path=$GO_ROOT/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  local -a bazel=(env -C "$CWD" "PATH=$path" bazel "--bazelrc=$MODULES/bazelrc")
  # The kernels of this repository's tests, once a test has asked for them.
  if [[ -d $KERNELS ]]; then
    echo "common --repo_env=RULES_BPF_KERNELS=$KERNELS" >"$KERNELS.bazelrc.$$"
    mv -- "$KERNELS.bazelrc.$$" "$KERNELS.bazelrc"
    bazel+=("--bazelrc=$KERNELS.bazelrc")
  fi
  say "running Debian's Bazel, of $ROOT"

  if server=$(server_of "$output_base"); then
    if [[ $(cat -- "/proc/$server/root/.bazelw" 2>/dev/null) != "$NAMESPACE" ]]; then
      say "restarting the Bazel server: Go, bazelw or the cache directory has changed"
    elif new=$(new_mount "$server"); then
      say "restarting the Bazel server, which does not see what is mounted at $new by now"
    else
      exec nsenter --mount="/proc/$server/ns/mnt" -- "${bazel[@]}" "$@"
    fi
    # The client would connect to the old server, which sees the old files. shutdown
    # waits for the command that the server may be running.
    nsenter --mount="/proc/$server/ns/mnt" -- "${bazel[@]}" --output_base="$output_base" shutdown >&2
  fi

  need_namespaces
  # The caller's own are in use.
  [[ ! -d $output_base/server ]] || touch -- "$output_base/server"
  drop_outputs
  warn_of_room "$output_base"
  mkdir -p -- "$CACHE/mount"
  # Keeps them from being dropped as unused.
  touch "$ROOT" "$MODULES"
  [[ ! -d $KERNELS ]] || touch "$KERNELS"
  exec unshare --mount --propagation slave -- \
    "$BAZELW_PARTS/enter.sh" "$ROOT" "$CACHE/mount" "$NAMESPACE" "${VISIBLE[@]}" -- "${bazel[@]}" "$@"
}

# drop_outputs removes what Bazel built for workspaces that do not exist any more, as those of
# tests do not, and what nobody has used for a month. Bazel itself never does. What was in use
# within three hours stays: its server may run in another container, and ends after such a time
# without a command.
drop_outputs() {
  local base owner removed
  # Others that were interrupted.
  rm -rf --one-file-system -- "$CACHE"/out/removed.*
  for base in "$CACHE"/out/*/; do
    base=${base%/}
    # A disk that was full may have left an empty file.
    owner=$(cat -- "$base/DO_NOT_BUILD_HERE" 2>/dev/null) || continue
    if [[ $owner != /* || -L $base ]]; then continue; fi
    if used_within "$base" "$IDLE_MINUTES" || [[ -d $owner ]] && used_within "$base" "$((UNUSED_DAYS * 24 * 60))"; then continue; fi
    if server_of "$base" >/dev/null; then continue; fi
    say "removing the outputs of $owner, which nobody builds any more"
    # Out of the way of whoever begins to build there again.
    removed=$CACHE/out/removed.$$.${base##*/}
    if mv -T -- "$base" "$removed"; then rm -rf --one-file-system -- "$removed" || true; fi
  done
}

# used_within OUTPUT_BASE MINUTES: whether a server started or ended, or a command ran, since then.
used_within() { [[ -n $(find "$1/server" "$1/command.log" -maxdepth 0 -mmin "-$2" 2>/dev/null) ]]; }

# warn_of_room OUTPUT_BASE: says that a first build may fail. Bazel itself does not say that a disk
# is full.
warn_of_room() {
  local free
  [[ ! -d $1/execroot ]] || return 0
  free=$(free_mb)
  ((free >= OUTPUTS_MB)) ||
    say "$CACHE has $free MB of free disk space, and a build of all of this repository takes some $OUTPUTS_MB MB: free some if it fails, or set RULES_BPF_BAZELW_CACHE to a directory on another disk"
}

# new_mount SERVER: a mount point that is new since the server started and that the server
# does not see; fails without one. Mounts below the directories of the root do not count,
# as the server never sees the host's there.
new_mount() {
  awk '
    { mount = $3 " " $4 " " $5 }
    FILENAME != "/proc/self/mountinfo" { known[mount]; next }
    $5 != "/" && $5 !~ "^/(usr|etc|var|run|bin|sbin|lib[^/]*)(/|$)" && !(mount in known) { print $5; found = 1; exit }
    END { exit !found }' "/proc/$1/root/.bazelw.mounts" "/proc/$1/mountinfo" /proc/self/mountinfo
}

# server_of OUTPUT_BASE: the process ID of its Bazel server.
server_of() {
  local pid
  pid=$(cat -- "$1/server/server.pid.txt" 2>/dev/null) || return 1
  # After a crash the ID may be another process's.
  grep -qzxFe "--output_base=$1" "/proc/$pid/cmdline" 2>/dev/null || return 1
  printf '%s' "$pid"
}

# output_base_of ARGUMENTS...: where Bazel keeps the workspace's outputs, by its own rule or by
# the startup options before the command.
output_base_of() {
  local user_root=$CACHE/out base=
  while [[ ${1:-} == -* ]]; do
    case $1 in
      --output_base=*) base=${1#*=} ;;
      --output_user_root=*) user_root=${1#*=} ;;
      --output_base) base=${2:-} ;;
      --output_user_root) user_root=${2:-} ;;
    esac
    case $1 in
      # The value is an argument of its own.
      --output_base | --output_user_root | --bazelrc | --host_jvm_args | --max_idle_secs) shift ;;
    esac
    shift || break
  done
  [[ -n $base ]] || base=$user_root/$(printf '%s' "$WORKSPACE" | md5sum | cut -d' ' -f1)
  realpath -m -- "$base"
}

# Sets VISIBLE, the host's files that Bazel needs and that the root would hide,
# GO_ROOT, GO_MODCACHE, and NAMESPACE, a name for all of that.
describe_namespace() {
  local path
  # In a directory with a go.mod, Go may choose another version of itself.
  if [[ -f $WORKSPACE/go.mod ]]; then path=$WORKSPACE; else path=$BAZELW_REPO; fi
  { read -r GO_ROOT && read -r GO_MODCACHE; } < <(cd -- "$path" && go env GOROOT GOMODCACHE) ||
    die "'go env GOROOT' fails in $path: run it there to see why"

  # The network's settings, and what kernel tests read about the kernel.
  VISIBLE=(/etc/hosts /etc/resolv.conf /usr/lib/modules)
  # The certificates, and where the links among them lead.
  VISIBLE+=(/etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates)
  for path in "${WORKSPACE:-$CWD}" "$BAZELW_REPO" "$CACHE" "$1" "${HOME:-}" "${TMPDIR:-}" \
    "$GO_ROOT" "$GO_MODCACHE" "${SSL_CERT_FILE:-}" "${SSL_CERT_DIR:-}"; do
    if hidden "$path"; then VISIBLE+=("$path"); fi
  done
  # Distributions make a GOROOT out of links.
  for path in "$GO_ROOT"/*; do
    [[ ! -L $path ]] || VISIBLE+=("$(realpath -- "$path")")
  done
  # A new Go at the same path is another directory.
  NAMESPACE=$(hash_of "$ROOT" "$(<"$BAZELW_PARTS/enter.sh")" "${VISIBLE[@]}" "$(stat -Lc %d:%i -- "$GO_ROOT")")
}

# hidden PATH: whether the namespace has the root's directory, or an empty one, instead.
hidden() {
  case $1/ in
    /usr/* | /etc/* | /var/* | /run/* | /bin/* | /sbin/* | /lib*) return 0 ;;
    *) return 1 ;;
  esac
}
