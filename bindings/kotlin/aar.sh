#!/usr/bin/env bash
# The Android archive: the library for three kinds of phones beside the Kotlin classes. Never run so far, for want of an
# NDK; what it needs is looked at first, and what is missing is named.
#
#   bindings/kotlin/aar.sh --dry     only look
#   bindings/kotlin/aar.sh           make bindings/kotlin/target/evenkeel.aar
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
out=$here/target
abis=(arm64-v8a armeabi-v7a x86_64)
targets=(aarch64-linux-android armv7-linux-androideabi x86_64-linux-android)

missing=0
need() { # need WHAT HOW-TO-GET-IT COMMAND…
  local what=$1 how=$2
  shift 2
  if "$@" >/dev/null 2>&1; then echo "there:   $what"; else echo "missing: $what ($how)"; missing=$((missing + 1)); fi
}
need 'the Android NDK' 'ANDROID_NDK_HOME has to name its folder' test -d "${ANDROID_NDK_HOME:-}/toolchains"
need cargo-ndk 'cargo install cargo-ndk' cargo ndk --version
for target in "${targets[@]}"; do
  need "Rust for $target" "rustup target add $target" test -d "$(rustc --print sysroot)/lib/rustlib/$target/lib"
done
need 'a JDK and Maven' 'see README.md' bindings/kotlin/build.sh ready
need zip 'apt-get install zip' command -v zip
manifest() {
  cat <<'END'
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="dev.evenkeel">
  <uses-sdk android:minSdkVersion="26"/>
  <uses-permission android:name="android.permission.INTERNET"/>
</manifest>
END
}

if [ "${1:-}" = --dry ]; then
  known=$(rustc --print target-list)
  for target in "${targets[@]}"; do
    grep -qx "$target" <<<"$known" || { echo "rustc knows no target $target" >&2; exit 1; }
  done
  echo "ok: rustc knows the ${#targets[@]} targets"
  [ "$missing" -eq 0 ] && echo 'all there' || echo "$missing missing: the archive cannot be made here"
  echo "left out: building for Android, the archive, an app that uses it"
  exit 0
fi
[ "$missing" -eq 0 ] || exit 2

rm -rf "$out/aar"
mkdir -p "$out/aar/jni"
# 16 KiB pages are what Android 15 asks for.
export RUSTFLAGS='-C link-arg=-Wl,-z,max-page-size=16384'
for n in "${!targets[@]}"; do
  EVENKEEL_CARGO="cargo ndk -t ${abis[n]} --platform 26" bindings/library.sh release-small cdylib
  mkdir -p "$out/aar/jni/${abis[n]}"
  cp "${CARGO_TARGET_DIR:-target}/${targets[n]}/release-small/libevenkeel_ffi.so" "$out/aar/jni/${abis[n]}"
done
unset RUSTFLAGS
bindings/kotlin/build.sh package
# The same classes, without the library of this machine.
cp "$out"/evenkeel-0.1.0.jar "$out/aar/classes.jar"
zip -q -d "$out/aar/classes.jar" '*/libevenkeel_ffi.*'
manifest >"$out/aar/AndroidManifest.xml"
touch "$out/aar/R.txt"
(cd "$out/aar" && zip -q -r ../evenkeel.aar .)
ls -l "$out/evenkeel.aar"
