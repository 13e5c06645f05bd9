# stripe-mock, Stripe's own check of requests against its description of the API. Sourced by scripts/test, after servers.sh.

stripe_mock_package=github.com/stripe/stripe-mock@v0.203.0
stripe_mock_folder=$HOME/.cache/payment-service/stripe-mock

# Sets `stripe_mock`: the program's path, or `left out`, loudly. With REQUIRE_STRIPE_MOCK=1, as on the hosted CI, there is no
# leaving out.
require_stripe_mock() {
    stripe_mock=${TEST_STRIPE_MOCK:-$stripe_mock_folder/${stripe_mock_package##*@}/stripe-mock}
    if [ -x "$stripe_mock" ]; then
        return
    fi
    if command -v go >/dev/null; then
        echo "Building stripe-mock (once)"
        GOBIN=$(dirname "$stripe_mock") quietly go install "$stripe_mock_package" && return
    fi
    stripe_mock='left out'
    echo "NO STRIPE-MOCK: the test with it is left out. Install Go, or set TEST_STRIPE_MOCK to the program of" >&2
    echo "  go install $stripe_mock_package" >&2
    [ "${REQUIRE_STRIPE_MOCK:-}" != 1 ] || exit 69
}
