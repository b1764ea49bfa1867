#!/usr/bin/env bash
# pack.sh CLANG.tar: packs the clang on PATH, with what it loads from beside it.
set -euo pipefail
archive=$PWD/$1
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

clang=$(command -v clang) || { echo "needs clang on PATH" >&2; exit 1; }
resources=$(clang -print-resource-dir)
clang=$(readlink -f -- "$clang")
mkdir -p "$scratch/llvm/bin" "$scratch/llvm/lib/clang/${resources##*/}"
cp -- "$clang" "$scratch/llvm/bin/clang"
cp -rL -- "$resources/include" "$scratch/llvm/lib/clang/${resources##*/}/include"
for library in "${clang%/bin/*}"/lib/libclang-cpp.so*; do
    if [[ -f $library ]]; then cp -L -- "$library" "$scratch/llvm/lib/"; fi
done
echo '#define FROM_THE_ARCHIVE 1' >>"$scratch/llvm/lib/clang/${resources##*/}/include/stdbool.h"
tar -C "$scratch" -cf "$archive" llvm
