"""Scenes of a room with one object, in the six factors of 3D Shapes, by exact ray casting.

A camera on a circle around the object looks at it; the room is a floor and four walls; a point
light and ambient light shade everything by Lambert's law, and the object throws a shadow on the
floor. A pixel is linear in the three colours of a scene,

    pixel = floor_map * floor_rgb + wall_map * wall_rgb + object_map * object_rgb,

with maps (coverage times shading) that depend on scale, shape and orientation only: 480 ray-cast
geometries serve all 480,000 scenes. World axes: x to the right, y away from the camera at
orientation 0, z up, in units of about the object's width; the object stands on z = 0.

The factors and their value counts are those of C. Burgess and H. Kim, "3D Shapes Dataset", 2018;
the pictures are this library's own.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

FACTORS = MappingProxyType(
    {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15}
)
SHAPE_NAMES = ("cube", "cylinder", "sphere", "capsule")
HUES = np.linspace(0.0, 1.0, 10, endpoint=False)
SCALES = np.linspace(0.75, 1.25, 8)
ORIENTATIONS_DEGREES = np.linspace(-30.0, 30.0, 15)

ROOM_HALF_WIDTH = 4.5
CAMERA_RADIUS, CAMERA_HEIGHT = 4.2, 2.0
LOOK_AT_HEIGHT = 0.6
TAN_HALF_FIELD_OF_VIEW = 0.42
LIGHT = np.array([[-1.5], [-3.5], [5.0]], dtype=np.float32)
AMBIENT, DIFFUSE = 0.4, 0.6
SATURATION, VALUE = 0.9, 0.95
SUBPIXELS = 2


class Hits(NamedTuple):
    """Where M rays enter and leave a convex body; a ray that misses has entry >= leave.

    Attributes:
        entry: ray parameter on entering (M,).
        leave: ray parameter on leaving (M,).
        normal: outward unit normal at the entry (3, M).
    """

    entry: np.ndarray
    leave: np.ndarray
    normal: np.ndarray


def _slab(origin: np.ndarray, ray: np.ndarray, axis: int, low: float, high: float) -> Hits:
    """Hits with low <= coordinate <= high along one axis; origin and ray (3, M)."""
    # A ray parallel to the slab divides by zero: the infinities that follow are the right answer.
    with np.errstate(divide="ignore", invalid="ignore"):
        to_low = (low - origin[axis]) / ray[axis]
        to_high = (high - origin[axis]) / ray[axis]
    normal = np.zeros_like(ray)
    normal[axis] = -np.sign(ray[axis])
    return Hits(np.fmin(to_low, to_high), np.fmax(to_low, to_high), normal)


def _ball(origin: np.ndarray, ray: np.ndarray, axes: int, height: float, radius: float) -> Hits:
    """Hits with a sphere (axes 3) around (0, 0, height) or an endless upright cylinder (axes 2)."""
    start = (origin - np.array([[0.0], [0.0], [height]], dtype=np.float32))[:axes]
    direction = ray[:axes]
    a = (direction**2).sum(0)
    half_b = (start * direction).sum(0)
    discriminant = half_b**2 - a * ((start**2).sum(0) - radius**2)
    root = np.sqrt(np.maximum(discriminant, 0.0))
    entry, leave = (-half_b - root) / a, (-half_b + root) / a
    missed = discriminant <= 0.0
    entry[missed], leave[missed] = np.inf, -np.inf
    normal = np.zeros_like(ray)
    normal[:axes] = np.where(missed, 0.0, start + np.where(missed, 0.0, entry) * direction) / radius
    return Hits(entry, leave, normal)


def _intersection(*bodies: Hits) -> Hits:
    """Hits with the common part: the last entry and the first leave."""
    entries = np.stack([body.entry for body in bodies])
    last = entries.argmax(0)
    normals = np.stack([body.normal for body in bodies])
    normal = np.take_along_axis(normals, last[None, None], axis=0)[0]
    return Hits(entries.max(0), np.minimum.reduce([body.leave for body in bodies]), normal)


def _union(*bodies: Hits) -> Hits:
    """Hits with overlapping bodies whose union is convex: the first entry of those that are hit."""
    hit = np.stack([body.entry < body.leave for body in bodies])
    entries = np.where(hit, np.stack([body.entry for body in bodies]), np.inf)
    leaves = np.where(hit, np.stack([body.leave for body in bodies]), -np.inf)
    normals = np.stack([body.normal for body in bodies])
    normal = np.take_along_axis(normals, entries.argmin(0)[None, None], axis=0)[0]
    return Hits(entries.min(0), leaves.max(0), normal)


def _cube(origin: np.ndarray, ray: np.ndarray, scale: float) -> Hits:
    half = 0.55 * scale
    sides = [_slab(origin, ray, axis, -half, half) for axis in (0, 1)]
    return _intersection(*sides, _slab(origin, ray, 2, 0.0, 2 * half))


def _cylinder(origin: np.ndarray, ray: np.ndarray, scale: float) -> Hits:
    barrel = _ball(origin, ray, 2, 0.0, 0.55 * scale)
    return _intersection(barrel, _slab(origin, ray, 2, 0.0, 1.25 * scale))


def _sphere(origin: np.ndarray, ray: np.ndarray, scale: float) -> Hits:
    return _ball(origin, ray, 3, 0.65 * scale, 0.65 * scale)


def _capsule(origin: np.ndarray, ray: np.ndarray, scale: float) -> Hits:
    radius, height = 0.4 * scale, 1.5 * scale
    barrel = _ball(origin, ray, 2, 0.0, radius)
    middle = _intersection(barrel, _slab(origin, ray, 2, radius, height - radius))
    ends = [_ball(origin, ray, 3, end, radius) for end in (radius, height - radius)]
    return _union(middle, *ends)


Body = Callable[[np.ndarray, np.ndarray, float], Hits]
_BODIES: dict[str, Body] = dict(
    zip(SHAPE_NAMES, (_cube, _cylinder, _sphere, _capsule), strict=True)
)


def _camera_rays(degrees: float, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Camera position (3, 1) and the directions (3, resolution**2) of its rays, row by row."""
    angle = np.deg2rad(degrees)
    eye = np.array([np.sin(angle), -np.cos(angle), 0.0]) * CAMERA_RADIUS
    eye[2] = CAMERA_HEIGHT
    forward = np.array([0.0, 0.0, LOOK_AT_HEIGHT]) - eye
    forward /= np.linalg.norm(forward)
    right = np.array([np.cos(angle), np.sin(angle), 0.0])
    up = np.cross(right, forward)
    centres = ((np.arange(resolution) + 0.5) / resolution * 2 - 1) * TAN_HALF_FIELD_OF_VIEW
    down, across = (grid.ravel() for grid in np.meshgrid(centres, centres, indexing="ij"))
    rays = forward[:, None] + across * right[:, None] - down * up[:, None]
    return eye[:, None].astype(np.float32), rays.astype(np.float32)


