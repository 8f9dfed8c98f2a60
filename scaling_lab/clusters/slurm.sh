#!/usr/bin/env bash
# A study on Slurm: a Ray on all nodes of the job, a check of each, and the study. From a folder that all nodes share:
#
#     sbatch clusters/slurm.sh studies/topology_ablation.py --form paper
#
# The same command goes on with it. What follows the script's name goes to scaling-lab run.
#SBATCH --job-name=scaling-lab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
# source .venv/bin/activate    # whatever puts scaling-lab on the path of every node

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# Always in a process of its own, which it becomes: a signal to that is one to srun.
on() { exec srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --nodelist="$@"; }
ip=$(on "$head" hostname --ip-address)
ip=${ip%% *}
# Ports of this job's own: other jobs may be on the same nodes.
port=$((20000 + SLURM_JOB_ID % 10000 * 2))

# Whoever reaches a Ray without a token runs code in your name.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

started=()
end() {
    if ((${#started[@]})); then kill "${started[@]}" 2>/dev/null || true; fi
    wait
}
trap end EXIT

every=(--block "--num-cpus=$SLURM_CPUS_PER_TASK" "--dashboard-agent-listen-port=$((port + 1))" --disable-usage-stats)
on "$head" ray start --head "--node-ip-address=$ip" "--port=$port" \
    "--temp-dir=/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false "${every[@]}" &
started+=($!)
for node in "${nodes[@]:1}"; do
    on "$node" ray start "--address=$ip:$port" "${every[@]}" &
    started+=($!)
done

export RAY_ADDRESS=$ip:$port
scaling-lab doctor --address auto --nodes "${#nodes[@]}" --storage runs

# Slurm says two minutes before the end that it comes: the study stops cleanly, and the next job goes on.
scaling-lab run "$@" --address auto &
study=$!
trap 'kill -TERM "$study" 2>/dev/null || true' TERM
code=0
wait "$study" || code=$?
if kill -0 "$study" 2>/dev/null; then # the signal has ended the first wait
    code=0
    wait "$study" || code=$?
fi
exit "$code"
