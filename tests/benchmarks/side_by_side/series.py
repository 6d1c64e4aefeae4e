"""MiniRocket, Hydra or QUANT of aeon on the series of a file: `python series.py PEER INPUTS ANSWERS RESULT SECONDS`.

Runs in an environment of its own and imports nothing of the bench. The three choose their regularisation by themselves
(leave-one-out ridge) or need none, so that they are fitted on train and val together, with the library's defaults. They
need series of equal length: shorter ones are padded with zeros, the training mean.
"""

import json
import sys
import time

import numpy as np

SEEDS = (0, 1, 2)


def classifier(peer: str, seed: int):
    from aeon.classification.convolution_based import HydraClassifier, MiniRocketClassifier
    from aeon.classification.interval_based import QUANTClassifier

    if peer == "QUANT":
        return QUANTClassifier(random_state=seed)
    return {"MiniRocket": MiniRocketClassifier, "Hydra": HydraClassifier}[peer](n_jobs=2, random_state=seed)


def main(peer: str, inputs: str, answers: str, result: str, seconds: str) -> None:
    start = time.perf_counter()
    data = np.load(inputs)
    x, y = np.concatenate([data["x_train"], data["x_val"]]), np.concatenate([data["y_train"], data["y_val"]])
    given = {}
    for seed in SEEDS:
        model = classifier(peer, seed).fit(x.transpose(0, 2, 1), y)
        given[f"test_{seed}"] = model.predict(data["x_test"].transpose(0, 2, 1)).astype(np.int64)
    np.savez(answers, **given)
    about = {"seconds": time.perf_counter() - start, "fitted_on": "train + val", "note": f"{len(SEEDS)} seeds"}
    with open(result, "w") as file:
        json.dump(about, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
