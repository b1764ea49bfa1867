# shellcheck shell=bash
# The registry of this machine: a folder that answers for the modules that this
# repository needs, with what can be had without the central registry.

# Where each module comes from: from Debian's packages (a path inside the root),
# or from set_up_modules.
declare -A MODULE_PATH=(
  [bazel_features]=/usr/share/bazel/tools/features
  [bazel_skylib]=/usr/share/bazel/tools/skylib
  [platforms]=/usr/share/bazel/tools/platforms
  [rules_cc]=/usr/share/bazel/rules/cc
  [rules_java]=/usr/share/bazel/rules/java
  [rules_license]=/usr/share/bazel/rules/license
  [rules_proto]=/usr/share/bazel/rules/proto
  [rules_python]=/usr/share/bazel/rules/python
  [rules_shell]=/usr/share/bazel/rules/shell
)

# required MODULE: the version of a Go module that go.mod requires.
required() {
  awk -v module="$1" '$1 == "require" { $0 = substr($0, 9) } $1 == module { print $2; exit }' "$BAZELW_REPO/go.mod"
}

# Two rulesets are Go modules as well, and go.mod requires them.
RULES_GO=github.com/bazelbuild/rules_go
GAZELLE=github.com/bazelbuild/bazel-gazelle
GAZELLE_V2=github.com/bazel-contrib/bazel-gazelle/v2

