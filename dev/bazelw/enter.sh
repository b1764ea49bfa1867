#!/usr/bin/env bash
# Builds the file system that Bazel sees, in the mount namespace it was started
# in, and becomes the command.
# Usage: enter.sh ROOT EMPTY_DIRECTORY NAME [VISIBLE...] -- COMMAND...
set -euo pipefail

root=$1 new=$2 name=$3
shift 3

# What the caller has, before anything is added.
mounts=$(</proc/self/mountinfo)

# A tree of its own, so that the shared root stays as it is. Unbindable, so that
# the host's directories below can be bound although this one is inside of them.
mount -t tmpfs -o mode=755 bazelw "$new"
mount --make-unbindable "$new"

for dir in usr etc var; do
  mkdir "$new/$dir"
  mount --bind "$root/$dir" "$new/$dir"
done
cp -P -- "$root"/bin "$root"/sbin "$root"/lib* "$new/"
# `ip netns` and others write here; nothing of the host's /run is needed.
mkdir "$new/run"

for path in /*; do
  case $path in
    /usr | /etc | /var | /bin | /sbin | /lib* | /run | /lost+found) continue ;;
  esac
  if [[ -L $path ]]; then
    cp -P -- "$path" "$new$path"
  elif [[ -d $path ]]; then
    mkdir "$new$path"
    # With what is mounted below: cgroups, tracefs, a disk for the sources.
    mount --rbind "$path" "$new$path"
  fi
done

while [[ $1 != -- ]]; do
  if [[ -d $1 ]]; then
    mkdir -p -- "$new$1"
    mount --rbind "$1" "$new$1"
  elif [[ -e $1 ]]; then
    mkdir -p -- "$(dirname -- "$new$1")"
    [[ -e $new$1 ]] || : >"$new$1"
    mount --bind "$(realpath -- "$1")" "$new$1"
  fi
  shift
done
shift

# Other workspaces' servers share these.
for dir in usr etc; do
  mount -o remount,bind,ro "$new/$dir"
done

printf '%s\n' "$mounts" >"$new/.bazelw.mounts"
printf '%s' "$name" >"$new/.bazelw"
mkdir "$new/.old"
# Not chroot: a process in one may not make user namespaces, and Bazel's sandbox
# is built of them.
cd -- "$new"
pivot_root . .old
umount --lazy /.old
rmdir /.old
mount --make-private /
exec "$@"
