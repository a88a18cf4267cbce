# deepcritic on CPUs: docker build -t deepcritic . && docker run --rm deepcritic --help
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 critic && mkdir /work && chown critic /work
WORKDIR /opt/deepcritic
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY conf ./conf
COPY data/published.yaml ./data/published.yaml
COPY deepcritic ./deepcritic
# PyTorch for CPUs first: the default wheel brings several GB of CUDA libraries.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)" \
    && pip install --no-cache-dir -c constraints.txt '.[all,service]'

USER critic
WORKDIR /work
ENTRYPOINT ["deepcritic"]
CMD ["--help"]
