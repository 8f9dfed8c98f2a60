#!/usr/bin/env bash
# A study on Slurm: a Ray on all nodes of the job, a check of each, and the study. From a folder that all nodes share:
#
#     sbatch clusters/slurm.sh studies/topology_ablation.py --form paper
#
# Slurm runs the job again until the study is done: after a preemption, a failed node and its time limit. scancel ends it, and
# the same command continues. What follows the script's name goes to scaling-lab run.
#SBATCH --job-name=scaling-lab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
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

scaling-lab run "$@" --address auto &
study=$!
# USR1 comes three minutes before the time limit, TERM with a preemption or scancel. The study stops cleanly. After a preemption
# Slurm requeues the job itself.
stop() { kill -TERM "$study" 2>/dev/null || true; }
requeue=false
trap 'requeue=true; stop' USR1
trap stop TERM
code=0
wait "$study" || code=$?
while kill -0 "$study" 2>/dev/null; do # a signal has ended the wait
    code=0
    wait "$study" || code=$?
done
# 130 is a clean stop; a study that has ended or failed is not run again.
if $requeue && ((code == 130)); then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
