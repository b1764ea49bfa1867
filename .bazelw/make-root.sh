#!/usr/bin/env bash
# Makes the Debian root that Bazel runs in. Called by setup.sh, in a mount and
# process namespace of its own. Its output is a log; file descriptor 3 is the user's.
set -euo pipefail

suite=$1 root=$2 archives=$3 packages=$4

say() { printf 'bazelw: %s\n' "$*" >&3; }

mkdir -p -- "$root" "$archives/partial"

say "[1/2] base system of Debian $suite (about 25 s)"
# A debootstrap older than the suite has no script for it; all suites since
# Debian's third release use the one of unstable.
script=/usr/share/debootstrap/scripts/$suite
[[ -e $script ]] || script=${script%/*}/sid
# The mirror is debootstrap's own choice; the script's name can only follow it.
debootstrap --variant=minbase --include=ca-certificates --cache-dir="$archives" \
  "$suite" "$root" "" "$script"

declare -A known=()
while read -r name version; do
  [[ -z $name || $name == \#* ]] || known[$name]=$version
done <"$packages"

say "[2/2] Bazel, clang and libbpf (about 60 s)"
mountpoint -q -- "$root/proc" || mount -t proc proc "$root/proc"
mount --bind "$archives" "$root/var/cache/apt/archives"
# A package's daemon must not start, nor a manual page be unpacked.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/bazelw"
in_root() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    chroot "$root" "$@"
}
# No fsync per file: a root whose set-up does not come to its end is thrown away.
in_root apt-get install -y --no-install-recommends \
  -o Dpkg::Options::=--force-unsafe-io "${!known[@]}"

# Of Debian's settings for all users, only where Bazel's own files are. The rest
# keeps every sandbox, and overrides modules by hand, which fails in a workspace
# that does not need one of them: registry.sh serves those instead.
sed -i '/^startup /!d' "$root/etc/bazel/bazelrc"

for name in "${!known[@]}"; do
  [[ -n ${known[$name]} ]] || continue
  version=$(in_root dpkg-query -f '${Version}' -W "$name")
  version=${version#*:}
  [[ $version == "${known[$name]}" || $version == "${known[$name]}"[.+~-]* ]] ||
    say "warning: $name is $version now and ${known[$name]} is what is known to work; should Bazel misbehave, that is where to look first"
done

umount "$root/var/cache/apt/archives"
# What the host has at the same place is mounted over these.
rm -rf -- "${root:?}"/{home,root,tmp,media,mnt,opt,srv,boot,run}
