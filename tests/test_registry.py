"""Registries: names, who may take them, and the error for one that is not there."""

from __future__ import annotations

import pytest

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import Registry


@pytest.fixture
def animals():
    registry: Registry[type] = Registry("animal", "one of your own")
    yield registry
    Registry.all.remove(registry)


def test_a_part_is_known_by_its_name(animals):
    @animals.register("cat")
    class Cat: ...

    assert animals["cat"] is Cat
    assert animals.get("dog") is None
    message = "unknown animal 'cats'; choose one of cat, or one of your own; did you mean 'cat'?"
    with pytest.raises(ConfigError, match=f"^{message[:-1]}"):
        animals["cats"]
    with pytest.raises(ConfigError, match="'x'; choose one of cat, or one of your own$"):
        animals["x"]


def test_a_name_belongs_to_the_module_that_registered_it(animals):
    cell = "@register('cat')\nclass Cat: ...\n"
    names = {"__name__": "a_notebook", "register": animals.register}
    exec(cell, names)
    first = animals["cat"]
    exec(cell, names)
    assert animals["cat"] is names["Cat"] is not first
    with pytest.raises(ConfigError, match="animal 'cat'"):
        exec(cell, {**names, "__name__": "elsewhere"})
    assert animals["cat"] is names["Cat"]
