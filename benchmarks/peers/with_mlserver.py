"""MLServer: a custom runtime, which `mlserver start` finds through MLSERVER_MODEL_IMPLEMENTATION."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from reading import read


class Reader(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (picture,) = Base64Codec.decode_input(payload.inputs[0])
        answer = read(picture)
        outputs = [
            NumpyCodec.encode_output("digit", np.array([answer["digit"]])),
            NumpyCodec.encode_output("probabilities", np.array([answer["probabilities"]])),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
