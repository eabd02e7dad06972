# syntax=docker/dockerfile:1

# The image holds postroad alone; its Postgres is another container or a server elsewhere (DATABASE_URL).

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The registry and the compiled dependencies stay on the building machine, so that a change here compiles postroad alone.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin postroad \
    && install -D target/release/postroad /out/postroad

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/postroad --shell /usr/sbin/nologin postroad \
    && install -d -o postroad -g postroad -m 0700 /var/lib/postroad
COPY --from=build /out/postroad /usr/local/bin/postroad
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/postroad/

USER postroad
WORKDIR /var/lib/postroad
# The master key and the generated certificate live here: keep it.
VOLUME /var/lib/postroad
# In a container every address of the container itself is meant; what the world sees is a matter of published ports.
ENV POSTROAD_DATA_DIR=/var/lib/postroad \
    POSTROAD_HTTP_ADDR=0.0.0.0:8080 \
    POSTROAD_SUBMISSION_ADDR=0.0.0.0:2587 \
    POSTROAD_SUBMISSIONS_ADDR=0.0.0.0:2465 \
    POSTROAD_MX_ADDR=0.0.0.0:2525
EXPOSE 8080 2587 2465 2525

# Drains for POSTROAD_DRAIN_SECS (30); give it 40 s before it is killed: docker stop --time 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["postroad", "health"]
ENTRYPOINT ["postroad"]
CMD ["serve"]
