#!/bin/bash
# Run once by the InfluxDB image, after it has made the organisation, the bucket and the owner's token.
set -euo pipefail

# Grafana asks in InfluxQL, which knows databases: the bucket is one under its own name.
influx v1 dbrp create \
    --org "$DOCKER_INFLUXDB_INIT_ORG" \
    --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID" \
    --db "$DOCKER_INFLUXDB_INIT_BUCKET" \
    --rp autogen \
    --default

# Grafana reads and no more.
influx v1 auth create \
    --org "$DOCKER_INFLUXDB_INIT_ORG" \
    --username "$GRAFANA_INFLUX_USER" \
    --password "$(cat "$GRAFANA_INFLUX_PASSWORD_FILE")" \
    --read-bucket "$DOCKER_INFLUXDB_INIT_BUCKET_ID"
