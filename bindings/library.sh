#!/usr/bin/env bash
# library.sh PROFILE KIND ARG…: the library for apps, of one kind alone (`cdylib` or `staticlib`): beside the kinds that
# the workspace builds at once, cargo leaves out the optimisation across crates. ARG… go to `cargo rustc`.
#
# For `release-small`, SQLite comes without what the SDK does not use. EVENKEEL_CARGO is what is run in place of `cargo`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
profile=$1 kind=$2
shift 2
if [ "$profile" = release-small ]; then
  unused=(ENABLE_FTS3 ENABLE_FTS3_PARENTHESIS ENABLE_FTS5 ENABLE_RTREE ENABLE_DBSTAT_VTAB ENABLE_LOAD_EXTENSION SOUNDEX)
  LIBSQLITE3_FLAGS="${unused[*]/#/-USQLITE_} -DSQLITE_OMIT_LOAD_EXTENSION"
  export LIBSQLITE3_FLAGS
fi
read -ra cargo <<<"${EVENKEEL_CARGO:-cargo}"
exec "${cargo[@]}" rustc --locked --manifest-path "$here/../Cargo.toml" -p evenkeel-ffi --lib --crate-type "$kind" \
  --profile "$profile" "$@"
