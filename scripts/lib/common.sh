# shellcheck shell=bash
# Sourced: what the scripts say and how they time it, and processes that they start and end.
#
#   say WORDS         a line of progress, on stderr
#   die WORDS         says why it ends, and ends with status 1
#   step NAME         begins a step; prints how long the one before took
#   steps_end         ends the last step
#   in_background NAME COMMAND...   starts a command whose output goes to a log
#   join_background   waits for it; shows the end of its log if it failed
#   end_process PID NAME [SECONDS]  SIGTERM, then SIGKILL when that does not help

# shellcheck disable=SC2034  # GREEN is for those who source this.
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD="" DIM="" RED="" GREEN="" PLAIN=""
fi

STEP=""
STEP_BEGAN=0
BACKGROUND_NAME=""
BACKGROUND_PID=""
BACKGROUND_LOG=""
BACKGROUND_BEGAN=0

say() { printf '%s\n' "$*" >&2; }

die() {
    printf '%s\n' "${RED}error:${PLAIN} $*" >&2
    exit 1
}

step() {
    steps_end
    STEP="$1"
    STEP_BEGAN=$SECONDS
    say "${BOLD}==> $STEP${PLAIN}"
}

steps_end() {
    [ -z "$STEP" ] || say "${DIM}    $STEP: $((SECONDS - STEP_BEGAN)) s${PLAIN}"
    STEP=""
}

# One command at a time may run in the background: slow set-up that needs other things than the compiler does.
in_background() {
    [ -z "$BACKGROUND_PID" ] || die "something runs in the background already: $BACKGROUND_NAME"
    BACKGROUND_NAME="$1"
    shift
    BACKGROUND_LOG="$(mktemp)"
    BACKGROUND_BEGAN=$SECONDS
    # A session of its own, so that all of it can be ended.
    setsid "$@" </dev/null >"$BACKGROUND_LOG" 2>&1 &
    BACKGROUND_PID=$!
    say "    meanwhile: $BACKGROUND_NAME"
}

join_background() {
    [ -n "$BACKGROUND_PID" ] || return 0
    local status=0
    wait "$BACKGROUND_PID" || status=$?
    BACKGROUND_PID=""
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$BACKGROUND_LOG" >&2
        rm -f "$BACKGROUND_LOG"
        die "$BACKGROUND_NAME failed (status $status)"
    fi
    tail -n 1 "$BACKGROUND_LOG" >&2
    rm -f "$BACKGROUND_LOG"
    say "${DIM}    $BACKGROUND_NAME: ready after $((SECONDS - BACKGROUND_BEGAN)) s${PLAIN}"
}

# Ends what still runs in the background; for a trap on EXIT.
stop_background() {
    [ -n "$BACKGROUND_PID" ] || return 0
    kill -- "-$BACKGROUND_PID" 2>/dev/null || true
    wait "$BACKGROUND_PID" 2>/dev/null || true
    rm -f "$BACKGROUND_LOG"
    BACKGROUND_PID=""
}

end_process() {
    local pid="$1" name="$2" deadline=$((SECONDS + ${3:-15}))
    kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            say "$name (process $pid) does not end by itself: killing it"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
}
