#!/bin/sh
# Starts Gureum from a clone: makes a virtual environment once, then hands over to `python -m gureum`.
# Settings: GUREUM_VENV (where the environment is), GUREUM_PYTHON (which interpreter makes it).
set -eu

say() { printf 'gureum: %s\n' "$*" >&2; }
die() {
    say "$1"
    shift
    for line in "$@"; do printf '        %s\n' "$line" >&2; done
    exit 1
}

self=$0
while [ -L "$self" ]; do
    link=$(readlink "$self")
    case $link in /*) self=$link ;; *) self=$(dirname "$self")/$link ;; esac
done
home=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P)

source=$home
[ -d "$home/src/gureum" ] && source=$home/src

if [ -n "${GUREUM_VENV:-}" ]; then
    venv=$GUREUM_VENV
elif [ -w "$home" ] || [ -x "$home/.venv/bin/python" ]; then
    venv=$home/.venv
else
    venv=${XDG_DATA_HOME:-$HOME/.local/share}/gureum/venv
fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    # Debian's own interpreter is the fastest here, so it comes first.
    for python in "${GUREUM_PYTHON:-}" /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        [ -n "$python" ] || continue
        if command -v "$python" >/dev/null 2>&1 && new_enough "$python"; then
            command -v "$python"
            return 0
        fi
    done
    return 1
}

apt_install() {
    [ "$(id -u)" = 0 ] || die "these Debian packages are missing: $*" "Install them with: sudo apt-get install $*"
    command -v apt-get >/dev/null 2>&1 || die "these packages are missing and apt-get is not here: $*" \
        "Gureum runs on Debian 12 or later and Ubuntu 24.04 or later."
    say "installing Debian packages: $*"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1; then
        if ! { apt-get update -q </dev/null && apt-get install -y -q --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "$@" </dev/null; } >"$log" 2>&1; then
            tail -n 15 "$log" >&2
            die "apt-get could not install: $*" "Is the network there? Try: apt-get update && apt-get install $*"
        fi
    fi
    rm -f "$log"
}

# One line a requirement, for the wanted extras. tomllib is in Python since 3.11.
requirements() {
    "$1" - "$home/pyproject.toml" "$2" <<'PY'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
lines = list(project["dependencies"])
for extra in sys.argv[2].split():
    lines += project["optional-dependencies"][extra]
print("\n".join(lines))
PY
}

extras=
[ "${1:-}" = test ] && extras=test
installed=
[ -f "$venv/.gureum-extras" ] && installed=$(cat "$venv/.gureum-extras")
case " $installed " in *" $extras "*) extras=$installed ;; *) extras="$installed $extras" ;; esac
extras=$(printf '%s' "$extras" | sed 's/^ *//; s/ *$//')
stamp="$(cksum <"$home/pyproject.toml") $source [$extras]"

ready() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.gureum-stamp" 2>/dev/null)" = "$stamp" ]; }

prepare() {
    if ! python=$(find_python); then
        apt_install python3 python3-venv
        python=$(find_python) || die "Python 3.11 or later is needed and apt's python3 is older." \
            "Gureum runs on Debian 12 or later and Ubuntu 24.04 or later, or set GUREUM_PYTHON."
    fi
    begun=$(date +%s)
    if ! { [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
        say "making a virtual environment in $venv"
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        log=$(mktemp)
        if ! "$python" -m venv "$venv" >"$log" 2>&1; then
            cat "$log" >&2
            rm -rf "$venv"
            die "the virtual environment could not be made with $python"
        fi
        rm -f "$log"
    fi
    say "installing Python packages (once; a minute or two)"
    wanted=$(mktemp)
    requirements "$venv/bin/python" "$extras" >"$wanted"
    log=$(mktemp)
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check -q -r "$wanted" </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$wanted" "$log"
        die "pip could not install the Python packages." \
            "Is the network there? pip's own settings are used: see $venv/bin/python -m pip config list" \
            "Run the same command again to continue."
    fi
    rm -f "$wanted" "$log"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$source" >"$site/gureum-clone.pth"
    printf '%s\n' "$extras" >"$venv/.gureum-extras"
    printf '%s\n' "$stamp" >"$venv/.gureum-stamp"
    say "Python packages are ready ($(($(date +%s) - begun)) s)"
}

if ! ready; then
    if command -v flock >/dev/null 2>&1; then
        mkdir -p "$(dirname "$venv")"
        exec 9>"$venv.lock"
        flock 9
        ready || prepare
        exec 9>&-
    else
        prepare
    fi
fi

GUREUM_LAUNCHER=$home/$(basename -- "$self")
export GUREUM_LAUNCHER
exec "$venv/bin/python" -m gureum "$@"
