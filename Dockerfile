# The command line and the service in one image:
#   docker build -t damagenet .                                            for CPUs
#   docker build -t damagenet --build-arg TORCH=cu128 .                    for NVIDIA GPUs
#   docker run --rm -v "$PWD:/work" damagenet assess scene.tif --out map
#   docker compose up                                                      the service: see docs/SERVICE.md

FROM node:20-slim AS page
WORKDIR /source
COPY api/ui .
RUN npm ci && npm run build

FROM python:3.11-slim AS build
ARG TORCH=cpu
WORKDIR /source
RUN python -m venv /opt/damagenet \
 && /opt/damagenet/bin/pip install --no-cache-dir 'torch>=2.7,!=2.13.0' torchvision \
      --index-url "https://download.pytorch.org/whl/$TORCH"
COPY . .
COPY --from=page /source/dist api/ui/dist
RUN /opt/damagenet/bin/pip install --no-cache-dir '.[cluster]'

FROM python:3.11-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 damagenet \
 && install -d -o damagenet /data
COPY --from=build /opt/damagenet /opt/damagenet
ENV PATH=/opt/damagenet/bin:$PATH PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1
USER damagenet
WORKDIR /work
# For `serve`; a container that assesses or works has nothing to ask and says so in compose.yaml.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["damagenet"]
CMD ["--help"]
