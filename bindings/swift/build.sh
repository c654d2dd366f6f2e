#!/usr/bin/env bash
# The Swift package, from the library up.
#
#   build.sh generate   builds the library and writes the Swift code that calls it, into Generated/
#   build.sh test       that, and the tests against a real service; ARG… go to `swift test`
#   build.sh sample [URL FOLDER]
#                       that, and runs the command-line sample; without arguments with a reference service of its own
#                       (edge on port 8787, faults on 8788) and a store that goes with it
#   build.sh bench      that, optimised, and measures what the border costs
#
# The toolchain is the machine's own (6.0 or later), or the one that toolchain.sh unpacks. `test` ends with a
# line `swift: N passed, N failed`; it is given $EVENKEEL_TEST_S seconds, 1200 where that is not set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$repo/target}")
what=${1:-}
shift || true
profile=dev made=debug
[ "$what" = bench ] && profile=release made=release

generate() {
  cargo build --quiet --locked --manifest-path "$repo/Cargo.toml" --profile "$profile" -p evenkeel-ffi -p recovery-check
  # Only the static library keeps what the generator reads, whatever the profile strips.
  "$here/generate.sh" "$target/$made/libevenkeel_ffi.a" "$target"
}

# A run that hangs is ended, so that it fails. It takes half a minute, after some minutes of compiling at first.
bound=()
bound() {
  local program
  for program in timeout gtimeout; do
    command -v "$program" >/dev/null || continue
    bound=("$program" --kill-after=30 "${EVENKEEL_TEST_S:-1200}")
    return
  done
  echo "no timeout (coreutils) here: a run that hangs is not ended" >&2
}

swift_with() { # swift_with COMMAND ARG…: with the library at hand
  local command=$1
  shift
  EVENKEEL_STACK=$target/$made/recovery-check ${bound[@]+"${bound[@]}"} "$here/toolchain.sh" run "$here" "$target" "$repo/bindings" -- \
    swift "$command" --scratch-path "$target/swift" -Xlinker "-L$target/$made" -Xlinker -rpath -Xlinker "$target/$made" "$@"
}

# Swift 6.0's own libswiftObservation for Linux lacks a symbol that it never calls.
loose=()
[ "$(uname)" = Linux ] && loose=(-Xlinker --allow-shlib-undefined)

case $what in
  generate) generate ;;
  test)
    generate
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    ended=0
    bound
    swift_with test --disable-xctest "$@" 2>&1 | tee "$log" || ended=1
    passed=$(grep -E '^. Test .* passed after' "$log" | grep -cv '^. Test run with' || true)
    failed=$(grep -E '^. Test .* failed after' "$log" | grep -cv '^. Test run with' || true)
    # What did not compile, or ran nothing, is a failure too.
    [ "$ended" = 0 ] && [ "$passed" -gt 0 ] || [ "$failed" -gt 0 ] || failed=1
    echo "swift: $passed passed, $failed failed"
    [ "$failed" = 0 ]
    ;;
  sample)
    generate
    swift_with build "${loose[@]}" --product notes
    if [ $# -eq 0 ]; then
      export EVENKEEL_TOKEN=demo-token
      folder=$(mktemp -d "$target/notes-XXXXXX")
      "$target/$made/recovery-check" stack --edge-port 8787 --control-port 8788 >/dev/null &
      trap 'kill '$!'; rm -r "$folder"' EXIT
      set -- http://127.0.0.1:8787 "$folder"
    fi
    swift_with run "${loose[@]}" --skip-build notes "$@"
    ;;
  bench)
    generate
    bench=(run "${loose[@]}" -c release bench)
    EVENKEEL_RUST=$(cargo run --quiet --locked --manifest-path "$repo/Cargo.toml" --release -p evenkeel-ffi --example border)
    export EVENKEEL_RUST
    swift_with "${bench[@]}"
    exec 7< <(exec "$target/$made/recovery-check" stack)
    stack=$!
    trap 'kill "$stack"' EXIT
    while read -r -u 7 part url && [ "$part" != ready ]; do
      [ "$part" = edge ] && export EVENKEEL_EDGE=$url
    done
    swift_with "${bench[@]}"
    ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
