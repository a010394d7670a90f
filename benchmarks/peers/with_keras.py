"""FastAPI with Keras' own file and `predict`, as in most tutorials."""

import os

import keras
import uvicorn
from fastapi import FastAPI, Request
from reading import decode

app = FastAPI()
model = keras.models.load_model(os.environ["PEER_KERAS"])


@app.post("/raw")
async def raw(request: Request):
    (probabilities,) = model.predict(decode(await request.body())[None], verbose=0)
    return {"digit": int(probabilities.argmax()), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="info")
