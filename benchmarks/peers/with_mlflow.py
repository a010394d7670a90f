"""MLflow: a Python model, saved from this file and served by `mlflow models serve`.

python with_mlflow.py FOLDER PORT
"""

import base64
import os
import sys

import mlflow


class Reader(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        from reading import read

        self._read = read

    def predict(self, model_input: list[str]):
        return [self._read(base64.b64decode(text)) for text in model_input]


mlflow.models.set_model(Reader())

if __name__ == "__main__":
    folder, port = sys.argv[1:]
    mlflow.pyfunc.save_model(folder, python_model=__file__)
    command = ["mlflow", "models", "serve", "-m", folder, "--port", port, "--env-manager", "local"]
    os.execvp(command[0], command)
