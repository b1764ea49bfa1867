# shellcheck shell=bash
# Chooses the Bazel to run, one on PATH or the launcher bazelisk, built from its
# Go module, and checks that it reaches what it needs.

# The newest that builds with every Go that go.mod allows.
readonly BAZELISK=github.com/bazelbuild/bazelisk@v1.29.0

# A machine seldom changes its network, so the answer is kept. A `no` is kept
# for a shorter time: the machine may be online soon.
readonly PROBE_YES_MINUTES=1440 PROBE_NO_MINUTES=30
# bazelisk may have to download Bazel first, and to be built.
readonly PROBE_SECONDS=60 BUILD_SECONDS=120

# Sets BAZEL, the Bazel to run, and BAZEL_IS, what to call it; or fails.
# shellcheck disable=SC2034 # bazelw reads it
choose_bazel() {
  local name
  for name in bazelisk bazel; do
    BAZEL=$(type -P "$name") || continue
    # A link of that name to this script would run itself for ever.
    [[ $(readlink -f -- "$BAZEL") != "$BAZELW_REPO/bazelw" ]] || continue
    BAZEL_IS="$BAZEL, which is on PATH"
    if remembered "$(hash_of "$BAZEL" "$(stat -Lc '%i %Y' -- "$BAZEL")" "$(<"$BAZELW_REPO/.bazelversion")")" \
      "whether $BAZEL reaches a registry" probe "$BAZEL"; then return; fi
  done
  type -P go >/dev/null || return 1
  BAZEL=$CACHE/bazelisk-${BAZELISK##*@}/bazelisk
  BAZEL_IS="bazelisk ${BAZELISK##*@}, built with Go"
  remembered "$(hash_of "$BAZELISK" "$(<"$BAZELW_REPO/.bazelversion")")" \
    "whether bazelisk, built with Go, reaches Bazel and a registry" build_and_probe
}

# remembered NAME QUESTION COMMAND...: the command's answer, or a recent one from the cache.
remembered() {
  local answer=$CACHE/probe-$1
  if ! answer_is_fresh "$answer"; then
    make_cache
    say "checking $2 (then remembered)"
    if "${@:3}"; then echo yes >"$answer"; else echo no >"$answer"; fi
  fi
  [[ $(<"$answer") == yes ]]
}

answer_is_fresh() {
  local answer=$1 minutes=$PROBE_NO_MINUTES
  [[ -f $answer ]] || return 1
  [[ $(<"$answer") != yes ]] || minutes=$PROBE_YES_MINUTES
  [[ -n $(find "$answer" -mmin "-$minutes") ]]
}

# Resolves one dependency in a scratch workspace, with nothing cached that could
# answer in the registry's place. The settings of the user and of the machine
# apply: they may name a mirror.
probe() {
  local bazel=$1 scratch status=0
  local -a rc=()
  scratch=$(mktemp -d)
  cp -- "$BAZELW_REPO/.bazelversion" "$scratch/"
  echo 'bazel_dep(name = "bazel_skylib", version = "1.9.0")' >"$scratch/MODULE.bazel"
  [[ ! -f $BAZELW_REPO/user.bazelrc ]] || rc=("--bazelrc=$BAZELW_REPO/user.bazelrc")
  (
    cd -- "$scratch"
    # In the foreground, so that Ctrl-C reaches Bazel too.
    exec timeout --foreground --kill-after=5 "$PROBE_SECONDS" \
      "$bazel" "${rc[@]}" --batch --output_user_root="$scratch/out" mod graph
  ) >/dev/null 2>&1 </dev/null || status=$?
  # Bazel write-protects parts of its outputs.
  chmod -R u+w -- "$scratch"
  rm -rf -- "$scratch"
  ((status != 130 && status != 143)) || kill -INT $$
  return "$status"
}

# Not `go run`, which gives an exit status of 1 for every other than 0.
build_and_probe() {
  finds_downloads || return 1
  if [[ ! -x $BAZEL ]]; then
    (cd / && GOWORK=off GOBIN=${BAZEL%/*} timeout --foreground "$BUILD_SECONDS" go install "$BAZELISK") >/dev/null 2>&1 || return 1
  fi
  probe "$BAZEL"
}

# finds_downloads reports whether building bazelisk is worth half a minute: a proxy or a
# mirror is set, or one of the hosts that it downloads from has an address.
finds_downloads() {
  local dir host
  dir=$(cd / && GOWORK=off timeout --foreground "$BUILD_SECONDS" go mod download -json "$BAZELISK" 2>/dev/null | json_value Dir)
  [[ -n $dir ]] || return 1
  if [[ -n ${https_proxy:-}${HTTPS_PROXY:-}${BAZELISK_BASE_URL:-}${BAZELISK_FORMAT_URL:-} || -e $BAZELW_REPO/.bazeliskrc || -e ${HOME:-}/.bazeliskrc ]]; then
    return
  fi
  while read -r host; do
    ! timeout --foreground 5 getent hosts "$host" >/dev/null || return 0
  done < <(grep -rhoE --include='*.go' --exclude='*_test.go' '"https://[a-z0-9.-]+' "$dir" | cut -d/ -f3 | sort -u)
  return 1
}

# json_value KEY: the value of the key in go's JSON output, which has one key per line.
json_value() { awk -F'"' -v key="$1" '$2 == key { print $4 }'; }
