"""FastAPI as in most tutorials: an `async` endpoint that computes in the event loop."""

import os

import uvicorn
from fastapi import FastAPI, Request, UploadFile
from reading import read

app = FastAPI()


@app.post("/raw")
async def raw(request: Request):
    return read(await request.body())


@app.post("/form")
async def form(file: UploadFile):
    return read(await file.read())


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="info")
