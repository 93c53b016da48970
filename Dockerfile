# Sterna with all that a bitstream needs, in a container:
#   docker build -t sterna .
#   docker run --rm -v "$PWD:/work" sterna sim digits-dense
# What it makes lies in ./build. The Debian packages are what a machine must have that runs Sterna.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/*

# EXTRAS=train,importers brings PyTorch, too: some gigabytes.
ARG EXTRAS=fpga,report
COPY . /opt/sterna
RUN pip install --no-cache-dir "/opt/sterna[${EXTRAS}]" && rm -rf /opt/sterna

# Files that are made belong to who runs it: docker run --user "$(id -u):$(id -g)".
RUN useradd --create-home sterna && mkdir /work && chown sterna /work
USER sterna
ENV HOME=/home/sterna
WORKDIR /work
ENTRYPOINT ["sterna"]
CMD ["--help"]
