"""Units of a finished job as OGC API Features items: GeoJSON in degrees, page by page."""

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.feature_query import (
    LABELS,
    MOST,
    FeatureQuery,
    read_bbox,
    read_interval,
    read_labels,
)
from api.features import Features
from api.item_page import ItemPage, page_text
from api.problems import Problem, ServiceError
from api.routes import service_of
from api.shown import Shown
