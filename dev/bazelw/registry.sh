# shellcheck shell=bash
# The registry of this machine: a directory that answers for the modules that this
# repository needs, with what can be had without the central registry.

# Two rulesets are Go modules as well.
readonly RULES_GO=github.com/bazelbuild/rules_go
readonly GAZELLE=github.com/bazelbuild/bazel-gazelle
readonly GAZELLE_V2=github.com/bazel-contrib/bazel-gazelle/v2
readonly MODULES_MB=200

# Where each module is: these come from Debian's packages, at a path inside the
# root; set_up_modules adds the others.
declare -A MODULE_PATH=(
  [bazel_skylib]=/usr/share/bazel/tools/skylib
  [platforms]=/usr/share/bazel/tools/platforms
  [rules_cc]=/usr/share/bazel/rules/cc
  [rules_java]=/usr/share/bazel/rules/java
  [rules_license]=/usr/share/bazel/rules/license
  [rules_proto]=/usr/share/bazel/rules/proto
  [rules_python]=/usr/share/bazel/rules/python
  [rules_shell]=/usr/share/bazel/rules/shell
)

# asked_version MODULE: the version of a Bazel module that MODULE.bazel asks for.
asked_version() {
  calls bazel_dep name version <"$BAZELW_REPO/MODULE.bazel" |
    awk -v module="$1" '$1 == module { print $2; exit }'
}

# required_version MODULE: the version of a Go module that gazelle/go.mod requires.
required_version() {
  awk -v module="$1" '$1 == "require" { $0 = substr($0, 9) } $1 == module { print $2; exit }' "$BAZELW_REPO/gazelle/go.mod"
}

