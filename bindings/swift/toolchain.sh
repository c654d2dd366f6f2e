#!/usr/bin/env bash
# A Swift toolchain for the tests, 6.0 or later: the machine's own where there is one, else Debian's, unpacked
# into a folder of its own, so that nothing is installed on the machine.
#
#   toolchain.sh find                           ends with 0 where there is one, and says which
#   toolchain.sh install                        makes sure that there is one: 550 MB to fetch, 2.5 GB on disk
#   toolchain.sh run FOLDER… -- COMMAND ARG…    runs the command in the first folder; it sees these folders,
#                                               and the variables whose names begin with EVENKEEL_
#
# The unpacked one is kept in $EVENKEEL_SWIFT_ROOT, ~/.cache/evenkeel/swift where that is not set.
set -euo pipefail

root=${EVENKEEL_SWIFT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel/swift}
release=trixie # Debian 13: Swift 6.0.3
ready=$root/ready-$release-2 # the number rises with what is unpacked

host_version() { # the machine's own, if it is new enough
  local said
  said=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1) || return 1
  [ "${said%%.*}" -ge 6 ] 2>/dev/null && echo "$said"
}

find_one() {
  if version=$(host_version); then
    echo "Swift $version of this machine"
  elif [ -e "$ready" ]; then
    echo "Swift of Debian $release in $root"
  else
    return 1
  fi
}

install_one() {
  find_one && return
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] && command -v apt-get >/dev/null || {
    echo "no Swift 6 here, and this is no Debian to unpack one on: see https://www.swift.org/install" >&2
    return 1
  }
  mkdir -p "$root"
  exec 8>"$root.lock"
  flock 8 # another checkout may be at it
  find_one && return
  unpack
  touch "$ready"
  find_one
}

unpack() {
  rm -rf "$root/apt" "$root/sys"
  mkdir -p "$root"/apt/{lists,archives}/partial "$root"/sys
  cd "$root"
  local mirror apt
  # The mirror that this machine uses, for a release that it does not.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep '/debian/$' | sort -u | head -n 1) || true
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian/} $release main" >apt/list
  : >apt/status
  apt=(apt-get -qq -y -o "Dir::Etc::sourcelist=$root/apt/list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$root/apt/lists" -o "Dir::State::status=$root/apt/status"
    -o "Dir::Cache=$root/apt" -o "Dir::Cache::archives=$root/apt/archives"
    -o "APT::Sandbox::User=$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3)
  "${apt[@]}" update
  "${apt[@]}" --download-only --no-install-recommends install \
    base-files bash ca-certificates coreutils dash swiftlang libc6-dev libstdc++-14-dev
  cd sys
  mkdir -p usr/{bin,sbin,lib,lib64} proc dev tmp root etc
  local dir deb
  for dir in bin sbin lib lib64; do ln -sfn "usr/$dir" "$dir"; done # packages expect them to be one
  for deb in ../apt/archives/*.deb; do dpkg -x "$deb" .; done
  chmod 1777 tmp
  # As the package would do it when it is installed: the client wants to know whom to trust.
  mkdir -p etc/ssl/certs
  cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt
  rm -rf ../apt
}

run_in() { # run_in FOLDER… -- COMMAND ARG…
  local seen=()
  while [ "$1" != -- ]; do
    seen+=("$(realpath "$1")")
    shift
  done
  shift
  if host_version >/dev/null; then
    cd "${seen[0]}"
    exec "$@"
  fi
  [ -e "$ready" ] || { echo "no Swift toolchain: $0 install" >&2; return 1; }
  local own=() vars=() name folders
  [ "$(id -u)" = 0 ] || own=(--user --map-root-user)
  for name in "${!EVENKEEL_@}"; do vars+=("$name=${!name}"); done
  folders=$(printf '%s\n' "${seen[@]}")
  # What is mounted here ends with the command: nobody else sees it.
  exec unshare "${own[@]}" --mount --propagation private bash -c '
    set -e
    sys=$1 folders=$2
    shift 2
    mount --rbind /proc "$sys/proc"
    mount --rbind /dev "$sys/dev"
    while read -r folder; do
      mkdir -p "$sys$folder"
      mount --bind "$folder" "$sys$folder"
    done <<<"$folders"
    exec chroot "$sys" "$@"
  ' bash "$root/sys" "$folders" /usr/bin/env -i "--chdir=${seen[0]}" HOME=/root LANG=C.UTF-8 \
    PATH=/usr/libexec/swift/bin:/usr/sbin:/usr/bin "${vars[@]}" "$@"
}

case ${1:-} in
  find) find_one ;;
  install) install_one ;;
  run) shift && run_in "$@" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
