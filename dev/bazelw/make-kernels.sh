#!/usr/bin/env bash
# Fetches the kernels that tests boot: a folder for each, with its packages
# unpacked in it.
# Usage: make-kernels.sh ROOT FOLDER KERNELS
# Called by setup.sh in a mount and process namespace of its own. What it prints
# is a log; file descriptor 3 is the user's.
set -euo pipefail
umask 022

root=$1 new=$2 kernels=$3

say() { printf 'bazelw: %s\n' "$*" >&3; }

in_root() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TMPDIR=/var/tmp \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    chroot "$root" "$@"
}

# apt COMMAND...: a program of apt that knows these suites only, and all cpus that
# kernels are for. The root's own lists and settings stay as they are.
apt() {
  in_root env -C /var/tmp "$1" -o Dir::Etc::sourcelist=/var/lib/apt/sources.list -o Dir::Etc::sourceparts=/dev/null \
    -o APT::Architectures="$architectures" -o Acquire::Languages=none -o APT::Sandbox::User=root "${@:2}"
}

architectures=$(in_root dpkg --print-architecture),$(awk '/^[^#]/ { print $3 }' "$kernels" | sort -u | paste -sd,)

work=$new/work
mkdir -p -- "$work"/{lists/lists/partial,cache/archives/partial,files}
mount --bind "$work/lists" "$root/var/lib/apt"
mount --bind "$work/cache" "$root/var/cache/apt"
mount --bind "$work/files" "$root/var/tmp"
mount --bind /dev "$root/dev"

mirror=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
# Signatures are checked as always. That an index is of late is not: a mirror
# that stands still has older kernels, and the versions are compared below.
awk -v mirror="$mirror" '/^[^#]/ { print "deb [arch=" $3 " check-valid-until=no]", mirror, $2, "main" }' "$kernels" |
  sort -u >"$work/lists/sources.list"
apt apt-get --error-on=any update

while read -r name suite arch known; do
  [[ -n $name && $name != \#* ]] || continue
  # Those for clouds are small. Not every architecture has one.
  image=$(for package in "linux-image-cloud-$arch" "linux-image-$arch"; do
    apt apt-cache show "$package:$arch/$suite" 2>/dev/null || true
  done | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1)
  # Since 7.2 the image is a package without files, of what makes up a kernel.
  mapfile -t packages < <(apt apt-cache depends "$image:$arch" |
    grep -oE "linux-(base|binary|modules)-[0-9][^ ]*-$arch" | sort -u)
  rm -f -- "$work"/files/*.deb
  apt apt-get download "${packages[@]/%/:$arch}" "$image:$arch"
  mkdir -p -- "$work/files/$name"
  for package in "$work"/files/*.deb; do
    in_root dpkg-deb --extract "/var/tmp/${package##*/}" "/var/tmp/$name"
  done
  rm -rf -- "$work/files/$name/usr/share"
  mv -- "$work/files/$name" "$new/$name"

  version=$(apt apt-cache show "$image:$arch" | sed -n 's/^Version: //p' | head -n 1)
  [[ $version == "$known" || $version == "$known"[.+~-]* ]] ||
    say "warning: Debian's $suite has the kernel $version for $arch by now, and $known is what the tests are known to pass on; it goes by the name of $name: should tests fail in it, look there first, and keep dev/bazelw/kernels up to date"
done <"$kernels"

umount "$root/var/tmp"
rm -rf -- "$work"