set_up_modules() {
  local rules_go gazelle v2 stub
  rules_go=$(asked_version rules_go)
  gazelle=$(asked_version gazelle)
  v2=$(required_version "$GAZELLE_V2")
  [[ -n $rules_go && -n $gazelle ]] ||
    die "$BAZELW_REPO/MODULE.bazel asks for no version of rules_go or of gazelle, whose copies stand in for the registry's: bring the bazel_dep back"
  [[ -n $v2 ]] ||
    die "$BAZELW_REPO/gazelle/go.mod does not require $GAZELLE_V2, whose copy is a part of gazelle: bring it back with 'go get'"
  local -a wanted=("$RULES_GO@v$rules_go" "$GAZELLE@v$gazelle" "$GAZELLE_V2@$v2")
  # Named for all that is in it, the stubs and this file too.
  MODULES=$CACHE/modules-$(hash_of "${wanted[@]}" "$ROOT" \
    "$(cd -- "$BAZELW_PARTS" && find modules lcov registry.sh -type f -print0 | sort -z | xargs -0 sha256sum)")
  MODULE_PATH[rules_go]=$MODULES/rules_go
  MODULE_PATH[gazelle]=$MODULES/gazelle
  MODULE_PATH[bazel_features]=$MODULES/bazel_features
  for stub in "$BAZELW_PARTS"/modules/*/; do
    stub=$(basename -- "$stub")
    MODULE_PATH[$stub]=$MODULES/$stub
  done

  if [[ -d $MODULES ]]; then return; fi
  take_lock "$CACHE/setup.lock"
  if [[ ! -d $MODULES ]]; then make_modules "${wanted[@]}"; fi
  drop_lock
}

make_modules() {
  local new=$MODULES.new
  need_room "$MODULES_MB"
  say "fetching rules_go and gazelle as Go modules (about 5 s)"
  rm -rf -- "$new"
  cp -R -- "$BAZELW_PARTS/modules" "$new"
  copy_go_module "$1" "$new/rules_go"
  # Its default Go is a download from a site that is out of reach. The host's Go
  # stands in for it, which rules_go allows to root modules only.
  sed -i '/^go_sdk\.from_file(/,/^)/ { s/from_file/host/; /go_mod/d }' "$new/rules_go/MODULE.bazel"
  sed -i 's/fail("go_sdk\.host: cannot be used in non-root module.*/pass/' "$new/rules_go/go/private/extensions.bzl"
  copy_go_module "$2" "$new/gazelle"
  # Gazelle's go.work names v2 as a directory of its own, and its module file reads
  # the checksums of both; v2 has no dependencies and therefore no such file.
  copy_go_module "$3" "$new/gazelle/v2"
  touch "$new/gazelle/v2/go.sum"

  # Without what rules_go asks for since 0.64, and Bazel 7 does not have.
  cp -R -- "$ROOT/usr/share/bazel/tools/features" "$new/bazel_features"
  grep -q instrumented_files_info_has_baseline_coverage_files "$new/bazel_features/features.bzl" ||
    sed -i 's/^\( *\)instrumented_files_info_has_metadata_files = .*/&\n\1instrumented_files_info_has_baseline_coverage_files = False,/' "$new/bazel_features/features.bzl"

  # The headers that the registry's libbpf exports.
  mkdir -p -- "$new/libbpf/src" "$new/libbpf/include/uapi/linux"
  cp -- "$ROOT"/usr/include/bpf/*.h "$new/libbpf/src/"
  cp -- "$ROOT"/usr/include/linux/{bpf,bpf_common,btf,fcntl,if_link,if_xdp,netdev,netlink,openat2,perf_event,pkt_cls,pkt_sched}.h \
    "$new/libbpf/include/uapi/linux/"

  make_coverage_tools "$new/coverage_tools"
  write_bazelrc "$new/bazelrc"
  mv -T -- "$new" "$MODULES"
}

# copy_go_module MODULE@VERSION TO
copy_go_module() {
  local module=$1 to=$2 out dir
  # Outside of any Go module, so that nothing else of go.mod is in the way.
  out=$(cd / && GOWORK=off go mod download -json "$module" 2>&1) ||
    die "cannot download $module through GOPROXY=$(go env GOPROXY): check the network; go says: $(json_value Error <<<"$out")"
  dir=$(json_value Dir <<<"$out")
  cp -R -- "$dir" "$to"
  chmod -R u+w -- "$to"
  # The zip file of a Go module does not keep the execute bits.
  find "$to" -type f -exec awk 'FNR == 1 && /^#!/ { printf "%s%c", FILENAME, 0 } { nextfile }' {} + |
    xargs -0r chmod +x --
}

# make_coverage_tools TO: what Bazel would fetch for the command coverage, as a repository.
make_coverage_tools() {
  local out tool
  mkdir -p -- "$1"
  echo 'module(name = "remote_coverage_tools")' >"$1/MODULE.bazel"
  for tool in lcov_merger coverage_report_generator; do
    printf 'sh_binary(\n    name = "%s",\n    srcs = ["lcov"],\n    visibility = ["//visibility:public"],\n)\n' "$tool"
  done >"$1/BUILD.bazel"
  out=$(cd -- "$BAZELW_REPO" && CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false -o "$1/lcov" ./dev/bazelw/lcov 2>&1) ||
    die "cannot build $BAZELW_PARTS/lcov, which 'bazel coverage' needs; go says: $out"
}

# What a Bazel without the central registry needs beside .bazelrc.
write_bazelrc() {
  cat >"$1" <<EOF
# Outside of the repository, and apart from the outputs of other Bazels.
startup --output_user_root=$CACHE/out

common --registry=file://$MODULES/registry
# A lockfile would pin what only this registry says.
common --lockfile_mode=off
# What Bazel still adds for WORKSPACE files has to be downloaded.
common --noenable_workspace

# Bazel's own coverage output generator is a download as well.
common --override_repository=bazel_tools~remote_coverage_tools_extension~remote_coverage_tools=$MODULES/coverage_tools

# Clones and scratch workspaces share what they build. Bazel drops what was used
# longest ago when the cache outgrows its bound.
common --disk_cache=$CACHE/disk
common --experimental_disk_cache_gc_max_size=5G
# The same files in bazel-bin as without that cache, but for lists of inputs that were not
# read. Bazel before 9.2 keeps what is in such a list in memory, and with
# --remote_download_outputs=all takes the file that is not there for one to download: each
# build would look the action up again.
common --remote_download_outputs=toplevel
common '--remote_download_regex=.*(?<!\\.unused)'
EOF
}

# The registry has an entry for every version that anybody asks for, and all
# entries of a module lead to the one copy there is.
set_up_registry() {
  local file name version
  local registry=$MODULES/registry
  local -a asking=("$BAZELW_REPO/MODULE.bazel")

  if [[ ! -e $registry/complete ]]; then
    # Bazel's own code asks for this one.
    add_to_registry platforms 0.0.7
    asking+=("$ROOT/usr/share/bazel/embedded_tools/MODULE.bazel")
    for name in "${!MODULE_PATH[@]}"; do
      asking+=("$(module_file "$name")")
    done
  fi
  if [[ -n $WORKSPACE ]]; then
    for file in "$WORKSPACE"/*MODULE.bazel; do
      [[ ! -f $file ]] || asking+=("$file")
    done
    # What the workspace takes from directories asks for modules as well. Only the
    # root module may say so, so there are no further ones.
    while read -r name file; do
      [[ $file == /* ]] || file=$WORKSPACE/$file
      [[ ! -f $file/MODULE.bazel ]] || asking+=("$file/MODULE.bazel")
    done < <(cat -- "${asking[@]}" | calls local_path_override module_name path)
  fi

  while read -r name version; do
    if [[ -n ${MODULE_PATH[$name]:-} && -n $version && ! -e $registry/modules/$name/$version/source.json ]]; then
      add_to_registry "$name" "$version"
    fi
  done < <(cat -- "${asking[@]}" | calls 'bazel_dep|single_version_override' 'name|module_name' version | sort -u)
  [[ -e $registry/complete ]] || : >"$registry/complete"
}

# calls FUNCTIONS KEYS1 KEYS2: reads module files and prints, for each call of
# one of the functions, the string values of two keys. Each argument is one name,
# or several as in a|b. This is as much Starlark as module files are made of.
calls() {
  awk -v functions="$1" -v keys1="$2" -v keys2="$3" '
    function value(call, keys,   part) {
      if (!match(call, "(^|[ \t,])(" keys ") *= *\"[^\"]*\"")) return ""
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

module_file() {
  local path=${MODULE_PATH[$1]}
  [[ $path != /usr/* ]] || path=$ROOT$path
  printf '%s' "$path/MODULE.bazel"
}

# add_to_registry NAME VERSION
add_to_registry() {
  local name=$1 version=$2 entry=$MODULES/registry/modules/$1/$2 new
  warn_if_newer "$name" "$version"
  mkdir -p -- "$entry"
  new=$(mktemp -d -- "$MODULES/entry.XXXXXX")
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

# A ruleset newer than the one here may be asked for because it is needed. The
# other modules are older throughout, and known to do.
warn_if_newer() {
  local name=$1 version=$2 have
  case $name in
    rules_go | gazelle) have=$(asked_version "$name") ;;
    *) return 0 ;;
  esac
  [[ $(printf '%s\n' "$have" "$version" | sort -V | tail -n 1) == "$have" ]] ||
    say "warning: a module asks for $name $version, and gets $have as long as no registry is reached"
}
