# shellcheck shell=bash
# Is there a Bazel on PATH whose registry answers?

# A machine seldom changes its network, so the answer is kept. A `no` is kept
# for a shorter time: somebody may have just come online.
readonly PROBE_YES_MINUTES=1440 PROBE_NO_MINUTES=30
# bazelisk may have to download Bazel first.
readonly PROBE_SECONDS=60

# Prints the Bazel to run, or fails.
usable_bazel() {
  local name bazel answer
  for name in bazelisk bazel; do
    bazel=$(type -P "$name") || continue
    # A link of that name to this script would run itself for ever.
    [[ $(readlink -f -- "$bazel") != "$BAZELW_REPO/bazelw" ]] || continue
    answer=$CACHE/probe-$(hash_of "$bazel" "$(stat -Lc '%i %Y' -- "$bazel")" "$(<"$BAZELW_REPO/.bazelversion")")
    if ! answer_is_fresh "$answer"; then
      make_cache
      say "checking whether $bazel reaches a registry (at most $PROBE_SECONDS s, then remembered)"
      if probe "$bazel"; then echo yes >"$answer"; else echo no >"$answer"; fi
    fi
    if [[ $(<"$answer") == yes ]]; then
      printf '%s' "$bazel"
      return
    fi
  done
  return 1
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
