# shellcheck shell=bash
# Runs Bazel inside the root.
#
# A Bazel server lives in a mount namespace of its own, in which the root's /usr,
# /etc and /var stand in the places of the host's and all else is the host's.
# Calls enter the namespace of their workspace's running server: Bazel takes the
# same folder in another namespace for a moved one, and starts a new server.

run_bazel() {
  local output_base server
  output_base=$(output_base_of "$@")
  describe_namespace "$output_base"

  # What may name files of the host's /usr, which are not there any more.
  unset JAVA_HOME LD_LIBRARY_PATH LD_PRELOAD BASH_ENV
  # The same for all callers: Bazel fetches again what depends on PATH.
  PATH=$GO_ROOT/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  # Go modules come out of the caller's cache, which bazelw has filled already.
  export GO_REPOSITORY_USE_HOST_MODCACHE=1 GOMODCACHE=$GO_MODCACHE
  local -a command=(env -C "$CWD" bazel "--bazelrc=$MODULES/bazelrc" "$@")

  if server=$(live_server "$output_base"); then
    exec nsenter --mount="/proc/$server/ns/mnt" -- "${command[@]}"
  fi

  # Two first calls must not make two namespaces: the second server would end
  # the first one, in the middle of its command.
  mkdir -p -- "$output_base"
  exec {LOCK}>"$output_base.lock"
  flock "$LOCK"
  if server=$(live_server "$output_base"); then
    exec {LOCK}>&-
    exec nsenter --mount="/proc/$server/ns/mnt" -- "${command[@]}"
  fi
  (hold_lock "$$" "$output_base" </dev/null >/dev/null 2>&1 &)
  exec {LOCK}>&-
  mkdir -p -- "$CACHE/mount"
  exec unshare --mount --propagation slave -- \
    "$BAZELW_PARTS/enter.sh" "$ROOT" "$CACHE/mount" "$NAMESPACE" "${VISIBLE[@]}" -- "${command[@]}"
}

# Keeps the lock until the server runs or Bazel has ended without one.
hold_lock() {
  local client=$1 output_base=$2 tries=0
  while kill -0 "$client" && ((tries++ < 300)); do
    ! live_server "$output_base" || return 0
    sleep 0.1
  done
}

# The process of the server that has the output base, when its namespace is one
# that this call would make.
live_server() {
  local output_base=$1 pid
  pid=$(cat -- "$output_base/server/server.pid.txt" 2>/dev/null) || return 1
  # After a crash the number may be another process's.
  grep -qzxFe "--output_base=$output_base" "/proc/$pid/cmdline" 2>/dev/null || return 1
  [[ $(cat -- "/proc/$pid/root/.bazelw" 2>/dev/null) == "$NAMESPACE" ]] || return 1
  printf '%s' "$pid"
}

# Where Bazel keeps the workspace's outputs: by its own rule, unless the startup
# options before the command say otherwise.
output_base_of() {
  local user_root=$CACHE/out base=
  while [[ ${1:-} == -* ]]; do
    case $1 in
      --output_base=*) base=${1#*=} ;;
      --output_user_root=*) user_root=${1#*=} ;;
      --output_base) base=${2:-}; shift ;;
      --output_user_root) user_root=${2:-}; shift ;;
    esac
    shift
  done
  [[ -n $base ]] || base=$user_root/$(printf '%s' "$WORKSPACE" | md5sum | cut -d' ' -f1)
  realpath -m -- "$base"
}

# Sets VISIBLE, the host's files that Bazel needs and that the root would hide,
# GO_ROOT, GO_MODCACHE, and NAMESPACE, a name for all of that.
describe_namespace() {
  local path
  # In a folder with a go.mod, Go may choose another version of itself.
  if [[ -f $WORKSPACE/go.mod ]]; then path=$WORKSPACE; else path=$BAZELW_REPO; fi
  { read -r GO_ROOT && read -r GO_MODCACHE; } < <(cd -- "$path" && go env GOROOT GOMODCACHE) ||
    die "'go env GOROOT' fails in $path: run it there to see why"

  VISIBLE=(/etc/hosts /etc/resolv.conf)
  # The certificates, and where the links among them lead.
  VISIBLE+=(/etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates)
  for path in "$WORKSPACE" "$CWD" "$BAZELW_REPO" "$CACHE" "$1" "${HOME:-}" "${TMPDIR:-}" \
    "$GO_ROOT" "$GO_MODCACHE" "${SSL_CERT_FILE:-}" "${SSL_CERT_DIR:-}"; do
    ! hidden "$path" || VISIBLE+=("$path")
  done
  # Distributions make a GOROOT out of links.
  for path in "$GO_ROOT"/*; do
    [[ ! -L $path ]] || VISIBLE+=("$(realpath -- "$path")")
  done
  # A Go that was replaced in its place is another folder.
  NAMESPACE=$(hash_of "$ROOT" "$(<"$BAZELW_PARTS/enter.sh")" "${VISIBLE[@]}" "$(stat -Lc %d:%i -- "$GO_ROOT")")
}

# hidden PATH: the root or an empty folder is in its place.
hidden() {
  case $1/ in
    /usr/* | /etc/* | /var/* | /run/* | /bin/* | /sbin/* | /lib*) return 0 ;;
    *) return 1 ;;
  esac
}