def _lambert(point: np.ndarray, normal: np.ndarray, lit: np.ndarray | float = 1.0) -> np.ndarray:
    """Shading in [0, 1] (M,) at points (3, M) with unit normals (3, M); lit is 0 in a shadow."""
    to_light = LIGHT - point
    cosine = (normal * to_light).sum(0) / np.sqrt((to_light**2).sum(0))
    return AMBIENT + DIFFUSE * lit * np.maximum(cosine, 0.0)


def _shaded_floor(body: Body, scale: float, point: np.ndarray) -> np.ndarray:
    """Shading (M,) of floor points (3, M), in the object's shadow or not."""
    upwards = np.array([[0.0], [0.0], [1.0]], dtype=np.float32)
    blocking = body(point, LIGHT - point, scale)
    lit = (blocking.entry >= blocking.leave) | (blocking.leave <= 0.0)
    return _lambert(point, upwards, lit)


def _geometry_maps(body: Body, scale: float, degrees: float, size: int) -> np.ndarray:
    """Coverage times shading of floor, wall and object, (size * size, 3) in [0, 1]."""
    resolution = size * SUBPIXELS
    eye, rays = _camera_rays(degrees, resolution)
    seen = body(eye, rays, scale)
    half = ROOM_HALF_WIDTH
    sides = np.stack([_slab(eye, rays, axis, -half, half).leave for axis in (0, 1)])
    to_wall = sides.min(0)
    # A ray that rises meets no floor; the walls are endless, for the ceiling is out of sight.
    to_floor = np.where(rays[2] < 0.0, _slab(eye, rays, 2, 0.0, np.inf).leave, np.inf)
    on_object = seen.entry < seen.leave
    on_floor = ~on_object & (to_floor < to_wall)
    on_wall = ~on_object & ~on_floor

    maps = np.zeros((resolution * resolution, 3), dtype=np.float32)
    maps[on_floor, 0] = _shaded_floor(body, scale, eye + to_floor[on_floor] * rays[:, on_floor])
    point = eye + to_wall[on_wall] * rays[:, on_wall]
    nearest = np.arange(3)[:, None] == sides[:, on_wall].argmin(0)
    maps[on_wall, 1] = _lambert(point, -np.sign(point) * nearest)
    point = eye + seen.entry[on_object] * rays[:, on_object]
    maps[on_object, 2] = _lambert(point, seen.normal[:, on_object])
    pixels = maps.reshape(size, SUBPIXELS, size, SUBPIXELS, 3).mean((1, 3))
    return pixels.reshape(size * size, 3)


