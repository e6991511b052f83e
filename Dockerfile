# syntax=docker/dockerfile:1
# The server of ModelDB as an image: docs/deployment.md says how to run it, compose.yaml and deploy/helm do.

ARG PYTHON_VERSION=3.13

# -- everything that is installed, in one folder ------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY README.md LICENSE pyproject.toml setup.cfg setup.py ./
COPY modeldb_core modeldb_core
COPY integrations integrations
COPY server server
COPY webui webui
RUN python -m venv --without-pip /opt/modeldb \
 && python -m pip --python /opt/modeldb/bin/python install '.[server,grpc,postgres,s3,oidc,attest,anchor]'
# What the image holds, as a bill of materials (CycloneDX).
RUN python -m venv /opt/tools \
 && /opt/tools/bin/pip install 'cyclonedx-bom>=7,<8' \
 && /opt/tools/bin/cyclonedx-py environment --of JSON -o /opt/modeldb/sbom.cdx.json /opt/modeldb/bin/python
COPY deploy/docker /opt/modeldb/deploy

# -- what runs ------------------------------------------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim-bookworm
LABEL org.opencontainers.image.title="ModelDB" \
      org.opencontainers.image.description="Track, version and audit machine-learning models" \
      org.opencontainers.image.licenses="Apache-2.0"
# No shell and no home; the folders are those of volumes, which take over their owner.
RUN groupadd --gid 10001 modeldb \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin modeldb \
 && install -d -o 10001 -g 10001 -m 0700 /data /config \
 && install -d -o 10001 -g 10001 -m 0755 /secrets /secrets/postgres /secrets/s3
COPY --from=build /opt/modeldb /opt/modeldb
# The root file system may be read-only: only /data and /tmp are written.
ENV PATH=/opt/modeldb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    XDG_CONFIG_HOME=/config \
    XDG_STATE_HOME=/data/state \
    XDG_CACHE_HOME=/tmp/cache \
    MODELDB_URL=sqlite:////data/modeldb.db \
    MODELDB_ARTIFACT_URL=file:///data/artifacts \
    MODELDB_SERVER_LOG=json
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 5000 5001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "/opt/modeldb/deploy/alive.py"]
ENTRYPOINT ["modeldb"]
CMD ["server", "--host", "0.0.0.0"]
