#!/usr/bin/env bash
# generate.sh LIBRARY TARGET: writes into Generated/ the Swift code that calls this library (a `.a`, or an
# unstripped `.so`), the C header and its module map. TARGET is cargo's target folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$1 target=$2
fresh=$target/bindgen/swift
cargo build --quiet --locked --manifest-path "$here/../bindgen/Cargo.toml" --target-dir "$target/bindgen"
"$target/bindgen/debug/evenkeel-bindgen" generate "$library" --language swift --no-format --out-dir "$fresh"
# The generator's own map uses modules of Apple's alone.
printf 'module evenkeel_ffiFFI {\n  header "evenkeel_ffiFFI.h"\n  export *\n}\n' >"$fresh/module.modulemap"

place() { # place FILE FOLDER: if it changed, so that Swift does not compile it anew
  mkdir -p "$here/Generated/$2"
  cmp -s "$fresh/$1" "$here/Generated/$2/$1" || cp "$fresh/$1" "$here/Generated/$2/$1"
}
place evenkeel_ffi.swift EvenkeelFFI
place evenkeel_ffiFFI.h evenkeel_ffiFFI
place module.modulemap evenkeel_ffiFFI
