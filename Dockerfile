# One image for everything that is ours: the topics job, the flow, the simulator.
FROM python:3.12-slim-bookworm AS packages
COPY requirements.txt /tmp/requirements.txt
# Wheels only, each one checked against its hash: nothing is compiled and nothing unknown gets in.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement /tmp/requirements.txt

FROM python:3.12-slim-bookworm
# A volume that is mounted on /recovery for the first time takes its owner from here.
RUN groupadd --system --gid 10001 fraud \
    && useradd --system --uid 10001 --gid fraud --no-create-home --home-dir /app fraud \
    && install --directory --owner fraud --group fraud --mode 0750 /recovery
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
# Compiled here because the root file system is read-only where it runs.
RUN /opt/venv/bin/python -m compileall -q connectors flows fraudflow operators
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["/app/deploy/start.sh"]
CMD ["python", "-m", "bytewax.run", "flows.fraud:get_flow"]
