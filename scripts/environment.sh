# Sourced by the other scripts: finds Python and makes the virtual environment .venv. Speaks to stderr.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Print the path of a Python that ModelDB runs on.
find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed; install one, or name it: PYTHON=/path/to/python3 $0"
}

# Make .venv unless it is there and works.
make_environment() {
    if [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        return
    fi
    python=$(find_python)
    say "Making the environment .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv ||
        say "uv cannot be installed; going on with pip, which is slower"
}

# install REQUIREMENT... into .venv: with uv where it works, else with pip.
install() {
    if [ -x .venv/bin/uv ]; then
        UV_LINK_MODE="${UV_LINK_MODE:-copy}" .venv/bin/uv pip install --quiet --python .venv/bin/python "$@" && return
        say "uv cannot install that here; going on with pip, which is slower"
        .venv/bin/python -m pip uninstall --quiet --yes uv
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
}
