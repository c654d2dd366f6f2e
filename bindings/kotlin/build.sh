#!/usr/bin/env bash
# The Kotlin package, from nothing but this checkout, Rust, a JDK (17 or later) and Maven.
#
#   bindings/kotlin/build.sh test      builds the library and the reference service, writes the code that calls the
#                                      library, compiles, runs every test; the last line is the sum
#   bindings/kotlin/build.sh ready     whether a JDK and Maven are here
#   bindings/kotlin/build.sh package   the jar with the library for this machine in it, in its small profile, looked at
#   bindings/kotlin/build.sh bench     what a call across the border costs, beside the same in Rust
#   bindings/kotlin/build.sh desktop [URL STORE]
#                                      starts the desktop sample; without arguments with a reference service of its own
#                                      (edge on port 8787, faults on 8788) and a store that goes with it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
out=$here/target

# The folder that JNA looks for the library in, and the library's name on this system.
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-x86-64 lib=libevenkeel_ffi.so ;;
  Linux-aarch64) platform=linux-aarch64 lib=libevenkeel_ffi.so ;;
  Darwin-arm64) platform=darwin-aarch64 lib=libevenkeel_ffi.dylib ;;
  Darwin-x86_64) platform=darwin-x86-64 lib=libevenkeel_ffi.dylib ;;
  *) echo "not tried on $(uname -sm)" >&2; exit 2 ;;
esac

generate() { # from the development build: a stripped library does not say what is in it
  cargo build --locked -p evenkeel-ffi -p recovery-check
  cargo build --locked --manifest-path bindings/bindgen/Cargo.toml --target-dir "$target/bindgen"
  local made=$out/generated.new
  rm -rf "$made"
  "$target/bindgen/debug/evenkeel-bindgen" generate "$target/debug/$lib" \
    --language kotlin --no-format --out-dir "$made"
  # An exception's message is the core's own line, in place of a list of its fields; and where a type was renamed,
  # the generator forgets to do so in one place.
  sed -i.bak -e '/^ *override val message$/,/^ *get() = /d' \
    -e 's/^    override fun toString(): String {$/    override val message: String get() {/' \
    -e 's/FfiConverterTypeSyncOnceError/FfiConverterTypeCoreSyncOnceError/' \
    "$made/dev/evenkeel/evenkeel_ffi.kt"
  rm "$made/dev/evenkeel/evenkeel_ffi.kt.bak"
  # Only what changed is compiled anew.
  mkdir -p "$out/generated"
  if ! diff -rq "$made" "$out/generated" >/dev/null; then
    rm -rf "$out/generated"
    mv "$made" "$out/generated"
  fi
}

place() { # place PROFILE: the library as a resource of the jar
  mkdir -p "$out/natives/$platform"
  cp "$target/$1/$lib" "$out/natives/$platform/$lib"
}

maven() {
  mvn --batch-mode --no-transfer-progress -Dstyle.color=never -f "$here/pom.xml" "$@"
}

count() { # count ATTRIBUTE: over all test suites
  { cat "$out"/surefire-reports/TEST-*.xml 2>/dev/null || true; } | # none where nothing ran
    awk -v name="$1" 'match($0, "<testsuite .*") { if (match($0, " " name "=\"[0-9]+\"")) { s = substr($0, RSTART, RLENGTH); gsub(/[^0-9]/, "", s); n += s } } END { print n + 0 }'
}

# What can be seen of the jar without an app: that the classes and the library are in it, and that the library loads
# from there and works.
check_jar() {
  local jar=$out/evenkeel-0.1.0.jar classpath
  jar tf "$jar" >"$out/entries"
  for entry in "$platform/$lib" dev/evenkeel/Evenkeel.class; do
    grep -qx "$entry" "$out/entries" || { echo "not in the jar: $entry" >&2; return 1; }
  done
  echo "ok: the jar holds the classes and the library for $platform, $(wc -c <"$jar") bytes"
  maven -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
    -Dmdep.outputFile="$out/classpath" -Dmdep.includeScope=runtime
  java -cp "$jar:$out/test-classes:$(cat "$out/classpath")" dev.evenkeel.JarCheckKt
  echo "left out: the libraries for other systems (each is built on its own, and its folder put beside this one)"
}

case "${1:-}" in
  ready)
    java=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
    [ "${java:-0}" -ge 17 ] && command -v mvn
    ;;
  test)
    shift
    generate
    place debug
    rm -rf "$out/surefire-reports"
    status=0
    RECOVERY_CHECK="$target/debug/recovery-check" maven test "$@" || status=$?
    lost=$(($(count failures) + $(count errors)))
    passed=$(($(count tests) - lost - $(count skipped)))
    [ "$status" -ne 0 ] && [ "$lost" -eq 0 ] && lost=1
    [ "$passed" -eq 0 ] && [ "$lost" -eq 0 ] && lost=1
    # On a line of its own: Maven leaves one open.
    printf '\nkotlin: %s passed, %s failed\n' "$passed" "$lost"
    [ "$lost" -eq 0 ]
    ;;
  package)
    generate
    bindings/library.sh release-small cdylib
    place release-small
    maven package -DskipTests
    check_jar
    ;;
  bench)
    generate
    cargo build --locked -p evenkeel-ffi --release --lib --example border
    place release
    maven -q test-compile org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
      -Dmdep.outputFile="$out/classpath" -Dmdep.includeScope=test
    rust=$("$target/release/examples/border" | tr ' ' '=')
    # shellcheck disable=SC2086 # one argument a line
    java -Xmx256m -cp "$out/test-classes:$out/classes:$(cat "$out/classpath")" dev.evenkeel.BenchKt $rust
    ;;
  desktop)
    shift
    generate
    place debug
    maven -q install -DskipTests
    if [ $# -eq 0 ]; then
      folder=$(mktemp -d)
      "$target/debug/recovery-check" stack --edge-port 8787 --control-port 8788 &
      trap 'kill '$!'; rm -r "$folder"' EXIT
      set -- http://127.0.0.1:8787 "$folder/notes.db"
    fi
    mvn -q --batch-mode -f "$here/sample-desktop/pom.xml" compile exec:java -Dexec.args="$*"
    ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
