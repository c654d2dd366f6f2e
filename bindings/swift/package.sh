#!/usr/bin/env bash
# The library for Apple's systems: Generated/EvenkeelCore.xcframework, and the Swift code that calls it.
#
#   package.sh           builds it; needs macOS, Xcode and rustup
#   package.sh check     checks what can be checked on any machine, and says what was not
#
# Not run so far: no Mac was at hand. `check` was.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
target=$(cd "$repo" && realpath "${CARGO_TARGET_DIR:-target}" 2>/dev/null || echo "$repo/target")
devices=(aarch64-apple-ios)
simulators=(aarch64-apple-ios-sim x86_64-apple-ios)
desktops=(aarch64-apple-darwin x86_64-apple-darwin)
export IPHONEOS_DEPLOYMENT_TARGET=17.0 MACOSX_DEPLOYMENT_TARGET=14.0

library() { # library ARG…: the static one alone; beside the others its code stays bitcode, which Xcode cannot link
  "$here/../library.sh" release-small staticlib "$@"
}

build() { # build TARGET…
  local one
  for one in "$@"; do
    rustup target add "$one"
    library --target "$one"
  done
}

join() { # join NAME TARGET…: one library of several processors'
  local name=$1 libraries=()
  shift
  for one in "$@"; do libraries+=("$target/$one/release-small/libevenkeel_ffi.a"); done
  mkdir -p "$target/xcframework/$name"
  lipo -create "${libraries[@]}" -output "$target/xcframework/$name/libevenkeel_ffi.a"
}

package() {
  [ "$(uname)" = Darwin ] || { echo "an XCFramework is made on a Mac; here: $0 check" >&2; return 1; }
  build "${devices[@]}" "${simulators[@]}" "${desktops[@]}"
  join ios "${devices[@]}"
  join simulator "${simulators[@]}"
  join macos "${desktops[@]}"
  "$here/generate.sh" "$target/xcframework/macos/libevenkeel_ffi.a" "$target"
  local name arguments=()
  for name in ios simulator macos; do
    arguments+=(-library "$target/xcframework/$name/libevenkeel_ffi.a" -headers "$here/Generated/evenkeel_ffiFFI")
  done
  rm -rf "$here/Generated/EvenkeelCore.xcframework"
  xcodebuild -create-xcframework "${arguments[@]}" -output "$here/Generated/EvenkeelCore.xcframework"
}

check() {
  local one known
  known=$(rustc --print target-list)
  for one in "${devices[@]}" "${simulators[@]}" "${desktops[@]}"; do
    grep -qx "$one" <<<"$known" || { echo "rustc knows no target $one" >&2; return 1; }
  done
  echo "ok: rustc knows ${#devices[@]} + ${#simulators[@]} + ${#desktops[@]} targets"
  library --quiet
  [ -s "$target/release-small/libevenkeel_ffi.a" ]
  echo "ok: the profile builds a static library, of this machine's kind"
  "$here/generate.sh" "$target/release-small/libevenkeel_ffi.a" "$target"
  # What the header declares has to be in the library.
  local declared held
  declared=$(grep -oE '\buniffi_evenkeel_ffi_fn_[a-z0-9_]+' "$here/Generated/evenkeel_ffiFFI/evenkeel_ffiFFI.h" | sort -u)
  held=$(nm --defined-only "$target/release-small/libevenkeel_ffi.a" 2>/dev/null | sed -n 's/.* T //p' | sort -u)
  one=$(comm -23 <(grep -v '_init_callback_vtable' <<<"$declared") <(echo "$held"))
  [ -z "$one" ] || { echo "declared, and not in the library: $one" >&2; return 1; }
  echo "ok: the stripped library holds all $(wc -l <<<"$declared") functions that the header declares"
  echo "left out: targets of Apple's, lipo, xcodebuild (no Mac)"
}

case ${1:-package} in
  package) package ;;
  check) check ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
