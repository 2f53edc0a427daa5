#!/usr/bin/env python3
"""All-reduce of float32 by PyTorch over Gloo between processes of this machine, printed as one line of JSON.

Usage: gloo.py [--ranks N] [--sizes 16M,64M] [--rounds N]
Each rank rewrites its input before each round; a time is the slowest rank's, the figure the median of the rounds.
`lockstep bench allreduce --against gloo` runs it. Needs: pip install torch
"""
import argparse, json, os, statistics, tempfile, time


def bytes_of(word):
    unit = {"K": 1 << 10, "M": 1 << 20}.get(word[-1:].upper(), 1)
    return int(word[:-1] if unit > 1 else word) * unit


def measure(dist, torch, count, rounds):
    values, took = torch.empty(count), torch.empty(1, dtype=torch.float64)
    fill = torch.arange(count, dtype=torch.float32).remainder_(1024)
    times = []
    for i in range(rounds + 2):
        torch.mul(fill, 0.25, out=values)
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        took[0] = time.perf_counter() - start
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        if i >= 2:  # the first ones touch memory and connect
            times.append(took.item() * 1e6)
    return times


def rank_main(rank, options, path):
    import torch
    import torch.distributed as dist
    if options.ranks <= (os.cpu_count() or 1):
        os.sched_setaffinity(0, {rank})
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=options.ranks)
    rows = []
    for word in options.sizes.split(","):
        size = bytes_of(word)
        times = measure(dist, torch, size // 4, options.rounds)
        rows.append({"bytes": size, "us": statistics.median(times), "us_min": min(times), "us_max": max(times)})
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "rounds": options.rounds, "rows": rows}), flush=True)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--sizes", default="16M,64M")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "meet")
        children = []
        for rank in range(1, options.ranks):
            pid = os.fork()
            if pid == 0:
                rank_main(rank, options, path)
                os._exit(0)
            children.append(pid)
        rank_main(0, options, path)
        for pid in children:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
