# newman, which runs the Postman collection in the tests, and axe-core, with which they check that pages are accessible
# (tests/newman/package-lock.json). Sourced by scripts/test, after
# servers.sh.

newman_folder=$HOME/.cache/payment-service/newman

# Exports `TEST_NEWMAN`, the program. It is installed again when the pinned packages have changed; half an installation
# never looks like a whole one.
require_newman() {
    if [ -n "${TEST_NEWMAN:-}" ]; then
        return
    fi
    export TEST_NEWMAN=$newman_folder/node_modules/.bin/newman
    if [ -x "$TEST_NEWMAN" ] && cmp --silent tests/newman/package-lock.json "$newman_folder/package-lock.json"; then
        return
    fi
    if ! command -v npm >/dev/null; then
        install_packages "Node.js with npm" nodejs npm
    fi
    echo "Installing newman and axe-core into $newman_folder"
    local part=$newman_folder.part.$$
    rm -rf "$part"
    mkdir -p "$part"
    cp tests/newman/package.json tests/newman/package-lock.json "$part/"
    # Without the packages' own scripts: none of them needs one.
    if ! (cd "$part" && quietly npm ci --ignore-scripts --no-audit --no-fund); then
        rm -rf "$part"
        echo "Set TEST_NEWMAN to a newman $(grep -o '"newman": "[^"]*"' tests/newman/package.json | cut -d'"' -f4), or let npm reach its registry" >&2
        exit 69
    fi
    rm -rf "$newman_folder"
    mv "$part" "$newman_folder"
}
