#!/bin/sh
# Checks, probes and times the kernels on this machine's first GPU, then times other libraries beside them. Every result is
# appended to results.jsonl as it comes, so that a run that is cut short still counts.
#
#   OUT     folder of the results [./out]
#   BUDGET  seconds for all of it [540]; a step that takes more than its share is cut short, and the next one goes on
#   DEVICE  another device [cuda]: cuda:1, or sim for the simulated one, which counts instead of timing
#   MODEL   the model whose forward pass is timed [llama-3.1-8b]
#   PYTHON  a Python with PyTorch and CUDA [python3]; without one the other libraries are left out
#
# Exit code 0: everything ran and was right. 1: a step failed. 2: no step failed, but time ran out.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program="$here/llama-kernels"
out=${OUT:-./out}
budget=${BUDGET:-540}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
results="$out/results.jsonl"
log="$out/log.txt"
mkdir -p "$out" || exit 1
begin=$(date +%s)
failed=0
cut=0

say() {
    printf '\n== %s\n' "$*" | tee -a "$log"
}

left() {
    echo $((begin + budget - $(date +%s)))
}

# step NAME SHARE COMMAND...: runs a command in so many hundredths of the budget, or in what is left of it.
step() {
    name=$1
    seconds=$((budget * $2 / 100))
    shift 2
    [ "$seconds" -ge 1 ] || seconds=1
    [ "$seconds" -le "$(left)" ] || seconds=$(left)
    if [ "$seconds" -lt 1 ]; then
        say "$name: left out, the $budget seconds are over"
        cut=1
        return
    fi
    say "$name: $*"
    {
        timeout -k 10 "$seconds" "$@" 2>&1
        echo $? >"$out/.code"
    } | tee -a "$log"
    code=$(cat "$out/.code")
    rm -f "$out/.code"
    case $code in
    0) ;;
    124 | 137)
        say "$name: cut short after its $seconds seconds"
        cut=1
        ;;
    *)
        say "$name: failed with exit code $code"
        failed=1
        ;;
    esac
}

bench() {
    name=$1
    share=$2
    shift 2
    step "$name" "$share" "$program" bench "$@" --device "$device" --json "$results"
}

# Whether Python can compute where our kernels run.
has_torch() {
    case $device in
    sim*) "$python" -c 'import torch' ;;
    *) "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ;;
    esac >/dev/null 2>&1
}

peers() {
    if has_torch; then
        # Without a clock, on the small shapes alone.
        case $device in
        sim*) rows="$here/small.jsonl" ;;
        *) rows="$here/shapes.jsonl" ;;
        esac
        step peers 50 "$python" "$here/peers.py" --library "$here/libllama_kernels.so" --device "$device" \
            --rows "$rows" --json "$results" --budget "$((budget * 50 / 100))"
    else
        say "peers: left out, $python has no PyTorch that computes on this device"
    fi
}

step info 10 "$program" info
step check 25 "$program" check --quick --device "$device" --json "$results"
step probe 20 "$program" probe --device "$device" --out "$results"
case $device in
sim*)
    bench counters 50 --shapes "$here/small.jsonl"
    bench forward 30 decode prefill --model "$here/demo-model"
    bench forward-int4 20 decode prefill --model "$here/demo-model" --weights int4
    bench forward-fp8 20 decode prefill --model "$here/demo-model" --weights fp8 --kv-cache fp8
    peers
    ;;
*)
    bench kernels 45
    bench forward 20 decode prefill --model "${MODEL:-llama-3.1-8b}"
    bench forward-int4 15 decode prefill --model "${MODEL:-llama-3.1-8b}" --weights int4
    bench forward-fp8 15 decode prefill --model "${MODEL:-llama-3.1-8b}" --weights fp8 --kv-cache fp8
    peers
    step check-full 100 "$program" check --full --device "$device" --json "$results"
    ;;
esac
# Also of what was measured before time ran out.
budget=$((budget + 30))
step report 100 "$program" report "$results" --out "$out/report.html"

if [ "$failed" -ne 0 ]; then
    exit 1
fi
[ "$cut" -eq 0 ] || exit 2
