"""STAC Items as scenes: which of an Item's files is the picture, and when it was taken."""

import datetime as dt
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pystac

from damagenet.addresses import is_address, remote_path, without_queries
from damagenet.assessment import SourceItem
from damagenet.errors import ConfigError

ENDINGS = frozenset({".json", ".geojson"})
"""Files that may hold STAC Items, in any case."""

_PASSED_OVER = frozenset({"thumbnail", "overview", "metadata"})
"""Roles of assets that are no scene."""


def read_items(path: Path, asset: str | None) -> list[tuple[Path, SourceItem]]:
    """Return the scenes of a STAC Item or of a collection of Items, in order.

    Relative addresses count from the file; where they lead is opened as any scene that is named.

    Args:
        path: JSON file: an Item, an ItemCollection, or what a STAC API answers to a search.
        asset: Key of the asset that is the scene; None chooses, see `_scene_asset`.

    Raises:
        ConfigError: If the file holds no Items, or it is not clear which asset is the scene.
    """
    found = []
    for number, values in enumerate(_features(path), start=1):
        if any(name.startswith("damagenet:") for name in values.get("properties") or {}):
            raise ConfigError(
                f"item {number} of {path} is an assessment of damagenet: name the scene itself"
            )
        try:
            item = pystac.Item.from_dict(values, preserve_dict=False)
        except (pystac.STACError, ValueError, TypeError, KeyError, AttributeError) as err:
            why = " ".join(str(err).split()) or type(err).__name__
            raise ConfigError(f"item {number} of {path} is no STAC Item ({why}): mend it") from err
        where = f"STAC Item {item.id} of {path}"
        found.append((_place(_scene_asset(item, asset, where), path, where), _source(item, path)))
    return found


def _features(path: Path) -> list[dict[str, Any]]:
    """Return the Items of a file as they are written there."""
    try:
        text = path.read_bytes()
        # Buildings may fill gigabytes; they are told apart before they are read.
        loaded = json.loads(text) if b'"stac_version"' in text else {}
    except OSError as err:
        raise ConfigError(f"cannot read {path}: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{path} is not valid JSON: name STAC Items, or a scene") from err
    kind = loaded.get("type") if isinstance(loaded, dict) else None
    features = loaded.get("features") if kind == "FeatureCollection" else [loaded]
    if kind in ("Collection", "Catalog"):
        raise ConfigError(
            f"{path} is a STAC {kind}, whose links are not followed: name its Items (one file "
            "with an ItemCollection, or the Items' own files)"
        )
    if not isinstance(features, list) or not all(map(_is_item, features)):
        raise ConfigError(
            f"{path} holds no STAC Items: name a scene, or STAC Items; a file of buildings goes "
            "with --buildings"
        )
    if not features:
        raise ConfigError(f"{path} holds no Item: search again, or name another file")
    return features


def _is_item(feature: object) -> bool:
    return (
        isinstance(feature, dict)
        and feature.get("type") == "Feature"
        and "stac_version" in feature
        and isinstance(feature.get("properties"), dict)
    )


def _scene_asset(item: pystac.Item, named: str | None, where: str) -> pystac.Asset:
    """Return the asset that is the scene.

    That is the one of the name that was given; else the only GeoTIFF; else the only one of these
    of the name or the role `visual`; else the only one of the role `data`.
    """
    if named is not None:
        if named not in item.assets:
            choices = ", ".join(item.assets) or "none"
            raise ConfigError(f"{where} has no asset {named!r}: choose with --asset from {choices}")
        return item.assets[named]
    pictures = {key: asset for key, asset in item.assets.items() if _is_geotiff(asset)}
    for chosen in (
        pictures,
        {key: asset for key, asset in pictures.items() if "visual" in (key, *_roles(asset))},
        {key: asset for key, asset in pictures.items() if "data" in _roles(asset)},
    ):
        if len(chosen) == 1:
            return next(iter(chosen.values()))
    if not pictures:
        raise ConfigError(f"{where} has no GeoTIFF among its assets: name one with --asset")
    raise ConfigError(
        f"{where} has several GeoTIFFs: say which is the scene with --asset, one of "
        f"{', '.join(pictures)}"
    )


def _is_geotiff(asset: pystac.Asset) -> bool:
    if _PASSED_OVER & set(_roles(asset)):
        return False
    if asset.media_type:
        return asset.media_type.lower().startswith("image/tiff")
    return urlsplit(asset.href).path.lower().endswith((".tif", ".tiff"))


def _roles(asset: pystac.Asset) -> list[str]:
    return asset.roles or []


def _place(asset: pystac.Asset, path: Path, where: str) -> Path:
    """Return where an asset lies: an address, or a file."""
    href = asset.href
    if href.startswith("file:"):
        return Path(unquote(urlsplit(href).path))
    if is_address(href):
        try:
            return remote_path(href)
        except ConfigError as err:
            raise ConfigError(f"{where}: {err}") from None
    # References are percent-encoded, yet many write a path as it is.
    plain = path.parent / href
    return plain if plain.exists() else path.parent / unquote(href)


def _source(item: pystac.Item, path: Path) -> SourceItem:
    start, end = item.common_metadata.start_datetime, item.common_metadata.end_datetime
    own = item.get_links(pystac.RelType.SELF)
    href = own[0].href if own and is_address(own[0].href) else path.absolute().as_uri()
    return SourceItem(
        id=item.id,
        href=without_queries(href),
        acquired=_acquired(item.datetime, start, end),
        start="" if start is None else start.isoformat(),
        end="" if end is None else end.isoformat(),
    )


def _acquired(at: dt.datetime | None, start: dt.datetime | None, end: dt.datetime | None) -> str:
    """Return the time of acquisition, the day where only that is said; empty for a longer time."""
    if at is not None:
        return (at if at.tzinfo is None else at.astimezone(dt.UTC)).isoformat()
    one_day = start is not None and end is not None and start.date() == end.date()
    return start.date().isoformat() if start is not None and one_day else ""
