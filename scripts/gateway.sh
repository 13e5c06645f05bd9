# The gateway that the gateway's tests need: found, built, or left out where that is allowed. Sourced by scripts/test.

krakend_package=github.com/krakend/krakend-ce/v2/cmd/krakend-ce@v2.13.8

# Sets `gateway`: the program's path, or `left out`.
require_krakend() {
    if [ "${KRAKEND:-}" = none ]; then
        gateway='left out' && return
    fi
    gateway=$(find_krakend) && return
    if command -v go >/dev/null; then
        echo "Building KrakenD (minutes, once)"
        if quietly go install "$krakend_package" && gateway=$(find_krakend); then
            return
        fi
        echo "KrakenD cannot be built here; KRAKEND names one that is there, KRAKEND=none leaves its tests out" >&2
        exit 69
    fi
    if [ "${CI:-}" = true ]; then
        echo "CI tests the gateway too: it needs KrakenD in the path, or Go to build it, or KRAKEND=none" >&2
        exit 69
    fi
    gateway='left out'
}

find_krakend() {
    local folder name
    if [ -n "${KRAKEND:-}" ]; then
        echo "$KRAKEND" && return
    fi
    for name in krakend krakend-ce; do
        command -v "$name" && return
        for folder in "${GOBIN:-}" "$HOME/go/bin"; do
            if [ -x "$folder/$name" ]; then
                echo "$folder/$name" && return
            fi
        done
    done
    return 1
}
