#!/usr/bin/env bash
# Tests of bazelw, as far as they are quick once it is set up: about a minute.
# Usage: dev/bazelw/test.sh
set -euo pipefail

repo=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
bazelw=$repo/bazelw
scratch=$(mktemp -d)
passed=0 failed=0

cleanup() {
  (cd -- "$scratch/ws" && "$bazelw" shutdown) >/dev/null 2>&1 || true
  rm -rf -- "$scratch"
}
trap cleanup EXIT

# check NAME WANT GOT: WANT is a pattern.
check() {
  # shellcheck disable=SC2053
  if [[ $3 == $2 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n  want: %s\n  got:  %s\n' "$1" "$2" "$3"
  fi
}

# status COMMAND...: its exit status, with its output in $scratch/output.
status() {
  local status=0
  "$@" >"$scratch/output" 2>&1 || status=$?
  echo "$status"
}

make_workspace() {
  mkdir -p -- "$scratch/ws/sub"
  cd -- "$scratch/ws"
  cat >MODULE.bazel <<EOF
module(name = "bazelw_test")
bazel_dep(name = "rules_bpf")
local_path_override(
    module_name = "rules_bpf",
    path = "$repo",
)
EOF
  # Rules of its own, so that no toolchain has to be built.
  cat >defs.bzl <<'EOF'
def _impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, "#!/bin/bash\n" + ctx.attr.code, is_executable = True)
    return [DefaultInfo(executable = script)]

script = rule(implementation = _impl, attrs = {"code": attr.string()}, executable = True)
script_test = rule(implementation = _impl, attrs = {"code": attr.string()}, test = True)
EOF
  touch BUILD.bazel
  cat >sub/BUILD.bazel <<'EOF'
load("//:defs.bzl", "script", "script_test")

script(name = "run", code = "echo got $(cat) in $BUILD_WORKING_DIRECTORY with $#; exit 7")
script(name = "look", code = "cat $BUILD_WORKING_DIRECTORY/../../later/file")
script(name = "terminal", code = "test -t 0 && echo terminal")
script_test(name = "pass", code = "exit 0")
script_test(name = "fail", code = "exit 1")
genrule(name = "broken", outs = ["broken.txt"], cmd = "exit 1")
genrule(name = "slow", outs = ["slow.txt"], cmd = "touch /tmp/bazelw_test_slow; sleep 600", tags = ["no-sandbox"])
EOF
  cd sub
}

test_running() {
  local mounts pid
  make_workspace
  mounts=$(wc -l </proc/mounts)
  check "a test that passes" 0 "$(status "$bazelw" test :pass)"
  pid=$("$bazelw" info server_pid 2>/dev/null)
  check "a test that fails" 3 "$(status "$bazelw" test :fail)"
  check "a build that fails" 1 "$(status "$bazelw" build :broken)"
  check "an unknown command" 2 "$(status "$bazelw" no-such-command)"
  check "status of what is run" 7 "$(status "$bazelw" run :run -- a b <<<"input")"
  check "stdin, directory and arguments" "*got input in $scratch/ws/sub with 2*" "$(<"$scratch/output")"
  check "the terminal" "*terminal*" "$(script -qec "$bazelw run :terminal" /dev/null </dev/null)"
  check "the dependency by path" 0 "$(status "$bazelw" mod graph)"
  check "the dependency by path" "*rules_bpf@_*" "$(<"$scratch/output")"
  check "the server stays" "$pid" "$("$bazelw" info server_pid 2>/dev/null)"
  check "mounts on the host" "$mounts" "$(wc -l </proc/mounts)"
  test_later_mount
  test_signal INT
  test_signal TERM
}

# What is mounted while a server runs is there for the next call, which has to start
# another for it; the calls after that have not.
test_later_mount() {
  local pid
  mkdir -- "$scratch/later"
  check "a later mount" 0 "$(status unshare --mount --propagation private sh -c \
    "mount -t tmpfs none '$scratch/later' && echo seen >'$scratch/later/file' && exec '$bazelw' run :look")"
  check "a later mount" "*restarting the Bazel server*$scratch/later*seen*" "$(<"$scratch/output")"
  pid=$("$bazelw" info server_pid 2>/dev/null)
  check "the server stays" 0 "$(status "$bazelw" run :look)"
  check "the server stays" "$pid" "$("$bazelw" info server_pid 2>/dev/null)"
}

# test_signal NAME: it ends a build, which leaves the server running.
test_signal() {
  local pid status=0 tries=0
  rm -f /tmp/bazelw_test_slow
  # A background process of a script ignores SIGINT, unless told otherwise.
  env --default-signal=INT "$bazelw" build :slow >"$scratch/output" 2>&1 &
  pid=$!
  while [[ ! -e /tmp/bazelw_test_slow ]] && ((tries++ < 300)); do sleep 0.1; done
  kill "-$1" "$pid"
  wait "$pid" || status=$?
  check "SIG$1" 8 "$status"
  rm -f /tmp/bazelw_test_slow
}

# The messages for what is missing. No Bazel on PATH here, so that they count.
test_messages() {
  local bare=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin go
  go=$(dirname -- "$(type -P go)")
  check "no home" 1 "$(status env -u HOME -u XDG_CACHE_HOME -u RULES_BPF_BAZELW_CACHE "$bazelw" version)"
  check "no home" "bazelw: *set RULES_BPF_BAZELW_CACHE*" "$(<"$scratch/output")"
  check "a space" 1 "$(status env RULES_BPF_BAZELW_CACHE="$scratch/a b" "$bazelw" version)"
  check "a space" "bazelw: *has a space*" "$(<"$scratch/output")"
  if [[ -n $(PATH=$bare type -P bazel || PATH=$bare type -P bazelisk) ]]; then
    echo "SKIPPED messages of set-up: there is a Bazel in the directories of every PATH"
    return
  fi
  export RULES_BPF_BAZELW_CACHE=$scratch/cache
  check "no Go" 1 "$(status env PATH="$bare" "$bazelw" version)"
  check "no Go" "bazelw: go is not on PATH: install *" "$(<"$scratch/output")"
  chmod 755 "$scratch"
  install -d -o 65534 "$scratch/nobody"
  check "no root" 1 "$(PATH=$bare:$go RULES_BPF_BAZELW_CACHE=$scratch/nobody status setpriv --reuid=65534 --regid=65534 --clear-groups "$bazelw" version)"
  check "no root" "bazelw: *needs root*" "$(<"$scratch/output")"
  check "no mounts" 1 "$(PATH=$bare:$go status setpriv --bounding-set -all --inh-caps -all "$bazelw" version)"
  check "no mounts" "bazelw: *CAP_SYS_ADMIN*" "$(<"$scratch/output")"
  mkdir -p -- "$scratch/cache"
  check "no disk space" 1 "$(PATH=$bare:$go status unshare --mount sh -c \
    "mount -t tmpfs -o size=9m none '$scratch/cache' && exec '$bazelw' version")"
  check "no disk space" "*bazelw: $scratch/cache has 9 MB of free disk space*" "$(<"$scratch/output")"
  unset RULES_BPF_BAZELW_CACHE
}

# A stand-in for Bazel, whose registry answers when the file `online` is there.
test_probe() {
  chmod 755 "$scratch"
  mkdir -- "$scratch/bin"
  install -d -o 65534 "$scratch/probe"
  cat >"$scratch/bin/bazel" <<EOF
#!/bin/sh
echo called >>"$scratch/calls"
case "\$*" in
*"mod graph") test -e "$scratch/online" ;;
*) echo "bazel got: \$*"; exit 5 ;;
esac
EOF
  chmod +x "$scratch/bin/bazel"
  cp -- "$scratch/bin/bazel" "$scratch/bazelisk"
  local -a env=(env "PATH=$scratch/bin:$PATH" "RULES_BPF_BAZELW_CACHE=$scratch/probe")
  touch "$scratch/online"
  check "a Bazel with a registry" 5 "$(status "${env[@]}" "$bazelw" build //a --b)"
  check "a Bazel with a registry" "*running $scratch/bin/bazel, *bazel got: build //a --b" "$(<"$scratch/output")"
  rm -- "$scratch/online" "$scratch/calls"
  check "the answer is kept" 5 "$(status "${env[@]}" "$bazelw" test)"
  check "the answer is kept" "called" "$(<"$scratch/calls")"
  rm -- "$scratch"/probe/*
  check "a Bazel without a registry" 1 "$(status "${env[@]}" setpriv --reuid=65534 --regid=65534 --clear-groups "$bazelw" version)"
  ln -sf -- "$bazelw" "$scratch/bin/bazel"
  check "a link to bazelw itself" 1 "$(status "${env[@]}" setpriv --reuid=65534 --regid=65534 --clear-groups "$bazelw" version)"
  check "a link to bazelw itself" "bazelw: *needs root*" "$(<"$scratch/output")"
}

# No Bazel on PATH: stand-ins for Go and for the bazelisk that it builds.
test_bazelisk() {
  local host tool
  mkdir -p -- "$scratch/go" "$scratch/module"
  for tool in bash env readlink dirname realpath sha256sum cut mkdir find mktemp cp timeout chmod rm stat getent grep sort cat awk sed uname; do
    ln -s -- "$(type -P "$tool")" "$scratch/go/$tool"
  done
  cat >"$scratch/go/go" <<EOF
#!/bin/sh
case "\$1" in
mod) echo '	"Dir": "$scratch/module"' ;;
install) echo built >>"$scratch/calls"; mkdir -p "\$GOBIN" && cp "$scratch/bazelisk" "\$GOBIN/bazelisk" ;;
*) exit 1 ;;
esac
EOF
  chmod +x "$scratch/go/go"
  for host in no.such.host.invalid localhost; do
    rm -rf -- "$scratch/calls" "$scratch/probe"
    touch "$scratch/calls" "$scratch/online"
    chmod 666 "$scratch/calls"
    install -d -o 65534 "$scratch/probe"
    echo "const from = \"https://$host/bazel\"" >"$scratch/module/from.go"
    status setpriv --reuid=65534 --regid=65534 --clear-groups \
      env "PATH=$scratch/go" "RULES_BPF_BAZELW_CACHE=$scratch/probe" "$bazelw" build //a >/dev/null
    case $host in
      localhost)
        check "bazelisk" "*running bazelisk v*bazel got: build //a" "$(<"$scratch/output")"
        check "bazelisk" $'built\ncalled\ncalled' "$(<"$scratch/calls")"
        ;;
      *)
        check "no way to bazelisk" "*needs root*" "$(<"$scratch/output")"
        check "no way to bazelisk" "" "$(<"$scratch/calls")"
        ;;
    esac
  done
}

# Outputs go with their workspace, unless a server has them, and after a month without use.
test_outputs() {
  local got base sleeper cache=$scratch/outputs
  mkdir -p -- "$cache/out/cache" "$cache/there"
  for base in gone lately linked nameless open served there unused; do
    mkdir -p -- "$cache/out/$base/server" "$cache/out/$base/execroot"
    echo "$cache/there" >"$cache/out/$base/DO_NOT_BUILD_HERE"
    touch -d "4 hours ago" "$cache/out/$base/server"
  done
  for base in gone lately linked served; do
    echo "$cache/gone" >"$cache/out/$base/DO_NOT_BUILD_HERE"
  done
  : >"$cache/out/nameless/DO_NOT_BUILD_HERE"
  touch -d "40 days ago" "$cache/out/unused/server" "$cache/out/open/server"
  touch -- "$cache/out/lately/command.log" "$cache/out/open/command.log"
  mv -T -- "$cache/out/linked" "$cache/linked"
  ln -s -- "$cache/linked" "$cache/out/linked"
  mkdir -- "$cache/out/removed.1.gone"
  bash -c 'sleep 600; :' server "--output_base=$cache/out/served" &
  sleeper=$!
  echo "$sleeper" >"$cache/out/served/server/server.pid.txt"
  got=$(
    # shellcheck disable=SC2030,SC2031 # of this shell alone
    export RULES_BPF_BAZELW_CACHE=$cache
    # shellcheck disable=SC2030,SC2031,SC2034 # for what is read below
    BAZELW_PARTS=$repo/dev/bazelw
    # shellcheck source=dev/bazelw/common.sh
    source "$repo/dev/bazelw/common.sh"
    # shellcheck source=dev/bazelw/setup.sh
    source "$repo/dev/bazelw/setup.sh"
    # shellcheck source=dev/bazelw/run.sh
    source "$repo/dev/bazelw/run.sh"
    drop_outputs 2>&1
    free_mb() { echo 9; }
    warn_of_room "$cache/out/there" 2>&1
    warn_of_room "$cache/out/new" 2>&1
  )
  pkill -P "$sleeper"
  kill "$sleeper" 2>/dev/null || true
  wait "$sleeper" 2>/dev/null || true
  check "outputs that are kept" "cache lately linked nameless open served there" "$(cd "$cache/out" && echo *)"
  check "outputs that are kept" "*removing the outputs of $cache/gone,*removing the outputs of $cache/there,*" "$got"
  check "outputs behind a link" "execroot" "$(cd "$cache/linked" && echo e*)"
  check "little disk space" "*/there, which*$cache has 9 MB of free disk space*" "$got"
}

