# Sourced by launch/quickstart and launch/test: installs the Debian packages that are missing.
#
#   install_packages WHAT PACKAGE... [--optional PACKAGE...]
#       shows the apt line first; on a terminal asks; without root says what to install and exits 2. What is optional and cannot be had is
#       gone without, and said.
#   configure_preset PRESET OPTION...    cmake --preset, whatever generator its build folder was made with; says what it found
# shellcheck shell=bash disable=SC2034

build_packages=(g++ cmake pkg-config openmpi-bin libopenmpi-dev procps libhdf5-dev libyaml-cpp-dev libprotobuf-dev protobuf-compiler
  libfmt-dev libcli11-dev nlohmann-json3-dev libzstd-dev zlib1g-dev libxxhash-dev)
command -v ninja >/dev/null || build_packages+=(make)
optional_build_packages=(ninja-build libdnnl-dev libsimdjson-dev)

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# What going without an optional package means.
without() {
  case "$1" in
    ninja-build) echo "make builds" ;;
    libdnnl-dev) echo "matrix products in plain loops, several times slower" ;;
    libsimdjson-dev) echo "JSONL is read many times slower" ;;
    ccache) echo "every build compiles everything" ;;
    python3) echo "without the tests written in it" ;;
    gnuplot-nox) echo "no plot of the losses" ;;
    iproute2) echo "without the tests of several hosts" ;;
    hdf5-tools) echo "checkpoints are not shown to h5dump" ;;
  esac
}

# Installs $missing and $optional, and leaves in $optional what cannot be had.
apt_install() {
  local log package apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  log=$(mktemp)
  install() { "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1; }
  # A list that is a day old is good enough; none at all is not.
  if install "$@" || { "${apt[@]}" update >"$log" 2>&1 && install "$@"; }; then
    optional=()
  elif [ ${#optional[@]} -gt 0 ] && { [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"; }; then
    for package in "${optional[@]}"; do install "$package" || true; done
    mapfile -t optional < <(missing_packages "${optional[@]}")
  else
    tail -n 5 "$log" >&2
    echo "apt-get failed (log: $log)" >&2
    exit 2
  fi
  rm -f "$log"
}

install_packages() {
  local what=$1 answer=yes package all missing needed=() optional=() sudo=()
  shift
  while [ $# -gt 0 ] && [ "$1" != --optional ]; do needed+=("$1"); shift; done
  if ! command -v dpkg-query >/dev/null; then
    echo "$what needs (names as on Debian): ${needed[*]}; better with: ${*:2}" >&2
    return 0
  fi
  mapfile -t missing < <(missing_packages "${needed[@]}")
  mapfile -t optional < <(missing_packages "${@:2}")
  all=("${missing[@]}" "${optional[@]}")
  [ ${#all[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      sudo=(sudo)
    elif [ ${#missing[@]} -gt 0 ]; then
      echo "$what needs packages that are missing. As root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
      [ ${#optional[@]} -eq 0 ] || echo "These make it better: apt-get install -y --no-install-recommends ${optional[*]}" >&2
      exit 2
    else
      answer=no
    fi
  fi
  if [ "$answer" = yes ]; then
    echo "$what installs: apt-get install -y --no-install-recommends ${all[*]}"
    if [ -t 0 ] && [ -t 1 ]; then read -r -p "Go on? [Y/n] " answer; fi
  fi
  case "$answer" in
    '' | y | Y | yes) apt_install "${all[@]}" ;;
    *) [ ${#missing[@]} -eq 0 ] || { echo "Nothing was installed."; exit 2; } ;;
  esac
  for package in "${optional[@]}"; do echo "$what goes on without $package: $(without "$package")"; done
}

configure_preset() {
  local preset=$1 generator=()
  shift
  mkdir -p build
  if [ ! -f "build/$preset/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
  cmake --preset "$preset" "${generator[@]}" "$@" >build/configure.log 2>&1 || { tail -n 30 build/configure.log >&2; exit 1; }
  grep '^-- drover' build/configure.log || true
}
