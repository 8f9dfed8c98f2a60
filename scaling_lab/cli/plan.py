"""plan: the expected trials, time, disk and power of a study, before it is run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import decimals, text_table
from scaling_lab.cli.parsing import add_verb
from scaling_lab.text import duration, plural

if TYPE_CHECKING:
    from scaling_lab.study.plan.forecast import Forecast
    from scaling_lab.study.plan.outlook import Detectable, Feed, GpuMemory, Places, Plan, Reading
    from scaling_lab.study.plan.survey import Survey

_INDENT = 12


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    plan = add_verb(
        verbs,
        "plan",
        _plan,
        "estimate a study before it is run: trials, time, disk, and the differences its seeds can detect",
        "plan studies/topology_ablation.py --form seeds",
        "plan studies/width_factor.py --form paper --data coco:/data/coco --cpus 64 --gpus 8 --gpu a100-80gb",
        "plan studies/width_factor.py --no-measure --json",
    )
    plan.add_argument("study", help="a study file, such as studies/topology_ablation.py")
    plan.add_argument("--form", help="one of the study's named forms, such as smoke")
    plan.add_argument("--sampler", help="in place of the study's; random is the baseline that reports compare with")
    plan.add_argument("--data", help="in place of the study's data: shapes, or a folder, with fields after commas")
    plan.add_argument("--out", type=Path, help="the run's folder (runs/<study>[-<form>][-<sampler>])")
    plan.add_argument("--address", help="plan for the Ray cluster at this address")
    plan.add_argument("--cpus", type=int, help="cores of the machine to plan for (this machine's)")
    plan.add_argument("--gpus", type=int, help="GPUs of the machine to plan for (this machine's)")
    plan.add_argument("--gpu", help="the GPU to plan for, such as a100-80gb or t4-16gb (this machine's)")
    plan.add_argument("--points", type=int, help="points to sample from a space without a grid (200)")
    plan.add_argument("--no-measure", action="store_true", help="measure no training steps; no time estimate")


def _plan(options: argparse.Namespace) -> int:
    from scaling_lab.study.plan.planner import make_plan

    plan = make_plan(
        options.study,
        out=options.out,
        form=options.form,
        data=options.data,
        sampler=options.sampler,
        address=options.address,
        cpus=options.cpus,
        gpus=options.gpus,
        gpu=options.gpu,
        points=options.points,
        measure=not options.no_measure,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(plan.to_dict(), indent=1) if options.json else plan_text(plan))
    return 1 if plan.problems else 0


def plan_text(plan: Plan) -> str:
    """Format a plan as text."""
    study = plan.study + (f" (form {plan.form})" if plan.form else "")
    lines = [
        ("study", study),
        ("data", plan.data or "not here"),
        *_space(plan.space, plan.sampler),
        ("trials", _trials(plan)),
        *_earlier(plan),
        ("machine", _places(plan.places)),
        *_disk(plan),
        *_reading(plan.reading),
        *_feed(plan.feed),
        *_gpu_memory(plan.gpu_memory),
        *_gpu_time(plan),
        ("seeds", _detectable(plan)),
        *([("finalists", _differences(plan, plan.detectable_finalists))] if plan.detectable_finalists else []),
        *_time(plan),
        *(("note", note) for note in plan.notes),
        *(("cannot work", problem) for problem in plan.problems),
    ]
    return "\n".join(f"{name:<{_INDENT}}{text}" for name, text in lines)


# --- lines -----------------------------------------------------------------------------------------------------------


def _space(space: Survey, sampler: str) -> list[tuple[str, str]]:

    architectures = plural(space.architectures, "distinct architecture")
    if space.is_exact:
        words = f"{plural(space.points, 'point')}, {architectures} (all of them; sampler {sampler})"
    else:
        words = f"{plural(space.points, 'random point')} gave {architectures} (sampler {sampler})"
        words += f"; the space itself rejected {plural(space.pruned, 'more sample')}" if space.pruned else ""
    lines = [("space", words), ("costs", _ranges(space.ranges))]
    if space.rejected:
        reasons = ", ".join(f"{number} by {name}" for name, number in space.rejected.items())
        lines.append(("limits", f"reject {sum(space.rejected.values())} of {space.architectures}: {reasons}"))
        if space.within:
            lines.append(("", f"leave {len(space.within)}: {_ranges(space.ranges_within)}"))
    return lines


def _ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    places = decimals((value for pair in ranges.values() for value in pair), least=3, digits=3)
    words = []
    for name, (least, most) in ranges.items():
        text = f"{least:.{places}f}" + (f" to {most:.{places}f}" if most > least else "")
        words.append(f"{name} {text}")
    return ", ".join(words)


def _trials(plan: Plan) -> str:

    trials = plan.trials
    words = plural(trials.trials, "trial")
    if trials.architectures is not None:
        seeds = plural(trials.seeds, "seed")
        exact = trials.architectures * trials.seeds == trials.trials
        words += f": {plural(trials.architectures, 'architecture')} with {'' if exact else 'at least '}{seeds}"
    else:
        words += f", one more seed each time one is proposed again (up to {plural(trials.seeds, 'seed')})"
    words += f", {plural(trials.epochs, 'epoch')} each"
    if plan.detectable_finalists is not None:
        words += f", and up to {trials.finalists} for finalists with {plural(plan.detectable_finalists.seeds, 'fresh seed')} each"
    return words + (f", {trials.images_seen:,} training images in all" if trials.images_seen is not None else "")


def _earlier(plan: Plan) -> list[tuple[str, str]]:
    if plan.earlier is None:
        return []

    states = ", ".join(f"{number} {state}" for state, number in plan.earlier.states.items()) or "no trial"
    words = f"{plan.folder} holds {states}; {plural(plan.trials.left, 'trial')} left to run"
    if plan.earlier.seconds is not None:
        words += f"; a complete one took {duration(plan.earlier.seconds)}"
    return [("earlier", words)]


def _places(places: Places) -> str:
    wanted = f"{_resources(places.cpus_per_trial, places.gpus_per_trial)} a trial"
    if not places.machines:
        return f"{places.where}: unknown; {wanted}"
    cpus, gpus = (sum(each[name] for each in places.machines) for name in ("CPU", "GPU"))
    several = f" on {len(places.machines)} machines" if len(places.machines) > 1 else ""
    fits = f"{places.at_once} at once" if places.at_once else "none fits"
    return f"{places.where} has {_resources(cpus, gpus)}{several}; {wanted}: {fits}"


def _resources(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'} and {gpus:g} GPU{'' if gpus == 1 else 's'}"


def _disk(plan: Plan) -> list[tuple[str, str]]:
    if plan.disk is None:
        return []
    disk = plan.disk
    each = f"checkpoint {_bytes(*disk.checkpoint)}, weights of the last and the best epoch {_bytes(*disk.weights)} each a trial"
    features = f", features {_bytes(disk.features)} once for all trials" if disk.features else ""
    return [("disk", f"{each}{features}; {_bytes(disk.total)} to write in total, {_bytes(disk.free)} free")]


def _reading(reading: Reading | None) -> list[tuple[str, str]]:
    """Return the line on memory for read-ahead batches; /dev/shm is not used."""
    if reading is None:
        return []
    words = "1 process" if reading.readers == 1 else f"{reading.readers} processes"
    words += f" a trial, batches of {_bytes(reading.batch)}: {_bytes(reading.trial)} of memory a trial"
    words += f", {_bytes(reading.trial * reading.at_once)} at once" if reading.at_once > 1 else ""
    free = "" if reading.free is None else f", {_bytes(reading.free)} free"
    return [("reading", f"{words}{free}; no shared memory (/dev/shm)")]


def _feed(feed: Feed | None) -> list[tuple[str, str]]:
    if feed is None:
        return []
    words = f"{plural(feed.readers, 'process', 'processes')} a trial read {feed.trial:,.0f} images/s, "
    words += f"at the {feed.reader:,.0f} of one measured here"
    if feed.takes is not None:
        words += f"; training takes up to {feed.takes:,.0f}"
        words += "" if feed.takes < feed.trial else ", as many as they read: more cpus_per_trial would be faster"
    return [("feed", words)]


def _gpu_memory(memory: GpuMemory | None) -> list[tuple[str, str]]:
    """Return the lines on a GPU's memory for the largest architecture."""
    if memory is None:
        return []
    lines = [
        f"parts of {plural(memory.part, 'image')} need {_bytes(memory.total)}: {_bytes(memory.image)} an image, "
        f"{_bytes(memory.fixed)} for weights (counted on shapes; {memory.architecture})"
    ]
    if memory.gpu is None:
        least = ", ".join(f"{number} on {name}" for name, number in memory.fits.items())
        lines.append(f"fits with accumulate from {least} (--gpu plans for one)" if least else "fits no known GPU")
    else:
        fits = f"up to {plural(memory.most, 'image')} at once" if memory.most else "not even one image"
        lines.append(f"{_bytes(memory.usable or 0)} a trial on {memory.gpu}: {fits}")
    return [("GPU memory" if place == 0 else "", line) for place, line in enumerate(lines)]


