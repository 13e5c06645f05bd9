# Gets what the tests run on, where it may (root on Debian or Ubuntu); else says the one line to run. Sourced by
# scripts/test.

old_packages=(mariadb-server galera-4 rsync rabbitmq-server faketime)
new_packages=(mysql-server-core rabbitmq-server)
new_root=${TEST_SERVERS_ROOT:-$HOME/.cache/payment-service/servers-new}

require_build_tools() {
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing; https://rustup.rs installs it (rust-toolchain.toml picks the version)" >&2
        exit 69
    fi
    if ! command -v cc >/dev/null; then
        install_packages "A C compiler" gcc libc6-dev
    fi
}

# old | new
require_servers() {
    if [ -n "${TEST_DATABASE_URL:-}" ] && [ -n "${TEST_AMQP_URL:-}" ]; then
        return
    fi
    # Not `have … || get …`: that would turn `set -e` off within.
    if [ "$1" = old ]; then
        if ! have_old_servers; then
            install_packages "MariaDB, Galera or RabbitMQ" "${old_packages[@]}"
        fi
    else
        if ! have_new_servers; then
            build_new_servers
        fi
        export TEST_SERVERS_ROOT=$new_root
    fi
}

have_old_servers() {
    [ -x /usr/sbin/mariadbd ] && [ -x /usr/bin/mariadb-install-db ] && [ -d /usr/lib/rabbitmq/lib ] &&
        [ -f /usr/lib/galera/libgalera_smm.so ] && command -v rsync >/dev/null && command -v setpriv >/dev/null &&
        command -v faketime >/dev/null
}

have_new_servers() {
    [ -x "$new_root/usr/sbin/mysqld" ] && [ -d "$new_root/usr/lib/rabbitmq/lib" ]
}

describe_servers() {
    if [ -n "${TEST_DATABASE_URL:-}" ] && [ -n "${TEST_AMQP_URL:-}" ]; then
        echo "those that TEST_DATABASE_URL and TEST_AMQP_URL name"
        return
    fi
    # From the files: asking rabbitmq-server for its version starts a broker.
    if [ "$1" = old ]; then
        echo "$(/usr/sbin/mariadbd --no-defaults --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+-MariaDB' | head -n 1)," \
            "RabbitMQ $(rabbitmq_version /)"
    else
        echo "MySQL $(chroot "$new_root" /usr/sbin/mysqld --no-defaults --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)," \
            "RabbitMQ $(rabbitmq_version "$new_root/"), in $new_root"
    fi
}

rabbitmq_version() {
    local folder version=unknown
    for folder in "$1"usr/lib/rabbitmq/lib/rabbitmq_server-*; do
        version=${folder##*-}
    done
    echo "$version"
}

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# WHAT PACKAGE...
install_packages() {
    local what=$1
    shift
    if ! may_install; then
        echo "$what is missing. Run this, then again scripts/test:" >&2
        echo "  sudo apt-get update && sudo apt-get install --yes --no-install-recommends $*" >&2
        exit 69
    fi
    echo "Installing $*"
    keep_services_from_starting
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install --yes --no-install-recommends "$@"
    let_services_start
}

# The packages' own servers are not wanted: the tests start private ones. A policy that exists already is left alone.
policy=/usr/sbin/policy-rc.d
policy_is_ours=
keep_services_from_starting() {
    [ ! -e "$policy" ] || return 0
    trap let_services_start EXIT
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

let_services_start() {
    [ -z "$policy_is_ours" ] || rm -f "$policy"
    policy_is_ours=
}

# A folder with a current Debian in it, for servers that the machine's own release does not have. Built beside its
# place, so that half a folder never looks like a whole one.
build_new_servers() {
    if ! may_install; then
        echo "The new servers run in a chroot of Debian sid: as root on Debian or Ubuntu, run scripts/test --servers new" >&2
        exit 69
    fi
    if ! command -v debootstrap >/dev/null; then
        install_packages debootstrap debootstrap
    fi
    local packages site proxy
    packages=$(IFS=, && echo "${new_packages[*]}")
    # The machine's own mirror, where it is one of Debian's, by the machine's own way to the network.
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | awk '/\/debian\/?$/ && !seen++')
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [ -z "${proxy:-}" ] || export http_proxy=$proxy
    echo "Building $new_root (${new_packages[*]})"
    rm -rf --one-file-system "$new_root.part"
    mkdir -p "$new_root.part"
    quietly debootstrap --variant=minbase "--include=$packages" sid "$new_root.part" ${site:+"$site"}
    rm -rf "$new_root.part"/var/cache/apt/archives/*.deb
    rm -rf --one-file-system "$new_root"
    mv "$new_root.part" "$new_root"
}

# Shows what a command said only if it failed.
quietly() {
    local said
    said=$(mktemp)
    if ! "$@" >"$said" 2>&1; then
        tail -n 40 "$said" >&2
        rm -f "$said"
        echo "failed: $*" >&2
        return 1
    fi
    rm -f "$said"
}
