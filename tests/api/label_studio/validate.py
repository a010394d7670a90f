"""Label Studio's own check of predictions against a label config.

    .venv-clients/bin/python tests/api/label_studio/validate.py < CASES

`test_backend.py` runs it, in the clients' own environment. Reads JSON, a list of label configs with the
results of `/label-studio/predict`; prints the errors of each as JSON.
"""

from __future__ import annotations

import json
import sys

from label_studio_sdk.label_interface import LabelInterface

if __name__ == "__main__":
    errors = [
        [LabelInterface(label_config).validate_prediction(result, return_errors=True) for result in results]
        for label_config, results in json.load(sys.stdin)
    ]
    json.dump(errors, sys.stdout)