def _gpu_time(plan: Plan) -> list[tuple[str, str]]:
    from scaling_lab.study.plan.gpus import D0_RATES

    time = plan.gpu_time
    if time is None:
        return []
    rates = " to ".join(dict.fromkeys(f"{rate:,.0f}" for rate in time.rates))
    each = " to ".join(dict.fromkeys(f"{hours:,.3g}" for hours in time.trial))
    words = (
        f"about {time.hours:,.3g} hours of {time.gpu} ({time.hours / 24:,.3g} days), {each} a trial at {rates} images/s"
    )
    if time.source is None:
        return [("GPU time", f"{words}; measured here")]
    return [
        ("GPU time", words),
        ("", f"not measured: D0's published {D0_RATES[time.gpu]:.0f} images/s, scaled by activations ({time.source})"),
    ]


def _detectable(plan: Plan) -> str:
    words = _differences(plan, plan.detectable)
    if plan.detectable.sds is not None and plan.trials.architectures is None:
        words += "; architectures proposed once have 1 seed and allow no comparison"
    return words


def _differences(plan: Plan, least: Detectable) -> str:
    if least.sds is None:
        return "1 for each architecture: no difference can be tested, since the variance between seeds is unknown"
    words = f"{least.seeds} a group: true differences below {least.sds:.2f} SD of a single result may go undetected"
    if least.ap is not None and plan.earlier is not None and plan.earlier.sd is not None:
        words += f", {least.ap:.1f} AP at the earlier trials' SD of {plan.earlier.sd:.1f} AP"
    return words + " (80 % power, 5 %, two-sided)"


