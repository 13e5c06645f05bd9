# Gets the program of the release before this one, for the test that runs both side by side. Sourced by scripts/test.

# The last commit of that release.
previous_commit=4705e30f0c7c0796400500269f0bab1d2b8b3174

# Sets `previous` to the program, or to `left out` where the clone has no such commit. Without optimization: that takes two
# to four minutes instead of many. Kept for the next run.
require_previous_release() {
    previous=${PREVIOUS_RELEASE:-}
    [ -z "$previous" ] || return 0
    local folder=$HOME/.cache/payment-service/previous-release/$previous_commit
    previous=$folder/payment-service
    [ ! -x "$previous" ] || return 0
    if ! git cat-file -e "$previous_commit^{commit}" 2>/dev/null; then
        previous='left out'
        return 0
    fi
    echo "Building the release before this one"
    rm -rf "$folder"
    mkdir -p "$folder/source"
    git archive "$previous_commit" | tar -x -C "$folder/source"
    (cd "$folder/source" && CARGO_TARGET_DIR=$folder/target cargo build --locked --quiet --bin payment-service)
    mv "$folder/target/debug/payment-service" "$previous"
    rm -rf "$folder/source" "$folder/target"
}
