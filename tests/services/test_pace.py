"""Whose image is begun next."""

from __future__ import annotations

import asyncio

from custody.services.pace import Pace


def test_a_pod_of_many_images_does_not_go_before_the_first_of_another() -> None:
    async def main() -> list[str]:
        pace, begun = Pace(), []

        async def image(review: str, position: int) -> None:
            await pace.turn(position)
            begun.append(f"{review}{position}")

        tasks = [asyncio.create_task(image("many", position)) for position in range(20)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(image("few", position)) for position in range(4)]
        await asyncio.gather(*tasks)
        return begun

    begun = asyncio.run(main())
    assert len(begun) == 24
    assert max(begun.index(f"few{position}") for position in range(4)) < begun.index("many4")


def test_one_who_waits_no_more_takes_no_turn() -> None:
    async def main() -> None:
        pace = Pace()
        gone = asyncio.create_task(pace.turn(9))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(pace.turn(10), 5)

    asyncio.run(main())
