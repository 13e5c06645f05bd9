# The gateway that the gateway's tests need: found, built, or left out where that is allowed. Sourced by scripts/test.

krakend_version=v2.13.8
krakend_package=github.com/krakend/krakend-ce/v2/cmd/krakend-ce@$krakend_version

# Sets `gateway`: the program's path, or `left out`, loudly. With REQUIRE_KRAKEND=1, as on the hosted CI, there is no
# leaving out.
require_krakend() {
    if [ "${KRAKEND:-}" != none ]; then
        gateway=$(find_krakend) && return
        if command -v go >/dev/null; then
            echo "Building KrakenD (minutes, once)"
            quietly go install "$krakend_package" && gateway=$(find_krakend) && return
        fi
    fi
    gateway='left out'
    echo "NO KRAKEND: the gateway's tests are left out. Put krakend $krakend_version into the path, or let Go build it:" >&2
    echo "  go install $krakend_package" >&2
    [ "${REQUIRE_KRAKEND:-}" != 1 ] || exit 69
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
