# One image for every process of Virtyard: the control plane, the agent and the command line.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY services services
COPY clients/python clients/python
RUN pip install --no-cache-dir --prefix=/virtyard ".[server,agent,telemetry]"

FROM python:3.13-slim
# What an agent drives; the control plane alone does without. Elsewhere hosts are simulated, or QEMU is added.
RUN case "$(dpkg --print-architecture)" in \
        amd64) qemu="qemu-system-x86 qemu-utils" ;; \
        arm64) qemu="qemu-system-arm qemu-utils" ;; \
        *) qemu="qemu-utils" ;; \
    esac \
    && apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $qemu \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /virtyard /usr/local
ENV VIRTYARD_CONTEXT=/etc/virtyard/context.json
ENTRYPOINT ["virtyard"]
