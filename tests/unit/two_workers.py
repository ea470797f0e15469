"""One of two gloo processes: `python two_workers.py FOLDER RANK` carries out the jobs in FOLDER/jobs.pickle."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tastelab.evaluation import collectives
from tastelab.training import carry_out as work
from tastelab.training.job import Job
from tastelab.training.local import LocalSession


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    jobs: dict[str, Job] = pickle.loads((folder / "jobs.pickle").read_bytes())
    seen: dict[str, Any] = {name: carry_out(job) for name, job in jobs.items()}
    seen["collectives"] = gathered(rank)
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(seen))
    dist.destroy_process_group()


def carry_out(job: Job) -> dict[str, Any]:
    session = LocalSession(job)
    try:
        result = work.carry_out(job, session)
    except ArithmeticError as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    return {"logged": session.logged, "reported": session.reported, "result": result}


def gathered(rank: int) -> dict[str, Any]:
    own = torch.arange(3.0, requires_grad=True) + 10 * rank
    return {
        "place": (collectives.rank(), collectives.world_size()),
        "sum": collectives.sum_over_ranks(own.detach().clone()).tolist(),
        "equal": collectives.gather_equal(own).tolist(),
        "equal has gradient": collectives.gather_equal(own).requires_grad,
        "ragged": [part.tolist() for part in collectives.gather_ragged(torch.full((1 + 2 * rank, 2), float(rank)))],
        "ragged with none": [part.tolist() for part in collectives.gather_ragged(torch.arange(rank))],
        "objects": collectives.gather_objects({"rank": rank}),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
