# The browser that the payment page's tests drive. Sourced by scripts/test, after servers.sh.

require_browser() {
    if ! command -v chromedriver >/dev/null || ! { command -v chromium || command -v google-chrome; } >/dev/null; then
        install_packages "Chromium with its driver" chromium chromium-driver
    fi
}
