# openapi-typescript and the TypeScript compiler, with which the tests make a client from docs/openapi.json
# (tests/typescript/package-lock.json). Sourced by scripts/test, after servers.sh.

typescript_folder=$HOME/.cache/payment-service/typescript

# Exports `TEST_TYPESCRIPT`, the compiler; the rest is found beside it. It is installed again when the pinned packages have changed; half an installation
# never looks like a whole one.
require_typescript() {
    if [ -n "${TEST_TYPESCRIPT:-}" ]; then
        return
    fi
    export TEST_TYPESCRIPT=$typescript_folder/node_modules/.bin/tsc
    if [ -x "$TEST_TYPESCRIPT" ] && cmp --silent tests/typescript/package-lock.json "$typescript_folder/package-lock.json"; then
        return
    fi
    if ! command -v npm >/dev/null; then
        install_packages "Node.js with npm" nodejs npm
    fi
    echo "Installing the TypeScript tools into $typescript_folder"
    local part=$typescript_folder.part.$$
    rm -rf "$part"
    mkdir -p "$part"
    cp tests/typescript/package.json tests/typescript/package-lock.json "$part/"
    # Without the packages' own scripts: none of them needs one.
    if ! (cd "$part" && quietly npm ci --ignore-scripts --no-audit --no-fund); then
        rm -rf "$part"
        echo "Set TEST_TYPESCRIPT to node_modules/.bin/tsc of an installed tests/typescript, or let npm reach its registry" >&2
        exit 69
    fi
    rm -rf "$typescript_folder"
    mv "$part" "$typescript_folder"
}