set_up_modules() {
  local version stub
  local -a versions=()
  for module in "$RULES_GO" "$GAZELLE" "$GAZELLE_V2"; do
    version=$(required "$module")
    [[ -n $version ]] || die "go.mod does not require $module, whose copy stands in for the registry's: add it with 'go get -tool'"
    versions+=("$module@$version")
  done
  MODULES=$CACHE/modules-$(hash_of "${versions[@]}" "$ROOT" "$(cd "$BAZELW_PARTS" && find modules registry.sh -type f -print0 | sort -z | xargs -0 sha256sum)")
  MODULE_PATH[rules_go]=$MODULES/rules_go
  MODULE_PATH[gazelle]=$MODULES/gazelle
  for stub in "$BAZELW_PARTS"/modules/*/; do
    stub=$(basename "$stub")
    MODULE_PATH[$stub]=$MODULES/$stub
  done
  [[ -d $MODULES ]] || with_lock modules make_modules "${versions[@]}"
}

make_modules() {
  [[ ! -d $MODULES ]] || return 0
  local new=$MODULES.new
  say "fetching rules_go and gazelle through the Go module proxy (about 10 s)"
  rm -rf -- "$new"
  cp -R -- "$BAZELW_PARTS/modules" "$new"
  copy_go_module "$1" "$new/rules_go"
  copy_go_module "$2" "$new/gazelle"
  # Gazelle's go.work names v2 as a folder beside it; Gazelle's module file
  # reads the checksums of both, and v2 has no dependency.
  copy_go_module "$3" "$new/gazelle/v2"
  touch "$new/gazelle/v2/go.sum"

  # The headers of the registry's libbpf, by the names that it exports.
  mkdir -p -- "$new/libbpf/src" "$new/libbpf/include/uapi/linux"
  cp -- "$ROOT"/usr/include/bpf/*.h "$new/libbpf/src/"
  cp -- "$ROOT"/usr/include/linux/{bpf,bpf_common,btf,fcntl,if_link,if_xdp,netdev,netlink,openat2,perf_event,pkt_cls,pkt_sched}.h \
    "$new/libbpf/include/uapi/linux/"

  write_bazelrc "$new/bazelrc"
  mv -T -- "$new" "$MODULES"
}

# What a Bazel without the central registry needs beside .bazelrc.
write_bazelrc() {
  cat >"$1" <<EOF
# Outside of the repository, and apart from the outputs of other Bazels.
startup --output_user_root=$CACHE/out

common --registry=file://$MODULES/registry
# The lockfile would pin what only this registry says.
common --lockfile_mode=off
# WORKSPACE files ask for archives from the network.
common --noenable_workspace

# Clones and scratch workspaces share what they build. Bazel drops what was used
# longest ago when the cache outgrows its bound.
common --disk_cache=$CACHE/disk
common --experimental_disk_cache_gc_max_size=5G
EOF
}

copy_go_module() {
  local module=$1 to=$2 dir out
  # Outside of any module: what else go.mod requires must not get in the way.
  out=$(cd / && GOWORK=off go mod download -json "$module" 2>&1) ||
    die "cannot download $module: check the network and GOPROXY ($(go env GOPROXY)); go says: $(awk -F'"' '/"Error"/ { print $4 }' <<<"$out")"
  dir=$(awk -F'"' '$2 == "Dir" { print $4 }' <<<"$out")
  cp -R -- "$dir" "$to"
  chmod -R u+w -- "$to"
  # The zip file of a Go module does not keep the execute bits.
  find "$to" -type f -exec awk 'FNR == 1 && /^#!/ { printf "%s%c", FILENAME, 0 } { nextfile }' {} + | xargs -0r chmod +x --
}

# The registry has an entry for every version that anybody asks for, and all of
# a module's entries lead to the one copy there is.
set_up_registry() {
  local file name version
  REGISTRY=$MODULES/registry
  # Bazel's own code asks for this one.
  [[ -d $REGISTRY ]] || add_to_registry platforms 0.0.7
  # Only the root module's overrides count, so one level finds all overrides.
  local -a asking=("$BAZELW_REPO/MODULE.bazel")
  if [[ -n $WORKSPACE ]]; then
    for file in "$WORKSPACE"/*MODULE.bazel; do
      [[ -f $file ]] && asking+=("$file")
    done
    while read -r name file; do
      [[ $file == /* ]] || file=$WORKSPACE/$file
      [[ ! -f $file/MODULE.bazel ]] || asking+=("$file/MODULE.bazel")
    done < <(cat -- "${asking[@]:1}" </dev/null | calls local_path_override module_name path)
  fi
  if [[ ! -e $REGISTRY/modules/rules_go ]]; then
    asking+=("$ROOT/usr/share/bazel/embedded_tools/MODULE.bazel")
    for name in "${!MODULE_PATH[@]}"; do
      asking+=("$(module_file "$name")")
    done
  fi
  while read -r name version; do
    [[ -n ${MODULE_PATH[$name]:-} && -n $version ]] || continue
    [[ -e $REGISTRY/modules/$name/$version/source.json ]] || add_to_registry "$name" "$version"
  done < <(cat -- "${asking[@]}" | calls "bazel_dep|single_version_override" "name|module_name" version | sort -u)
}

module_file() {
  local path=${MODULE_PATH[$1]}
  [[ $path != /usr/* ]] || path=$ROOT$path
  printf '%s' "$path/MODULE.bazel"
}

# calls FUNCTIONS KEYS1 KEYS2: reads module files and prints, for each call of
# one of the functions, the string values of two keys. Enough Starlark for the
# form that buildifier gives a module file. All three are alternatives as in a|b.
calls() {
  awk -v functions="$1" -v keys1="$2" -v keys2="$3" '
    function value(call, keys,   part) {
      if (!match(call, "(^|[ ,(])(" keys ") *= *\"[^\"]*\"")) return ""
      part = substr(call, RSTART, RLENGTH)
      sub(/^[^"]*"/, "", part)
      sub(/".*/, "", part)
      return part
    }
    { sub(/(^|[ \t])#.*/, ""); text = text " " $0 }
    END {
      while (match(text, "(^|[ \t])(" functions ")\\(")) {
        text = substr(text, RSTART + RLENGTH)
        call = substr(text, 1, index(text, ")"))
        print value(call, keys1), value(call, keys2)
      }
    }'
}

add_to_registry() {
  local name=$1 version=$2 entry=$REGISTRY/modules/$1/$2 new
  warn_if_newer "$name" "$version"
  mkdir -p -- "$entry"
  new=$(mktemp -d "$MODULES/entry.XXXXXX")
  # Bazel wants the module file to say the version that was asked for.
  awk -v version="$version" '
    /^module\(/ { head = 1 }
    head {
      sub(/(^|[ \t])#.*/, "")
      text = text " " $0
      if (/\)/) {
        head = 0
        sub(/module\(/, "& ", text)
        sub(/ version *= *"[^"]*" *,?/, " ", text)
        sub(/^ module\(/, "module(version = \"" version "\",", text)
        print text
      }
      next
    }
    { print }' "$(module_file "$name")" >"$new/MODULE.bazel"
  printf '{"type": "local_path", "path": "%s"}\n' "${MODULE_PATH[$name]}" >"$new/source.json"
  # The entry counts from its source.json on, so that one comes last.
  mv -- "$new/MODULE.bazel" "$entry/"
  mv -- "$new/source.json" "$entry/"
  rmdir -- "$new"
}

# A newer ruleset than there is here may be asked for because it is needed.
warn_if_newer() {
  local name=$1 version=$2 module have
  case $name in
    rules_go) module=$RULES_GO ;;
    gazelle) module=$GAZELLE ;;
    *) return 0 ;;
  esac
  have=$(required "$module")
  have=${have#v}
  if [[ $have != "$version" && $(printf '%s\n' "$have" "$version" | sort -V | tail -n 1) == "$version" ]]; then
    say "warning: $name $version is asked for; without a registry it gets $have"
  fi
}
