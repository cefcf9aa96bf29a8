# The command line in a container: docker build -t damagenet . && docker run --rm -v "$PWD:/work" damagenet assess scene.tif --out map
FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/damagenet && /opt/damagenet/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 damagenet
COPY --from=build /opt/damagenet /opt/damagenet
ENV PATH=/opt/damagenet/bin:$PATH PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1
USER damagenet
WORKDIR /work
ENTRYPOINT ["damagenet"]
CMD ["--help"]
