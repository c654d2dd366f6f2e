#!/usr/bin/env bash
# What can be checked of the packages for apps on this machine; a line `left out:` for what cannot.
set -euo pipefail
cd "$(dirname "$0")"
echo "-- XCFramework"
swift/package.sh check
echo "-- jar"
kotlin/build.sh package
echo "-- Android archive"
kotlin/aar.sh --dry
