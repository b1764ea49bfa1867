#!/usr/bin/env bash
# Makes the Debian root that Bazel runs in.
# Usage: make-root.sh SUITE ROOT ARCHIVES PACKAGES
# Called by setup.sh in a mount and process namespace of its own. What it prints
# is a log; file descriptor 3 is the user's.
set -euo pipefail
umask 022

suite=$1 root=$2 archives=$3 packages=$4

say() { printf 'bazelw: %s\n' "$*" >&3; }

in_root() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    chroot "$root" "$@"
}

mkdir -p -- "$root" "$archives/partial"

say "[1/2] base system of Debian $suite (20 to 40 s)"
# A debootstrap older than the suite has no script for it, and the suite's is
# the one of unstable. Only with the mirror given can a script be, and an empty
# one stands for debootstrap's own choice.
script=/usr/share/debootstrap/scripts/$suite
[[ -e $script ]] || script=${script%/*}/sid
debootstrap --variant=minbase --include=ca-certificates --cache-dir="$archives" \
  "$suite" "$root" "" "$script"

declare -A known=()
while read -r name version; do
  [[ -z $name || $name == \#* ]] || known[$name]=$version
done <"$packages"

say "[2/2] Bazel, clang and libbpf (30 to 90 s)"
mountpoint -q -- "$root/proc" || mount -t proc proc "$root/proc"
mount --bind "$archives" "$root/var/cache/apt/archives"
# No package starts a daemon, and nobody reads a manual in here.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/bazelw"
# No fsync per file: a root whose set-up does not come to its end is thrown away.
in_root apt-get install -y --no-install-recommends \
  -o Dpkg::Options::=--force-unsafe-io "${!known[@]}"

for name in "${!known[@]}"; do
  [[ -n ${known[$name]} ]] || continue
  # shellcheck disable=SC2016 # dpkg-query's own variable
  version=$(in_root dpkg-query -f '${Version}' -W "$name")
  version=${version#*:}
  [[ $version == "${known[$name]}" || $version == "${known[$name]}"[.+~-]* ]] ||
    say "warning: $name is $version by now, and ${known[$name]} is what is known to work: should Bazel misbehave, look there first, and keep dev/bazelw/packages up to date"
done

# Of Debian's settings for all users, only where Bazel's own files are. The rest
# keeps every sandbox, and overrides modules by hand, which fails in a workspace
# that does not need one of them: registry.sh serves those instead.
sed -i '/^startup /!d' "$root/etc/bazel/bazelrc"
# Debian's Bazel does not know its own version: `bazel version` fails, and rules
# that ask take it for one of the future.
bazel=$root/usr/share/bazel
printf 'build.label=%s\n' "$(<"$bazel/build-label.txt")" >"$bazel/build-data.properties"
in_root jar --update --file /usr/share/bazel/A-server.jar -C /usr/share/bazel build-data.properties

umount "$root/var/cache/apt/archives"
# The host's folders of these names stand in their places when Bazel runs.
rm -rf -- "${root:?}"/{boot,home,media,mnt,opt,root,run,srv,tmp}
