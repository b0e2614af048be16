# The ready service. `make image` fills build/wheels from uv.lock, every hash checked, and builds this without a network.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY build/wheels /wheels
RUN python3 -m venv /opt/quadra \
    && /opt/quadra/bin/pip install --no-cache-dir --no-index --find-links /wheels --require-hashes -r /wheels/locked.txt \
    && /opt/quadra/bin/pip install --no-cache-dir --no-index --no-deps /wheels/quadra_matrix-*.whl \
    && /opt/quadra/bin/pip uninstall --yes --quiet pip setuptools

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Quadra Matrix" \
      org.opencontainers.image.description="Train models, serve them, and see whether the new one is worse." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 quadra \
    && useradd --uid 10001 --gid quadra --no-create-home --home-dir /data --shell /usr/sbin/nologin quadra \
    && install --directory --owner=quadra --group=quadra --mode=0700 /data
COPY --from=build /opt/quadra /opt/quadra
# The root file system may be read-only: everything that is written goes to /data, or to /tmp.
ENV PATH="/opt/quadra/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QUADRA_DATA_DIR=/data \
    QUADRA_ENVIRONMENT=production \
    QUADRA_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 5000 5001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["quadra", "health"]
ENTRYPOINT ["quadra"]
CMD ["serve"]
