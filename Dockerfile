# One program, all roles: `docker run IMAGE api`, `worker`, `setup`; see docs/deployment.md.

# As in rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /source
COPY . .
# The caches are not part of any layer, so the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist --bin payment-service \
    && cp target/dist/payment-service /payment-service

# The same Debian release as the build image, for the same C library.
FROM debian:bookworm-20250929-slim
# For TLS to the database and the broker.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 payments \
    && useradd --system --uid 10001 --gid payments --no-create-home --shell /usr/sbin/nologin payments \
    && install --directory --owner=payments --group=payments --mode=0700 /data
COPY --from=build /payment-service /usr/local/bin/payment-service

USER 10001:10001
WORKDIR /data
# Listening on loopback is useless in a container. Without CLIENTS_FILE the service refuses any other address, with an error.
ENV LISTEN_ADDR=0.0.0.0:5009 \
    ADMIN_ADDR=0.0.0.0:9009 \
    DATA_DIR=/data \
    LOG_FORMAT=json
VOLUME /data
EXPOSE 5009 9009
# A restart only helps if the process is stuck, so this checks live, not ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["payment-service", "check", "--live"]
ENTRYPOINT ["payment-service"]