def _time(plan: Plan) -> list[tuple[str, str]]:
    if plan.time is None:
        return []

    time = plan.time
    ends = [duration(span.estimate) for span in (time.quickest, time.slowest)]
    what = f"{plural(time.trials, 'trial')}, {time.at_once} at once"
    low, high = duration(time.total.low), duration(time.total.high)
    lines = [
        f"about {' to '.join(dict.fromkeys(ends))} per trial",
        f"about {duration(time.total.estimate)} for {what} ({low} to {high} range of the measured steps)",
        *([f"of these, about {duration(time.features)} to compute features once"] if time.features else []),
        *_stopping(time),
        f"estimated from a few steps of a single trial on {time.device}; concurrent trials take longer",
    ]
    if plan.places.where != "this machine":
        lines.append(f"measured here, not on {plan.places.where}")
    lines += _timed(time).splitlines()
    return [("time" if place == 0 else "", line) for place, line in enumerate(lines)]


def _stopping(time: Forecast) -> list[str]:
    if time.stopping is None:
        return []
    first, *_ = time.stopping.epochs
    words = f"epoch{'' if len(time.stopping.epochs) == 1 else 's'} {', '.join(map(str, time.stopping.epochs))}"
    least = f"{duration(time.stopping.least)} if every trial ends after {plural(first, 'epoch')}"
    if time.stopping.expected is None:
        return [f"with early stopping at {words} less, as the curves will tell; {least}"]
    return [
        f"with early stopping at {words} about {duration(time.stopping.expected)}, if results come in random order and "
        f"there is one objective (more with several); {least}"
    ]


def _timed(time: Forecast) -> str:

    places = decimals((each.gmacs for each in time.timed), least=3, digits=3)
    rows = [["measured", "GMACs", "steps", "s a step", "s of data", "s an evaluation", "trial", "architecture"]]
    for each in time.timed:
        numbers = [f"{each.gmacs:.{places}f}", str(each.steps), f"{each.step.estimate:.3f}", f"{each.wait:.3f}"]
        rows.append([each.which, *numbers, f"{each.evaluation:.1f}", duration(each.trial.estimate), each.description])
    return text_table(rows)


def _bytes(least: float, most: float | None = None) -> str:
    """Format a size, or a range of sizes, in decimal units."""
    if most is not None and _bytes(most) != _bytes(least):
        return f"{_bytes(least)} to {_bytes(most)}"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if least >= size:
            return f"{least / size:.3g} {unit}"
    return f"{least / 1e3:.0f} kB"
