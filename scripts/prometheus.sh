# promtool and prometheus, for the tests of metrics and alerts. Sourced by scripts/test, after servers.sh.

require_prometheus() {
    if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
        install_packages "promtool, of the package prometheus," prometheus
    fi
}
