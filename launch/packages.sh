# Sourced by launch/quickstart and launch/test: installs the Debian packages that are missing.
#
#   install_packages WHAT PACKAGE...     shows the apt line first; on a terminal asks; without root says what to install and exits 2
#   configure_preset PRESET OPTION...    cmake --preset, whatever generator its build folder was made with; says what it found
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
  local what=$1 missing answer log apt sudo=()
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
  log=$(mktemp)
  apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  # A list that is a day old is good enough; none at all is not.
  # shellcheck disable=SC2086
  "${apt[@]}" install -y --no-install-recommends $missing >"$log" 2>&1 ||
    { "${apt[@]}" update >"$log" 2>&1 && "${apt[@]}" install -y --no-install-recommends $missing >>"$log" 2>&1; } ||
    { tail -n 5 "$log" >&2; echo "apt-get failed (log: $log)" >&2; exit 2; }
  rm -f "$log"
}

configure_preset() {
  local preset=$1 generator=()
  shift
  mkdir -p build
  [ -f "build/$preset/CMakeCache.txt" ] || generator=(-G Ninja)
  cmake --preset "$preset" "${generator[@]}" "$@" >build/configure.log 2>&1 || { tail -n 30 build/configure.log >&2; exit 1; }
  grep '^-- drover' build/configure.log || true
}
