# docker build -t bench . && docker run --rm -v "$PWD:/data" bench sweep --data my.csv --target load --horizon 24
FROM python:3.11-slim

# OpenMP's run-time library, which PyTorch and scikit-learn load.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

WORKDIR /bench
COPY pyproject.toml constraints.txt hatch_build.py README.md LICENSE ./
COPY bench bench
COPY search_spaces search_spaces
COPY datasets datasets
# The build of PyTorch without CUDA; for GPUs, leave the index out and use an image with a CUDA driver.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu . -c constraints.txt

# Files, results and exported models are in the folder that is mounted here.
WORKDIR /data
ENTRYPOINT ["bench"]
CMD ["--help"]
