# Two stages: the first installs the locked dependencies into a virtual environment. The second contains that
# environment, the service and the models, but neither pip nor files that are only needed to build.
ARG PYTHON=python:3.13-slim@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f

# Nothing is built from this stage. Dependabot updates digests in FROM, but not in ARG: it changes this one, and a test
# fails until ARG above has the same digest.
FROM python:3.13-slim@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f AS renewed

FROM ${PYTHON} AS build
# a file in requirements/: `service`; `feedback` for an image that can store pictures in a database; `full` for one with
# gRPC, MCP, Label Studio, tracing and the client as well
ARG REQUIREMENTS=service
COPY requirements/${REQUIREMENTS}.txt /tmp/requirements.txt
RUN python -m venv /opt/digits \
 && /opt/digits/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
    --report /tmp/installed.json -r /tmp/requirements.txt \
 && /opt/digits/bin/pip check \
 && /opt/digits/bin/pip uninstall --yes --quiet pip
# What the service never loads, 53 MB: onnxruntime's library for programs in C, its tools for models, NumPy's tests
RUN cd /opt/digits/lib/python3.*/site-packages \
 && rm onnxruntime/capi/libonnxruntime.so.* \
 && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
 && rm -r $(find numpy -type d -name tests)
COPY app /opt/digits/service/app
COPY models /opt/digits/service/models
COPY deploy/sbom.py /tmp/sbom.py
RUN /opt/digits/bin/python /tmp/sbom.py /tmp/installed.json /opt/digits/service > /opt/digits/sbom.json \
 && /opt/digits/bin/python -m compileall -q /opt/digits/lib /opt/digits/service

FROM ${PYTHON}
LABEL org.opencontainers.image.title="digits" \
      org.opencontainers.image.description="Reads pictures of handwritten digits over HTTP" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/digits /opt/digits
COPY deploy/sagemaker/serve /opt/digits/bin/serve
WORKDIR /opt/digits/service
ENV PATH=/opt/digits/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    DIGITS_HOST=0.0.0.0
# A number, so that Kubernetes' runAsNonRoot can check it; /etc/passwd needs no such user.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"DIGITS_PORT\") or 8000}/health/ready', timeout=2)"]
CMD ["python", "-m", "app"]
