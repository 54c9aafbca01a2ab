# Sourced by launch/quickstart and launch/test: installs the Debian packages that are missing.
#
#   install_packages WHAT PACKAGE...     shows the apt line first; on a terminal asks; without root says what to install and exits 2
# shellcheck shell=bash disable=SC2034

build_packages=(g++ cmake ninja-build pkg-config openmpi-bin libopenmpi-dev libhdf5-dev libyaml-cpp-dev libprotobuf-dev protobuf-compiler
  libdnnl-dev ocl-icd-opencl-dev opencl-headers libfmt-dev libcli11-dev nlohmann-json3-dev libzstd-dev zlib1g-dev libxxhash-dev)

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

install_packages() {
  local what=$1 missing answer sudo=()
  shift
  if ! command -v dpkg-query >/dev/null; then
    echo "$what needs (names as on Debian): $*" >&2
    return 0
  fi
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -n "${missing// /}" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
      echo "$what needs packages that are missing. As root: apt-get install -y --no-install-recommends $missing" >&2
      exit 2
    fi
    sudo=(sudo)
  fi
  echo "$what installs: apt-get install -y --no-install-recommends $missing"
  if [ -t 0 ] && [ -t 1 ]; then
    read -r -p "Go on? [Y/n] " answer
    case "$answer" in '' | y | Y | yes) ;; *) echo "Nothing was installed."; exit 2 ;; esac
  fi
  # A list that is a day old is good enough; none at all is not.
  # shellcheck disable=SC2086
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing >/tmp/drover_apt.log 2>&1 ||
    { "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=300 update >/tmp/drover_apt.log 2>&1 &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing >>/tmp/drover_apt.log 2>&1; } ||
    { tail -n 5 /tmp/drover_apt.log >&2; echo "apt-get failed (log: /tmp/drover_apt.log)" >&2; exit 2; }
}
