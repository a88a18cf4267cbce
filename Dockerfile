# deepcritic on CPUs: docker build -t deepcritic . && docker run --rm deepcritic --help
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 critic && mkdir /work && chown critic /work
WORKDIR /opt/deepcritic
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY conf ./conf
COPY data/published.yaml ./data/published.yaml
COPY deepcritic ./deepcritic
# The default wheel of PyTorch brings several GB of CUDA libraries; name an index that has wheels for CPUs to do without:
# docker build --build-arg PIP_EXTRA_INDEX_URL=... -t deepcritic .
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install --no-cache-dir "$(grep '^torch==' constraints.txt)" \
    && pip install --no-cache-dir -c constraints.txt '.[all,service]'

USER 1000
WORKDIR /work
ENTRYPOINT ["deepcritic"]
CMD ["--help"]