# Kernels are fetched for what tests, and for nothing else.
test_kernels() {
  local got
  got=$(
    # shellcheck disable=SC2030,SC2034 # for what is read below
    BAZELW_PARTS=$repo/dev/bazelw
    # shellcheck source=dev/bazelw/common.sh
    source "$repo/dev/bazelw/common.sh"
    # shellcheck source=dev/bazelw/setup.sh
    source "$repo/dev/bazelw/setup.sh"
    needs() { if needs_kernels "$@"; then echo "$*"; fi; }
    needs run //examples/minimal -- test
    needs build //...
    needs --max_idle_secs=5 test //...
    needs run --config=x //rules/tests/vm:vm_test_6_1
    needs cquery @bpf_kernels//:6.1
  )
  check "commands that need kernels" $'--max_idle_secs=5 test //...\nrun --config=x //rules/tests/vm:vm_test_6_1\ncquery @bpf_kernels//:6.1' "$got"
}

# The reading of module files.
test_calls() {
  local got
  got=$(
    # shellcheck source=dev/bazelw/registry.sh
    source "$repo/dev/bazelw/registry.sh"
    calls 'bazel_dep|single_version_override' 'name|module_name' version <<'EOF'
module(name = "a", version = "9")
bazel_dep(name = "one", version = "1.0")
# bazel_dep(name = "no", version = "0")
bazel_dep(
    name = "two",  # why (it is)
    dev_dependency = True,
    repo_name = "other",
    version = "2.0-rc1",
)
bazel_dep(name = "bare")
single_version_override(module_name = "three", patch_version = "8", version = "3")
EOF
  )
  check "reading module files" $'one 1.0\ntwo 2.0-rc1\nbare \nthree 3' "$got"
}

test_calls
test_kernels
test_outputs
test_probe
test_bazelisk
test_messages
test_running
echo "$passed passed, $failed failed"
((failed == 0))
