"""Launch orders from arrivals, and their numbers."""

from __future__ import annotations

from hypervisor.public.orders import LaunchOrder
from launch.arrivals.arrival import Arrival
from launch.scenario.models import MOST_LAUNCHES, Scenario


def order_of(scenario: Scenario, arrival: Arrival, launch: int, attempt: int = 1) -> LaunchOrder:
    """The order for an attempt at a launch, both counted from 1.

    The first attempt's order has the launch's number; each further attempt adds 1,000,000, the most launches
    that a run has: order 2000003 is the third attempt at launch 3.
    """
    return LaunchOrder(
        order=launch + (attempt - 1) * MOST_LAUNCHES,
        pages=arrival.pages,
        max_pages=max(arrival.pages, scenario.arrivals.max or 0),
        builder=scenario.toolstack.builder,
        vcpus=arrival.vcpus,
        lifetime=arrival.lifetime,
    )


def launch_of(order: int) -> int:
    """The launch that an order is an attempt at."""
    return (order - 1) % MOST_LAUNCHES + 1


def launch_name(order: int) -> str:
    """As readers know it, who should not have to count a million a retry."""
    attempt = (order - 1) // MOST_LAUNCHES
    return f"{launch_of(order)}" + (f" (attempt {attempt + 1})" if attempt else "")
