# The Python tools of the tests (tests/requirements.txt), in a virtual environment of their own. Sourced by scripts/test,
# after servers.sh.

python_folder=$HOME/.cache/payment-service/python

# Exports `TEST_PYTHON`, a Python that has them. The environment is made again when the requirements have changed; half
# an environment never looks like a whole one.
require_python_tools() {
    if [ -n "${TEST_PYTHON:-}" ]; then
        return
    fi
    export TEST_PYTHON=$python_folder/bin/python
    if [ -x "$TEST_PYTHON" ] && cmp --silent tests/requirements.txt "$python_folder/requirements.txt"; then
        return
    fi
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        install_packages "Python with venv" python3 python3-venv
    fi
    echo "Installing the tests' Python tools into $python_folder"
    local part=$python_folder.part.$$
    rm -rf "$part"
    python3 -m venv "$part"
    if ! quietly "$part/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt; then
        rm -rf "$part"
        echo "Set TEST_PYTHON to a Python that has tests/requirements.txt, or let pip reach its index" >&2
        exit 69
    fi
    cp tests/requirements.txt "$part/"
    rm -rf "$python_folder"
    mv "$part" "$python_folder"
}
