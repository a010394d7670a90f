"""MLflow: a Python model, saved from this file; `mlflow models serve` serves it."""

import base64
import sys

import mlflow


class Reader(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        from reading import read

        self._read = read

    def predict(self, model_input: list[str]):
        return [self._read(base64.b64decode(one)) for one in model_input]


mlflow.models.set_model(Reader())

if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__)
