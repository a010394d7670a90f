"""Messages and connections that mean harm cost little, and are answered clearly."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.rpc.cost import check_cost
from app.rpc.messages import CLASSES, parse
from app.wire.problems import BatchTooLarge, MalformedRequest
from tests.costs import measure_peak
from tests.rpc.calling import Caller, build_request, image_tensor, serve_grpc
from tests.telemetry.scrapes import scrape
from tests.serving import wait_until

MEBIBYTE = 1 << 20
BLANK = build_request(image_tensor(), raw_input_contents=[bytes(784)])
Status = grpc.StatusCode
