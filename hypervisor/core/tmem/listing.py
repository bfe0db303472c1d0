"""The lines that LIST prints (T17)."""

from collections.abc import Iterator

from hypervisor.core.tmem.content import Client, Pool
from hypervisor.core.tmem.state import Tmem

Figures = tuple[tuple[str, object], ...]


def list_tmem(tmem: Tmem, clients: list[Client], everything: bool, long: bool) -> tuple[str, ...]:
    """Lines for these clients, with those of the host and of shared pools when `everything` is asked for."""
    lines: list[str] = []
    if everything:
        lines.append(_line("G=", _global(tmem), _global_long(tmem) if long else ()))
        lines += _shared(tmem, long)
    for client in clients:
        lines.append(_line("C=", _client(client), _client_long(client) if long else ()))
        lines += [_pool_line(client, pool, long) for pool in client.pools if pool is not None]
    if everything:
        figures = (
            ("fp", tmem.freeable),
            ("fc", tmem.in_use),
            ("ms", tmem.midsize),
            ("wt", tmem.weight_total),
        )
        lines.append(_line("T=", figures, ()))
    return tuple(lines)


def _line(kind: str, figures: Figures, more: Figures) -> str:
    return kind + ",".join(f"{name}:{value}" for name, value in (*figures, *more))


def _global(tmem: Tmem) -> Figures:
    counts = tmem.statistics
    return (
        ("Tt", counts.total_ops),
        ("Te", counts.errored_ops),
        ("Cf", counts.failed_copies),
        ("Af", counts.alloc_failed),
        ("Pf", counts.page_failed),
        ("Ta", len(tmem.page_list)),
        ("Lm", 0),
        ("Et", counts.evicted),
        ("Ea", counts.evict_attempts),
        ("Rt", counts.relinq),
        ("Ra", counts.relinq_attempts),
        ("Rx", counts.max_evicts_per_relinq),
        ("Fp", 0),
    )


def _global_long(tmem: Tmem) -> Figures:
    counts = tmem.statistics
    return (
        ("Ec", tmem.eph_count),
        ("Em", counts.eph_max),
        ("Oc", tmem.objects),
        ("Om", counts.objects_max),
        ("Nc", tmem.nodes),
        ("Nm", counts.nodes_max),
        ("Pc", tmem.pages),
        ("Pm", counts.pages_max),
        ("Fc", tmem.data_pages),
        ("Fm", counts.data_pages_max),
        ("Sc", 0),
        ("Sm", 0),
        ("Ep", counts.good_eph_puts),
        ("Gd", 0),
        ("Zt", 0),
        ("Gz", 0),
    )


def _client(client: Client) -> Figures:
    return (
        ("CI", client.domid),
        ("ww", client.weight),
        ("co", int(client.compress)),
        ("fr", int(client.frozen)),
        ("Tc", 0),
        ("Ge", client.succ_eph_gets),
        ("Pp", client.succ_pers_puts),
        ("Gp", client.succ_pers_gets),
    )


def _client_long(client: Client) -> Figures:
    return (
        ("Ec", client.eph_count),
        ("Em", client.eph_count_max),
        ("cp", client.compressed_pages),
        ("cb", client.compressed_sum_size),
        ("cn", client.compress_poor),
        ("cm", client.compress_nomem),
    )


def _pool_line(client: Client, pool: Pool, long: bool) -> str:
    uuid = pool.uuid if pool.shared else (0, 0)
    head: Figures = (
        ("CI", client.domid),
        ("PI", pool.pool_id),
        ("PT", _kind(pool)),
        ("U0", f"{uuid[0]:x}"),
        ("U1", f"{uuid[1]:x}"),
    )
    return _line("P=", head, _pool_long(pool) if long else ())


def _shared(tmem: Tmem, long: bool) -> Iterator[str]:
    for number, pool in enumerate(tmem.shared_pools):
        if pool is None:
            continue
        head: list[tuple[str, object]] = [
            ("SI", number),
            ("PT", _kind(pool)),
            ("U0", f"{pool.uuid[0]:x}"),
            ("U1", f"{pool.uuid[1]:x}"),
        ]
        head += [("SC", client.domid) for client, _ in pool.sharers]
        yield _line("S=", tuple(head), _pool_long(pool) if long else ())


def _kind(pool: Pool) -> str:
    return ("P" if pool.persistent else "E") + ("S" if pool.shared else "P")


def _pool_long(pool: Pool) -> Figures:
    return (
        ("Pc", pool.pages),
        ("Pm", pool.pages_max),
        ("Oc", len(pool.objects)),
        ("Om", pool.objects_max),
        ("Nc", pool.nodes),
        ("Nm", pool.nodes_max),
        ("ps", pool.good_puts),
        ("pt", pool.puts),
        ("pd", pool.dup_puts_flushed),
        ("pr", pool.dup_puts_replaced),
        ("px", pool.no_mem_puts),
        ("gs", pool.found_gets),
        ("gt", pool.gets),
        ("fs", pool.flushs_found),
        ("ft", pool.flushs),
        ("os", pool.flush_objs_found),
        ("ot", pool.flush_objs),
    )
