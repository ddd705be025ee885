"""The in-memory clouds by name, and the rigs that run the contracts on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cloudml.specs import TrainingJob
from cloudml.spi import Plugin
from cloudml.testing import named, nested, operations
from cloudml.testing.cloud import BROKEN
from cloudml.testing.conformance.rig import Content, Rig
from cloudml.testing.memory import MemoryConfig
from cloudml.testing.world import World

CLOUDS: Mapping[str, Callable[[World], Plugin]] = {
    "named": named.plugin,
    "nested": nested.plugin,
    "operations": operations.plugin,
}


def memory_rig(name: str, folder: Path, world: World | None = None) -> Rig:
    """A rig on a cloud of that name, empty unless a world is given; content to upload is written to the folder."""
    world = world or World()
    contents = []
    for model, text in (("one", b"model one"), ("two", b"model two"), ("broken", BROKEN)):
        path = folder / model
        if not path.exists():
            path.write_bytes(text)
        contents.append(Content(path))
    return Rig(
        plugin=CLOUDS[name](world),
        config=MemoryConfig(),
        clock=world.clock,
        fresh=lambda: memory_rig(name, folder),
        fork=lambda: memory_rig(name, folder, world.twin()),
        job=TrainingJob(command="true"),
        failing=TrainingJob(command="fail"),
        slow=TrainingJob(command="sleep"),
        models=(contents[0], contents[1]),
        broken=contents[2],
        request=b'{"instances": [[1.0], [2.0]]}',
        snapshot=world.snapshot,
        world=world,
    )