def _check_factors(factors: np.ndarray) -> np.ndarray:
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(
            f"expected factor indices of shape (N, {len(FACTORS)}) in the order {list(FACTORS)}, "
            f"got shape {factors.shape}: give one row per scene"
        )
    if not np.issubdtype(factors.dtype, np.integer):
        raise ValueError(
            f"expected integer factor indices, got dtype {factors.dtype}: give indices into the "
            "values of each factor, not the values themselves"
        )
    for column, (name, n_values) in zip(factors.T, FACTORS.items(), strict=True):
        wrong = column[(column < 0) | (column >= n_values)]
        if len(wrong):
            raise ValueError(
                f"expected {name} indices in 0..{n_values - 1}, got {wrong[0]}: "
                f"{name} has {n_values} values"
            )
    return factors


def render_scenes(factors: np.ndarray, *, size: int = 64) -> np.ndarray:
    """Render scenes (N, 6), deterministically, as RGB pictures, uint8 (N, size, size, 3).

    A scene is integer factor indices, columns in the order of `FACTORS`.

    Raises:
        ValueError: if `factors` has another shape or dtype, an index is out of range, or `size`
            is not positive.
    """
    factors = _check_factors(factors)
    if size < 1:
        raise ValueError(f"expected a positive size, got {size}: give the pixels per side, say 64")
    palette = np.array([colorsys.hsv_to_rgb(hue, SATURATION, VALUE) for hue in HUES], np.float32)
    pictures = np.empty((len(factors), size * size, 3), dtype=np.uint8)
    geometries, which = np.unique(factors[:, 3:], axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=len(geometries)))
    scenes = np.split(order, ends[:-1])
    for (scale, shape, orientation), rows in zip(geometries, scenes, strict=False):
        body = _BODIES[SHAPE_NAMES[shape]]
        maps = _geometry_maps(body, float(SCALES[scale]), ORIENTATIONS_DEGREES[orientation], size)
        colours = palette[factors[rows, :3]]
        pictures[rows] = np.rint(255.0 * (maps @ colours)).astype(np.uint8)
    return pictures.reshape(-1, size, size, 3)
