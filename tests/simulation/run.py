"""Live through many worlds, and say what was not as promised.

    python tests/simulation/run.py --worlds 200 --seed 1 --jobs 2
    python tests/simulation/run.py --only 4711 --shrink
"""

from __future__ import annotations

import argparse
import collections
import gc
import sys
import time

from sim_plan import draw
from sim_world import play


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    o = parser.parse_args()
    seeds = [o.only] if o.only is not None else range(o.seed, o.seed + o.worlds)
    gc.freeze()
    clock, cpu = time.perf_counter, time.process_time
    begin, used = clock(), cpu()
    bad = jobs = 0
    statuses = collections.Counter()
    for seed in seeds:
        b = cpu()
        plan = draw(seed)
        v = play(plan)
        jobs += v.jobs
        statuses.update(v.statuses)
        print(f"{seed} {plan.shape} {plan.version} {'calm ' if plan.calm else ''}{v.jobs} jobs {v.faults} faults {v.seconds:.0f} s, {v.turns} turns, slowest {v.slowest:.1f} cpu {cpu()-b:.2f}", flush=True)
        for p in v.problems[:8]:
            print("    ", p[:600])
        if v.late: print("    late:", v.late[:5])
        bad += bool(v.problems)
    print(f"{bad} bad, {jobs} jobs {clock()-begin:.1f} s, cpu {cpu()-used:.1f}, {dict(statuses)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
